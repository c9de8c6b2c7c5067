"""Finds links within the built site that lead nowhere."""

import functools
from html.parser import HTMLParser
from urllib.parse import unquote, urlsplit

LINKS = {"a": "href", "link": "href", "img": "src", "script": "src"}


class _Page(HTMLParser):
    """The links of a page, each with whether a browser loads it by itself, and the anchors."""

    def __init__(self, text):
        super().__init__()
        self.links, self.anchors = [], {""}
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        named = dict(attrs)
        self.anchors.update(named[key] for key in ("id", "name") if named.get(key))
        link = named.get(LINKS.get(tag, ""))
        if link is not None:
            self.links.append((link, tag != "a" and named.get("rel") != "canonical"))


@functools.cache
def _read(file):
    return _Page(file.read_text())


def find_broken_links(site):
    """One line for each link of a page to a file or an anchor that does not exist.

    Also for each script, style sheet or picture that would be loaded from elsewhere. Other links to
    elsewhere are not looked at.
    """
    return [
        f"{page.relative_to(site)}: {problem}"
        for page in sorted(site.rglob("*.html"))
        for problem in _problems_of(page, site)
    ]


def _problems_of(page, site):
    for link, is_loaded in dict.fromkeys(_read(page).links):
        parts = urlsplit(link)
        if parts.scheme or parts.netloc:
            if is_loaded and parts.scheme != "data":
                yield f"{link}: is loaded from elsewhere, so that it is missing offline"
            continue
        target = _file(page, site, unquote(parts.path))
        if not target.is_file():
            yield f"{link}: there is no {target.relative_to(site)}"
        elif target.suffix == ".html" and unquote(parts.fragment) not in _read(target).anchors:
            yield f"{link}: there is no such anchor in {target.relative_to(site)}"


def _file(page, site, path):
    """The file that a path in a page means."""
    if not path:
        return page
    base = site if path.startswith("/") else page.parent
    target = (base / path.lstrip("/")).resolve()
    return target / "index.html" if path.endswith("/") or target.is_dir() else target
