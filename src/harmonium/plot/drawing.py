"""Models as graphs of their variables."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch, FancyBboxPatch
from matplotlib.path import Path

from harmonium.exponential_family.base import ExponentialFamily
from harmonium.exponential_family.outline import Node, outline
from harmonium.plot.canvas import DARK, get_axes

# All lengths are inches: between rows and boxes, and of the text in boxes.
ROW, GAP = 1.05, 0.3
CHARACTER, MARGIN, LINE = 0.078, 0.16, 0.19
ROUNDING, DETOUR = 0.08, 0.65
LATENT, OBSERVED = "white", "#DCE9F5"


class _Box(NamedTuple):
    """A node, the place of its centre, and the boxes between the top and it."""

    node: Node
    x: float
    y: float
    above: tuple[Any, ...] = ()

    @property
    def lines(self) -> list[str]:
        return [line for line in (self.node.text, self.node.note) if line]

    @property
    def width(self) -> float:
        return _width(self.node)

    @property
    def height(self) -> float:
        return LINE * (1 + len(self.lines)) + MARGIN


def draw(model: Any, ax: Axes | None = None) -> Axes:
    """A model as a graph: latents above what depends on them, down to what is observed.

    Each box is a variable with its name and its family; those of what is observed are shaded. The
    `repr` of a model is the same as text.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family.
    - `ax`: the axes to draw into, those of a new figure by default, which fits the size.

    **Returns:** the axes.

    **Raises:** `TypeError` if this is no model.
    """
    if not isinstance(model, ExponentialFamily):
        raise TypeError(f"draw takes a model or a family, got {model!r}.")
    boxes, start = [], 0.0
    for root in outline(model):
        boxes.extend(_place(root, start, ()))
        start += _span(root) + GAP
    edges = [
        _edge(parent, box)
        for box in boxes
        for parent in box.above
        if parent.node.name in box.node.parents
    ]
    places = [x for box in boxes for x in (box.x - box.width / 2, box.x + box.width / 2)]
    places += [x for edge in edges for x in np.asarray(edge.vertices)[:, 0]]
    xlim = min(places) - GAP, max(places) + GAP
    ylim = min(box.y for box in boxes) - ROW / 2, ROW / 2
    ax = get_axes(ax, (xlim[1] - xlim[0], ylim[1] - ylim[0]))
    for edge in edges:
        style = {"arrowstyle": "-|>", "mutation_scale": 12, "color": DARK, "lw": 1.2}
        ax.add_patch(FancyArrowPatch(path=edge, shrinkA=0, shrinkB=0, **style))
    for box in boxes:
        _draw_box(ax, box)
    ax.set(xlim=xlim, ylim=ylim)
    ax.set_axis_off()
    return ax


def _width(node: Node) -> float:
    return CHARACTER * max(len(node.text), len(node.note), 2 * len(node.name)) + 2 * MARGIN


def _children_span(node: Node) -> float:
    return sum(map(_span, node.children)) + GAP * (len(node.children) - 1)


def _span(node: Node) -> float:
    """How much width a node takes, with everything below it."""
    return max(_width(node), _children_span(node)) if node.children else _width(node)


def _place(node: Node, start: float, above: tuple[_Box, ...]) -> list[_Box]:
    """A node in the middle above its children, which begin at `start`."""
    span = _span(node)
    box = _Box(node, start + span / 2, -ROW * len(above), above)
    boxes = [box]
    if node.children:
        start += (span - _children_span(node)) / 2
    for child in node.children:
        boxes.extend(_place(child, start, (*above, box)))
        start += _span(child) + GAP
    return boxes


def _edge(parent: _Box, child: _Box) -> Path:
    """A straight line between neighbours, and a curve around the boxes between others."""
    between = child.above[child.above.index(parent) + 1 :]
    end = child.y + child.height / 2
    if not between:
        return Path([(parent.x, parent.y - parent.height / 2), (child.x, end)])
    side = -1 if child.x < parent.x else 1
    reach = max(side * box.x + box.width / 2 for box in between) + DETOUR
    points = [
        (parent.x + side * parent.width / 2, parent.y),
        (side * reach, parent.y),
        (side * reach, end + ROW / 3),
        (child.x + side * 0.4 * child.width, end),
    ]
    return Path(points, [Path.MOVETO, Path.CURVE4, Path.CURVE4, Path.CURVE4])


def _draw_box(ax: Axes, box: _Box) -> None:
    style = {"facecolor": LATENT if box.node.is_latent else OBSERVED, "edgecolor": DARK, "lw": 1.2}
    corner = box.x - box.width / 2 + ROUNDING, box.y - box.height / 2 + ROUNDING
    size = box.width - 2 * ROUNDING, box.height - 2 * ROUNDING
    ax.add_patch(FancyBboxPatch(corner, *size, f"round,pad={ROUNDING}", zorder=2, **style))
    top = box.y + LINE * len(box.lines) / 2
    centred = {"ha": "center", "va": "center", "zorder": 3}
    ax.text(box.x, top, box.node.name, fontsize=12, fontweight="bold", **centred)
    for i, line in enumerate(box.lines):
        color = DARK if i == 0 else "0.4"
        ax.text(box.x, top - LINE * (i + 1), line, fontsize=9, color=color, **centred)
