"""Builds the site: runs the code of all pages, and makes a site of pages and outputs.

python -m docs.build                           all of it, into build/docs/site
python -m docs.build docs/trees.md             runs these pages only, and shows what they print
python -m docs.build --serve                   builds, serves, and builds again what changes

A page is Markdown with blocks of Python, which are run in order, each page in a process of its own.
What a block prints, and the figures that it leaves open, are shown below it. An error or a warning
in a block, a link that leads nowhere or a page missing in `mkdocs.yml` fails the build.
"""

import argparse
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import yaml

from docs.tools.enrich import copy_assets, write_page
from docs.tools.execute import PageError, load_outputs, run_pages
from docs.tools.katex import add_katex
from docs.tools.links import find_broken_links
from docs.tools.places import DOCS, PAGES, ROOT, SITE, find_pages
from docs.tools.reference import write_reference

WATCHED = (DOCS, ROOT / "src", ROOT / "mkdocs.yml")


def main():
    """Does what the command line asks for."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("pages", nargs="*", type=Path)
    parser.add_argument("--serve", action="store_true")
    parser.add_argument("--workers", type=int, default=2)
    arguments = parser.parse_args()
    start = time.monotonic()
    try:
        if arguments.pages:
            show_pages([page.resolve() for page in arguments.pages], arguments.workers)
        elif arguments.serve:
            serve(arguments.workers)
        else:
            write_pages(arguments.workers)
            build_site()
            print(f"{SITE.relative_to(ROOT)}: built in {time.monotonic() - start:.0f} s")
    except PageError as error:
        sys.exit(f"error: {error}")


def show_pages(pages, n_workers):
    """Runs some pages, and prints what they print and where their figures are."""
    for page, folder in run_pages(pages, n_workers).items():
        print(f"---- {page.relative_to(ROOT)}")
        for output in load_outputs(folder):
            print(output["text"], end="")
            for figure in output["figures"]:
                print(f"[{folder / figure['file']}: {figure['description']}]")


def write_pages(n_workers):
    """Runs all pages and writes them with their outputs, and the pages of the reference."""
    folders = run_pages(find_pages(), n_workers)
    shutil.rmtree(PAGES, ignore_errors=True)
    copy_assets()
    for page, folder in folders.items():
        write_page(page, folder)
    layers = write_reference()
    add_katex()
    check_navigation([str(page.relative_to(DOCS)) for page in folders], layers)


def check_navigation(pages, layers):
    """Checks that the navigation names every page."""
    named = set(_leaves(yaml.load((ROOT / "mkdocs.yml").read_text(), _Loader)["nav"]))
    written = {*pages, *(f"api/{layer}.md" for layer in layers)}
    if written - named:
        raise PageError(f"mkdocs.yml: these pages are not in `nav`: {sorted(written - named)}")


class _Loader(yaml.SafeLoader):
    """Reads `!ENV`, a tag of MkDocs, as nothing."""


_Loader.add_constructor("!ENV", lambda loader, node: None)


def _leaves(nav):
    if isinstance(nav, str):
        return [nav]
    items = nav.values() if isinstance(nav, dict) else nav
    return [leaf for item in items for leaf in _leaves(item)]


def build_site():
    """Makes the site of the pages, without warnings, and checks its links."""
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    run = subprocess.run(command, cwd=ROOT, env=_environment())
    if run.returncode != 0:
        raise PageError("the site has the issues above.")
    broken = find_broken_links(SITE)
    if broken:
        raise PageError("broken links:\n" + "\n".join(broken))


def _environment():
    return {**os.environ, "NO_COLOR": "1"}


def serve(n_workers):
    """Serves the site at a local port; runs pages again when they change."""
    write_pages(n_workers)
    command = [sys.executable, "-m", "zensical", "serve"]
    with subprocess.Popen(command, cwd=ROOT, env=_environment()) as server:
        state = _last_changes()
        try:
            while server.poll() is None:
                time.sleep(1)
                if _last_changes() == state:
                    continue
                state = _last_changes()
                try:
                    write_pages(n_workers)
                except PageError as error:
                    print(f"error: {error}", file=sys.stderr)
        except KeyboardInterrupt:
            server.terminate()


def _last_changes():
    files = [file for place in WATCHED for file in (place, *place.rglob("*"))]
    return {
        file: file.stat().st_mtime for file in files if file.is_file() and file.suffix != ".pyc"
    }


if __name__ == "__main__":
    main()
