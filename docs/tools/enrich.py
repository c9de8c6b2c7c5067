"""Writes pages with the outputs of their code, and notebooks without."""

import os
import re
import shutil

import nbformat

from docs.tools.blocks import find_blocks
from docs.tools.execute import load_outputs
from docs.tools.messages import write_messages
from docs.tools.places import DOCS, PAGES, ROOT
from docs.tools.supplies import TABLES

PIXELS_PER_INCH = 96


def table_of_readme():
    """The table of figures, which stands in the README and here."""
    text = (ROOT / "README.md").read_text()
    rows = text.split("## Performance", 1)[1].split("##", 1)[0].splitlines()
    return [row for row in rows if row.startswith("|")]


# What stands for lines that are written here.
GENERATED = {
    "<!-- the messages of all errors -->": write_messages,
    "<!-- the table of README.md -->": table_of_readme,
    **TABLES,
}


def write_page(page, folder):
    """Writes a page with what its blocks printed and drew below them.

    Tutorials are also written as notebooks, to which their pages link.

    **Arguments:**

    - `page`: the path of the page.
    - `folder`: that of its outputs, see `run_pages`.
    """
    target = PAGES / page.relative_to(DOCS)
    images = target.parent / "images"
    images.mkdir(parents=True, exist_ok=True)
    text = page.read_text()
    lines = text.splitlines()
    written, position = [], 0
    for block, output in zip(find_blocks(text), load_outputs(folder), strict=True):
        code = lines[block.first : block.last + 1]
        written += lines[position : block.first]
        written += _folded(code, block.indent) if block.folded else code
        written += [block.indent + line for line in _show(output, page, folder, images)]
        position = block.last + 1
    written += lines[position:]
    if page.parent.name == "tutorials" and page.stem != "index":
        notebook = target.with_suffix(".ipynb")
        nbformat.write(make_notebook(text), notebook)
        link = f"[Download as a notebook]({notebook.name}){{ .notebook download }}"
        after_title = next(i for i, line in enumerate(written) if line.startswith("# ")) + 1
        written[after_title:after_title] = ["", link]
    for mark, write in GENERATED.items():
        if mark in written:
            place = written.index(mark)
            written[place : place + 1] = write()
    target.write_text("\n".join(written) + "\n")


def _folded(code, indent):
    inner = [indent + "    " + line[len(indent) :] for line in code]
    inner[0] = inner[0].replace("python fold", "python")
    return ["", f'{indent}??? code "the code of this picture"', "", *inner, ""]


def _show(output, page, folder, images):
    text = output["text"].rstrip("\n")
    if text:
        fence = "`" * max(3, *(len(run) + 1 for run in re.findall("`+", text)), 3)
        yield from ["", f"{fence} {{ .text .output .no-copy }}", *text.split("\n"), fence]
    for figure in output["figures"]:
        name = f"{page.stem}-{figure['file']}"
        shutil.copyfile(folder / figure["file"], images / name)
        width = round(figure["inches"] * PIXELS_PER_INCH)
        attributes = f'{{ .figure width="{width}" loading=lazy }}'
        yield from ["", f"![{_escape(figure['description'])}](images/{name}){attributes}", ""]


def _escape(description):
    return re.sub(r"([\[\]\\$*_`])", "", description)


def make_notebook(text):
    """A page as a notebook: its prose and its blocks of code, without outputs."""
    lines = text.splitlines()
    cells, position = [], 0
    for block in find_blocks(text):
        cells.append((nbformat.v4.new_markdown_cell, lines[position : block.first]))
        cells.append((nbformat.v4.new_code_cell, block.source.splitlines()))
        position = block.last + 1
    cells.append((nbformat.v4.new_markdown_cell, lines[position:]))
    notebook = nbformat.v4.new_notebook()
    for make, content in cells:
        source = "\n".join(content).strip("\n")
        if make is nbformat.v4.new_markdown_cell:
            # Notebooks know mathematics between dollar signs only.
            source = re.sub(r"^\\[\[\]]|\\[\[\]]$", "$$", source, flags=re.MULTILINE)
        if source:
            notebook.cells.append(make(source, id=f"cell-{len(notebook.cells)}"))
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    notebook.metadata["kernelspec"] = kernel
    return notebook


def copy_assets():
    """Copies what is neither page nor code: pictures, styles, scripts."""
    for file in DOCS.rglob("*"):
        relative = file.relative_to(DOCS)
        if relative.parts[0] in ("tools", "tests") or file.is_dir():
            continue
        if file.suffix not in (".md", ".py", ".pyc"):
            target = PAGES / relative
            os.makedirs(target.parent, exist_ok=True)
            shutil.copyfile(file, target)
