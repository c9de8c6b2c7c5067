"""Runs the Python blocks of one page in order, in one namespace, and keeps what comes out.

python -m docs.tools.run_page PAGE FOLDER

Writes `outputs.json`, a list with the printed text and the figures of each block, and the figures
themselves, which are those that are open after a block. A block that raises, or warns, ends the
run with the page and line.
"""

import contextlib
import io
import json
import linecache
import sys
import traceback
import types
import warnings
from pathlib import Path

import matplotlib

from docs.tools.blocks import find_blocks

matplotlib.use("Agg")
import matplotlib.pyplot as plt

DOTS_PER_INCH = 160


def describe(figure):
    """A short text in place of a figure, for those who can't see it: its titles and labels."""
    words = [figure.get_suptitle()]
    for axes in figure.axes:
        words += [axes.get_title(), axes.get_xlabel(), axes.get_ylabel()]
    unique = dict.fromkeys(word.strip() for word in words if word.strip())
    return ", ".join(unique).replace("\n", " ") or "a picture"


def save_figures(folder, start):
    """Saves and closes all open figures."""
    saved = []
    for number in plt.get_fignums():
        figure = plt.figure(number)
        file = f"{start + len(saved)}.png"
        figure.savefig(folder / file, dpi=DOTS_PER_INCH, bbox_inches="tight", facecolor="white")
        width = figure.get_size_inches()[0]
        saved.append({"file": file, "description": describe(figure), "inches": width})
        plt.close(figure)
    return saved


def explain(page, text, error):
    """The error with page and line, and the traceback from the page on."""
    inside = [f.lineno for f in traceback.extract_tb(error.__traceback__) if f.filename == page]
    line = error.lineno if isinstance(error, SyntaxError) else inside[0] if inside else 0
    linecache.cache[page] = len(text), None, text.splitlines(keepends=True), page
    trace = error.__traceback__
    while trace is not None and trace.tb_frame.f_code.co_filename != page:
        trace = trace.tb_next
    shown = "".join(traceback.format_exception(type(error), error, trace))
    return f"{page}:{line}: {type(error).__name__}\n{shown}"


def run(page, folder):
    """Runs a page; returns whether all its blocks succeeded."""
    text = Path(page).read_text()
    module = types.ModuleType("__main__")
    sys.modules["__main__"] = module
    outputs, n_figures = [], 1
    for block in find_blocks(text):
        printed = io.StringIO()
        # Lines keep their numbers, so that tracebacks show those of the page.
        source = "\n" * (block.first + 1) + block.source
        try:
            with contextlib.redirect_stdout(printed):
                exec(compile(source, page, "exec"), vars(module))
        except Exception as error:
            print(explain(page, text, error), file=sys.stderr)
            return False
        figures = save_figures(folder, n_figures)
        n_figures += len(figures)
        outputs.append({"text": printed.getvalue(), "figures": figures})
    (folder / "outputs.json").write_text(json.dumps(outputs, indent=1))
    return True


if __name__ == "__main__":
    warnings.simplefilter("error")
    for ignored in (DeprecationWarning, PendingDeprecationWarning, ImportWarning):
        warnings.simplefilter("ignore", ignored)
    sys.exit(0 if run(sys.argv[1], Path(sys.argv[2])) else 1)
