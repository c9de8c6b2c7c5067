"""Parts of the library that need more than its dependencies, loaded when they are asked for."""

import importlib
import sys
from typing import Any

from jaxtyping import install_import_hook

LAZY = ("draw", "plot")


def load(name: str) -> Any:
    """The public names `plot` and `draw`, which need matplotlib.

    **Raises:** `AttributeError` for other names, `ImportError` without matplotlib.
    """
    if name not in LAZY:
        raise AttributeError(f"module 'harmonium' has no attribute {name!r}.")
    with install_import_hook("harmonium.plot", "beartype.beartype"):
        plot = importlib.import_module("harmonium.plot")
    return plot if name == "plot" else plot.draw


def list_names() -> list[str]:
    """What `dir` shows of the package: also what is not loaded yet."""
    return sorted({*vars(sys.modules["harmonium"]), *LAZY})
