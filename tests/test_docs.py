"""The code of the pages in `docs/` runs as it stands, and their pictures are there."""

import importlib.util
import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

DOCS = Path(__file__).parent.parent / "docs"
PAGES = sorted(DOCS.glob("*.md"))


def test_the_page_on_trees_fits_a_tree():
    (block,) = re.findall(r"```python\n(.*?)```", (DOCS / "trees.md").read_text(), flags=re.DOTALL)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", block], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    before, after, classes = run.stdout.strip().splitlines()
    assert float(before) + 1 < float(after)
    probabilities = np.array(classes.strip("[]").split(), float)
    assert len(probabilities) == 3
    np.testing.assert_allclose(probabilities.sum(), 1, rtol=1e-5)


def test_the_page_on_large_data_fits_streams_as_arrays():
    page = (DOCS / "large_data.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    run = subprocess.run(
        [sys.executable, "-c", "\n".join(blocks)], capture_output=True, text=True, env=environment
    )
    assert run.returncode == 0, run.stderr
    pair, batches, error, online = run.stdout.strip().splitlines()
    values = [float(value) for value in [*pair.split(), batches]]
    np.testing.assert_allclose(values, values[0], rtol=1e-4)
    assert "read once only" in error
    assert abs(float(online.split()[0]) - values[0]) < 0.1


def test_the_page_on_files_saves_and_resumes(tmp_path):
    page = (DOCS / "files.md").read_text()
    blocks = re.findall(r"```python\n(.*?)```", page, flags=re.DOTALL)
    environment = {**os.environ, "JAX_PLATFORMS": "cpu"}
    command = [sys.executable, "-c", "\n".join(blocks)]
    run = subprocess.run(command, capture_output=True, text=True, env=environment, cwd=tmp_path)
    assert run.returncode == 0, run.stderr
    loaded, names, same, error, *_ = run.stdout.strip().splitlines()
    assert (loaded, names, same) == ("True True", "['key', 'model', 'starts']", "True")
    assert "which differs in model" in error


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_pictures_and_files_that_pages_name_exist(page):
    text = page.read_text()
    for picture in re.findall(r"\]\(([^)]*\.png)\)", text):
        assert (DOCS / picture).exists(), picture
    for file in re.findall(r"`((?:examples|docs|src)/[^`]*)`", text):
        assert (DOCS.parent / file).exists(), file


def test_the_picture_of_trees_can_be_drawn_again(tmp_path):
    spec = importlib.util.spec_from_file_location("draw_trees", DOCS / "draw_trees.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    module.main(tmp_path / "trees.png")
    drawn = (tmp_path / "trees.png").stat().st_size
    kept = (DOCS / "images" / "trees.png").stat().st_size
    assert abs(drawn - kept) < 0.2 * kept
