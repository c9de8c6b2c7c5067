"""Draws `images/trees.png`: the graphs of the three ways to make trees.

python docs/draw_trees.py
"""

from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt

PICTURE = Path(__file__).parent / "images" / "trees.png"
# For each graph its title, code, the places of its variables, and the edges from parent to child.
GRAPHS = (
    (
        "one latent, several children",
        "hm.Parallel(a, b)",
        {"z": (1, 1), "x_1": (0.4, 0), "x_2": (1.6, 0)},
        (("z", "x_1", "a"), ("z", "x_2", "b")),
    ),
    (
        "branches side by side under a root",
        "hm.stack(hm.Beside(a, b), hm.Parallel(c, d))",
        {"z": (1, 2), "y_1": (0.4, 1), "y_2": (1.6, 1), "x_1": (0.4, 0), "x_2": (1.6, 0)},
        (("z", "y_1", "c"), ("z", "y_2", "d"), ("y_1", "x_1", "a"), ("y_2", "x_2", "b")),
    ),
    (
        "leaves at unequal depth",
        "hm.Parallel(hm.stack(a, c),\n    hm.Attached(b, hm.PosteriorEmbedding(c)))",
        {"z": (1, 2), "y": (0.4, 1), "x_1": (0.4, 0), "x_2": (1.6, 0)},
        (("z", "y", "c"), ("y", "x_1", "a"), ("z", "x_2", "b")),
    ),
)


def draw_graph(axes, title, code, places, edges):
    """One graph: latents are white, observables grey."""
    for parent, child, name in edges:
        (x0, y0), (x1, y1) = places[parent], places[child]
        arrow = {"arrowstyle": "-|>", "color": "0.3", "shrinkA": 17, "shrinkB": 17, "lw": 1.3}
        axes.annotate("", (x1, y1), (x0, y0), arrowprops=arrow)
        side = -1 if x1 < 1 else 1
        middle = (x0 + x1) / 2 + 0.14 * side, (y0 + y1) / 2 + 0.06
        axes.text(*middle, name, ha="center", va="center", family="monospace", color="#0072B2")
    for name, place in places.items():
        color = "0.85" if name.startswith("x") else "white"
        axes.scatter(*place, s=900, color=color, edgecolors="black", linewidths=1.3, zorder=2)
        axes.text(*place, f"${name}$", ha="center", va="center", fontsize=13, zorder=3)
    axes.set_title(title, fontsize=12)
    axes.text(1, -0.5, code, ha="center", va="top", family="monospace", fontsize=9)
    axes.set(xlim=(-0.1, 2.1), ylim=(-1, 2.35))
    axes.set_axis_off()


def main(path=PICTURE):
    """Draws and saves."""
    figure, grid = plt.subplots(1, 3, figsize=(11, 4), layout="constrained")
    for axes, graph in zip(grid, GRAPHS, strict=True):
        draw_graph(axes, *graph)
    figure.savefig(path, dpi=90)
    plt.close(figure)


if __name__ == "__main__":
    main()
