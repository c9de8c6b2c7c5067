"""Where things are, and where they go."""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
BUILD = ROOT / "build" / "docs"
CACHE = BUILD / "cache"
PAGES = BUILD / "pages"  # with outputs and pictures: what the site is made of
SITE = BUILD / "site"


def find_pages():
    """All pages, the longest to run first."""
    pages = sorted(DOCS.rglob("*.md"))
    return sorted(pages, key=lambda page: page.parent.name != "tutorials")
