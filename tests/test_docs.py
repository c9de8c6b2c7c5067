"""The pages in `docs/` are well formed. Their code runs when the site is built, by `make docs`."""

import re

import pytest

from docs.tools.blocks import find_blocks
from docs.tools.places import DOCS, ROOT
from docs.tools.supplies import (
    SHOWN,
    TABLES,
    write_extension_points,
    write_performance_hooks,
    write_supplies,
)
from tests.contracts.classes import abstract_members
from tests.contracts.hooks import EXTENSION_POINTS, PERFORMANCE_HOOKS

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


def _rows(write):
    """The cells of the tables that a function writes, but for their heads."""
    rows = [line.strip("|").split("|") for line in write() if line.startswith("|")]
    heads = {place for place, row in enumerate(rows) if set(row[0]) == {" ", "-"}}
    kept = [row for place, row in enumerate(rows) if not {place, place + 1} & heads]
    return [tuple(cell.strip() for cell in row) for row in kept]


def _names(rows):
    """Owner and name of each row."""
    return [(re.match(r"\[?`(\w+)`", owner)[1], name.strip("`")) for name, owner, _ in rows]


def test_the_tables_of_hooks_are_complete():
    assert _names(_rows(write_extension_points)) == list(EXTENSION_POINTS)
    assert _names(_rows(write_performance_hooks)) == list(PERFORMANCE_HOOKS)


def test_the_tables_of_what_is_supplied_are_complete():
    text = "\n".join(write_supplies())
    for cls in SHOWN:
        own = text.split(f"of `{cls.__name__}`", 1)[1].split("###", 1)[0].splitlines()
        rows = _rows(lambda own=own: own)
        assert {name for _, name in _names(rows)} == abstract_members(cls)
        assert all(meaning for _, _, meaning in rows)


def test_tables_that_are_generated_have_a_place():
    lines = (DOCS / "extending.md").read_text().splitlines()
    assert [line for line in lines if line in TABLES] == list(TABLES)
