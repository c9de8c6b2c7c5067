"""Parts of the library that need more than its dependencies, loaded when they are asked for."""

import importlib
from typing import Any

from jaxtyping import install_import_hook


def load(name: str) -> Any:
    """The public names `plot` and `draw`, which need matplotlib.

    **Raises:** `AttributeError` for other names, `ImportError` without matplotlib.
    """
    if name not in ("plot", "draw"):
        raise AttributeError(f"module 'harmonium' has no attribute {name!r}.")
    with install_import_hook("harmonium.plot", "beartype.beartype"):
        plot = importlib.import_module("harmonium.plot")
    return plot if name == "plot" else plot.draw
