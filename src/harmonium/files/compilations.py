"""Keeping compiled programs in a folder, so that later processes need not compile them."""

import os
import sys
from pathlib import Path

import jax
from jax.experimental.compilation_cache import compilation_cache


def cache_compilations(folder: str | Path | None = None) -> Path:
    """Keeps what is compiled from now on in a folder, where later processes find it.

    This turns on JAX's persistent compilation cache, for all programs of this process. Other
    shapes, devices and releases of JAX have programs of their own. The folder grows, and may be
    deleted at any time. JAX runs what it finds there: nobody else should be able to write to it.

    **Arguments:**

    - `folder`: where; by default `harmonium` in the folder of the platform for caches:
        `$XDG_CACHE_HOME` or `~/.cache`, on macOS `~/Library/Caches`, on Windows `%LOCALAPPDATA%`.
        It is made if it is missing.

    **Returns:** the folder.
    """
    folder = _default_folder() if folder is None else Path(folder).expanduser().absolute()
    folder.mkdir(parents=True, exist_ok=True)
    jax.config.update("jax_compilation_cache_dir", str(folder))
    # A fit has many small programs, and each is read faster than it is compiled.
    jax.config.update("jax_persistent_cache_min_compile_time_secs", 0.0)
    jax.config.update("jax_persistent_cache_min_entry_size_bytes", 0)
    # JAX looks for the folder once only: it may have done so already.
    compilation_cache.reset_cache()
    return folder


def _default_folder() -> Path:
    home = Path.home()
    if sys.platform == "win32":
        base = os.environ.get("LOCALAPPDATA") or home / "AppData" / "Local"
    elif sys.platform == "darwin":
        base = home / "Library" / "Caches"
    else:
        base = os.environ.get("XDG_CACHE_HOME", "")
        base = base if os.path.isabs(base) else home / ".cache"  # as the standard has it
    return Path(base) / "harmonium"
