"""Parts of the library that need more than its dependencies, loaded when they are asked for."""

import importlib
import sys
from typing import Any

from harmonium.checked import check_calls

LAZY = ("draw", "plot")


def load(name: str) -> Any:
    """The public names `plot` and `draw`, which need matplotlib.

    **Raises:** `AttributeError` for other names, `ImportError` without matplotlib.
    """
    if name not in LAZY:
        raise AttributeError(f"module 'harmonium' has no attribute {name!r}.")
    is_new = "harmonium.plot" not in sys.modules
    plot = importlib.import_module("harmonium.plot")
    if is_new:
        check_calls("harmonium.plot")
    return plot if name == "plot" else plot.draw


def list_names() -> list[str]:
    """What `dir` shows of the package: also what is not loaded yet."""
    return sorted({*vars(sys.modules["harmonium"]), *LAZY})
