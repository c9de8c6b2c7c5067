"""Runs pages, each in a process of its own, and remembers what came out."""

import hashlib
import importlib.metadata
import json
import os
import shutil
import subprocess
import sys
import tempfile
from concurrent.futures import ThreadPoolExecutor

from docs.tools.blocks import find_blocks
from docs.tools.places import CACHE, DOCS, ROOT

RUNNER = DOCS / "tools" / "run_page.py"
VERSIONS = ("jax", "equinox", "optax", "numpy", "matplotlib", "scikit-learn", "statsmodels")


class PageError(Exception):
    """A page that can't be built; its text says where and why."""


def run_pages(pages, n_workers):
    """Runs pages, several at once.

    **Returns:** for each page the folder with its `outputs.json` and figures.

    **Raises:** `PageError` with the messages of all the pages that failed.
    """
    library = _fingerprint_of_library()
    with ThreadPoolExecutor(n_workers) as pool:
        runs = [pool.submit(_run_page, page, library) for page in pages]
    errors = [run.exception() for run in runs if run.exception() is not None]
    if errors:
        raise PageError("\n".join(str(error) for error in errors))
    return {page: run.result() for page, run in zip(pages, runs, strict=True)}


def load_outputs(folder):
    """What the blocks of a page printed and drew, one entry a block."""
    return json.loads((folder / "outputs.json").read_text())


def _fingerprint_of_library():
    """Changes with the sources of the library, of the runner and of what else pages show."""
    digest = hashlib.sha256(sys.version.encode())
    for name in VERSIONS:
        digest.update(f"{name} {importlib.metadata.version(name)}".encode())
    for file in (*sorted((ROOT / "src").rglob("*.py")), RUNNER, DOCS / "tools" / "blocks.py"):
        digest.update(file.read_bytes())
    return digest.hexdigest()


def _run_page(page, library):
    name = page.relative_to(ROOT)
    try:
        sources = [block.source for block in find_blocks(page.read_text())]
    except ValueError as error:
        raise PageError(f"{name}: {error}") from None
    digest = hashlib.sha256(json.dumps([library, sources]).encode()).hexdigest()[:20]
    folder = CACHE / "pages" / f"{name.with_suffix('').as_posix().replace('/', '.')}.{digest}"
    if (folder / "outputs.json").exists():
        return folder
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    environment = {
        **os.environ,
        "JAX_PLATFORMS": "cpu",
        "MPLBACKEND": "Agg",
        "PYTHONPATH": os.pathsep.join([str(ROOT / "src"), str(ROOT)]),
    }
    # Pages may write files: they get a folder of their own, and name the page from anywhere.
    with tempfile.TemporaryDirectory() as elsewhere:
        run = subprocess.run(
            [sys.executable, "-m", "docs.tools.run_page", str(page), str(folder)],
            capture_output=True,
            text=True,
            env=environment,
            cwd=elsewhere,
        )
    if run.returncode != 0:
        raise PageError(run.stderr.replace(str(page), str(name)).strip())
    return folder
