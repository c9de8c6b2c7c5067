"""The built site: its reference is complete, its links lead somewhere, its code ran."""

import inspect
import json
import re
import subprocess
import sys
import zlib

import nbformat
import pytest

import harmonium as hm
from docs.tools.enrich import make_notebook
from docs.tools.execute import load_outputs
from docs.tools.links import find_broken_links
from docs.tools.places import DOCS, PAGES, ROOT, SITE
from docs.tools.reference import identifier_of, public_names, resolve

TUTORIALS = sorted(set((DOCS / "tutorials").glob("*.md")) - {DOCS / "tutorials" / "index.md"})


@pytest.fixture(scope="module")
def inventory():
    """The identifiers of the reference, each with the place it is at."""
    header = re.compile(rb"(#.*\n){4}")
    content = (SITE / "objects.inv").read_bytes()
    lines = zlib.decompress(content[header.match(content).end() :]).decode().splitlines()
    entries = [line.split(" ", 4) for line in lines]
    return {name: place.replace("$", name) for name, _, _, place, _ in entries}


@pytest.mark.parametrize("name", public_names())
def test_every_public_name_is_in_the_reference(name, inventory):
    page, _, anchor = inventory[identifier_of(name)].partition("#")
    assert f'id="{anchor}"' in (SITE / page / "index.html").read_text()


def test_names_that_are_loaded_late_are_among_them():
    late = {f"plot.{name}" for name in hm.plot.__all__}
    assert late <= set(public_names())
    assert hm.draw is hm.plot.draw


@pytest.mark.parametrize("name", [n for n in public_names() if inspect.isclass(resolve(n))])
def test_every_public_member_is_in_the_reference(name, inventory):
    """In the class itself, or in the base that documents it."""
    item = resolve(name)
    for member in dir(item):
        owner = next(base for base in item.__mro__ if member in vars(base) or base is object)
        inside = owner.__module__.startswith("harmonium")
        if member.startswith("_") or not inside or not inspect.getdoc(getattr(item, member)):
            continue
        if not callable(vars(owner)[member]) and not isinstance(vars(owner)[member], property):
            continue
        places = [
            f"{base.__module__}.{base.__qualname__}.{member}"
            for base in item.__mro__
            if base.__module__.startswith("harmonium")
        ]
        assert any(place in inventory for place in places), places


def test_no_link_is_broken():
    assert find_broken_links(SITE) == []


@pytest.mark.parametrize(
    "link, problem",
    [
        ('<a href="missing/">', "there is no missing"),
        ('<a href="#here">', "no such anchor"),
        ('<a href="/other.html#there">', "no such anchor"),
        ('<img src="https://example.org/picture.png">', "from elsewhere"),
    ],
)
def test_broken_links_are_found(link, problem, tmp_path):
    (tmp_path / "index.html").write_text(f'<a href="other.html#here">{link}')
    (tmp_path / "other.html").write_text('<p id="here"><a href="https://example.org">')
    (found,) = find_broken_links(tmp_path)
    assert problem in found


@pytest.mark.parametrize("page", sorted(SITE.rglob("*.html")), ids=lambda p: p.parent.name)
def test_no_picture_lacks_a_description(page):
    pictures = re.findall(r"<img[^>]*>", page.read_text())
    assert [picture for picture in pictures if not re.search('alt="[^"]', picture)] == []


def _run(page, folder):
    command = [sys.executable, "-m", "docs.tools.run_page", str(page), str(folder)]
    return subprocess.run(command, capture_output=True, text=True, cwd=ROOT)


def test_outputs_and_figures_are_those_of_their_blocks(tmp_path):
    page = tmp_path / "page.md"
    page.write_text(
        "# Page\n\n```python\nx = 1\nprint(x)\n```\n\n```text\nnot run\n```\n\n"
        "- in a list\n\n    ```python fold\n    import matplotlib.pyplot as plt\n\n"
        "    plt.figure()\n    plt.title(f'the title {x}')\n    ```\n"
    )
    assert _run(page, tmp_path).returncode == 0
    first, second = load_outputs(tmp_path)
    assert first == {"text": "1\n", "figures": []}
    (figure,) = second["figures"]
    assert figure["description"] == "the title 1"
    assert (tmp_path / figure["file"]).read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize(
    "code, line, error",
    [
        ("x = 1\ny = x / 0\n", 5, "ZeroDivisionError"),
        ("x = (1\n", 4, "SyntaxError"),
        ("import warnings\nwarnings.warn('old')\n", 5, "UserWarning"),
    ],
)
def test_a_failing_block_names_page_and_line(code, line, error, tmp_path):
    page = tmp_path / "page.md"
    page.write_text(f"# Page\n\n```python\n{code}```\n")
    run = _run(page, tmp_path)
    assert run.returncode == 1
    assert run.stderr.startswith(f"{page}:{line}: {error}")
    assert not (tmp_path / "outputs.json").exists()


def test_notebooks_hold_the_code_without_outputs():
    notebook = make_notebook("# Page\n\n\\[ x \\]\n\n```python\nx = 1\n```\n\nEnd.\n")
    nbformat.validate(notebook)
    assert [cell.source for cell in notebook.cells] == ["# Page\n\n$$ x $$", "x = 1", "End."]


@pytest.mark.parametrize(
    "page", sorted((DOCS / "tutorials").glob("[!i]*.md")), ids=lambda p: p.stem
)
def test_tutorials_can_be_downloaded_as_notebooks(page):
    file = (PAGES / "tutorials" / page.stem).with_suffix(".ipynb")
    site = SITE / "tutorials" / file.name
    assert f'href="../{file.name}"' in (SITE / "tutorials" / page.stem / "index.html").read_text()
    cells = json.loads(site.read_text())["cells"]
    assert any(cell["cell_type"] == "code" for cell in cells)
    assert all(cell.get("outputs", []) == [] for cell in cells)
