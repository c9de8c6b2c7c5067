"""The pages in `docs/` are well formed. Their code runs when the site is built, by `make docs`."""

import re

import pytest

from docs.tools.blocks import find_blocks
from docs.tools.places import DOCS, ROOT

PAGES = sorted(DOCS.rglob("*.md"))


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_the_code_of_pages_is_python(page):
    for block in find_blocks(page.read_text()):
        compile(block.source, str(page), "exec")


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(DOCS)))
def test_pictures_pages_and_files_that_pages_name_exist(page):
    text = page.read_text()
    for link in re.findall(r"\]\(([^):]*\.(?:png|md))(?:#[^)]*)?\)", text):
        # Pages of the reference are written when the site is built.
        assert "api/" in link or (page.parent / link).exists(), link
    for file in re.findall(r"`((?:examples|docs|src)/[^`]*)`", text):
        assert (ROOT / file).exists(), file


def test_blocks_that_are_not_closed_or_not_known_are_refused():
    with pytest.raises(ValueError, match="line 3: this block of code is not closed"):
        find_blocks("text\n\n```python\nx = 1\n")
    with pytest.raises(ValueError, match="line 1: expected python or python fold"):
        find_blocks("```python hidden\nx = 1\n```\n")


def test_every_page_is_in_the_navigation():
    navigation = (ROOT / "mkdocs.yml").read_text()
    for page in PAGES:
        assert f" {page.relative_to(DOCS)}\n" in navigation, page
