"""What all pictures share: matplotlib itself, axes and colours."""

from typing import Any

import numpy as np

try:
    import matplotlib.pyplot as plt
except ImportError as error:
    raise ImportError(
        'pictures need matplotlib: pip install "harmonium[plot]", or pip install matplotlib.'
    ) from error
from matplotlib.axes import Axes

# Okabe and Ito's colours, which colour-blind readers can tell apart and which differ in grey,
# without yellow and black.
COLORS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
SEQUENTIAL = "Blues"
SIGNED = "RdBu_r"
DARK, MUTED = "0.15", "0.7"


def get_axes(ax: Axes | None, size: tuple[float, float] = (5.0, 3.8)) -> Axes:
    """The given axes, or those of a new figure of this size in inches."""
    if ax is not None:
        return ax
    return plt.subplots(figsize=size, layout="constrained")[1]


def color_of(index: int) -> str:
    """The colour of the group with this number; they repeat."""
    return COLORS[index % len(COLORS)]


def marker_of(index: int) -> str:
    """The marker of the group with this number, another one as soon as colours repeat."""
    return MARKERS[index // len(COLORS) % len(MARKERS)]


def check_labels(labels: Any, length: int) -> Any:
    """One label for each of the observations, as a NumPy array, or `None`.

    **Raises:** `ValueError` for another number of them.
    """
    if labels is None:
        return None
    array = np.asarray(labels)
    if array.shape != (length,):
        raise ValueError(
            f"expected one label for each of {length} observations, got an array of shape "
            f"{array.shape}."
        )
    return array


def check_dims(dims: Any, dim: int, what: str) -> tuple[int, int]:
    """Two different places in a vector.

    **Raises:** `ValueError` for anything else, and for vectors of less than two numbers.
    """
    if dim < 2:
        raise ValueError(f"two dimensions are needed, but {what} has one.")
    places = tuple(dims)
    if len(places) != 2 or len(set(places)) != 2 or not all(0 <= i < dim for i in places):
        raise ValueError(
            f"dims are two different places from 0 to {dim - 1} in {what}, got {dims}."
        )
    return places
