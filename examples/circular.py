"""Directions of edges: a mixture of von Mises distributions on a compass.

In a photograph of a Chinese temple, which comes with scikit-learn, brightness changes mostly across
horizontal and vertical lines. Mixtures of von Mises distributions are fitted to the directions in
which it grows fastest, and compared on other parts of the photograph.

    python examples/circular.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import COLORS, plt, run, save
from scipy.ndimage import gaussian_filter
from sklearn.datasets import load_sample_image

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "circular.png"
TEMPLE = slice(55, 355), slice(60, 360)  # rows and columns of pixels, with few trees
BLOCK = 30  # pixels; blocks of them are fitted or held out as a whole
STRIDE = 2  # pixels between those that are used
SHARPEST = 0.3  # the share of pixels with the steepest changes, which have a clear direction


class Edges(NamedTuple):
    """A photograph, where its edges are, and their directions, some fitted and some held out.

    Directions are those in which brightness grows: angles in radians, counterclockwise from the
    right.
    """

    photograph: np.ndarray
    places: np.ndarray
    train: jax.Array
    held_out: jax.Array


def load():
    """The directions of the sharpest edges.

    Neighbouring pixels are alike, so blocks of them are held out, in a chessboard's pattern.
    """
    photograph = load_sample_image("china.jpg")[TEMPLE]
    grey = gaussian_filter(photograph.mean(axis=2), 1.0)
    down, right = np.gradient(grey)
    steepness = np.hypot(down, right)
    row, column = np.indices(grey.shape)
    sharp = steepness > np.quantile(steepness, 1 - SHARPEST)
    kept = sharp & (row % STRIDE == 0) & (column % STRIDE == 0)
    directions = np.arctan2(-down, right)
    black = (row // BLOCK + column // BLOCK) % 2 == 1
    parts = (jnp.asarray(directions[kept & part]) for part in (~black, black))
    return Edges(photograph, np.argwhere(kept), *parts)


def fit_mixtures(edges, sizes, n_starts, n_steps):
    """Mixtures of so many components, each with its log-likelihoods, held out and in training."""
    fits = []
    for k in sizes:
        model = hm.Mixture(hm.VonMises(), k)
        budget = {"n_starts": n_starts, "max_steps": n_steps}
        fit = hm.fit(model, edges.train, key=jax.random.key(0), prior=None, **budget)
        held_out = float(mean_log_likelihood(model, fit.params, edges.held_out))
        fits.append((held_out, float(fit.log_likelihood), model, fit.params))
    return fits


@eqx.filter_jit
def mean_log_likelihood(model, params, xs):
    """In nats per edge, the components summed out."""
    return model.average_log_observable_density(params, xs)


@eqx.filter_jit
def curves(model, params, angles):
    """The density at angles, and each component's share of it, (components, angles)."""
    components, weights = model.components(params), model.weights(params)
    densities = jax.vmap(lambda point: jnp.exp(model.obs_man.log_densities(point, angles)))
    shares = weights[:, None] * densities(components)
    return jnp.sum(shares, axis=0), shares


def describe(model, params):
    """The components of a mixture, a line each, from the largest."""
    family, weights = model.obs_man, model.weights(params)
    lines = [f"{'weight':>8}{'direction':>11}{'concentration':>15}"]
    for k in np.argsort(-weights):
        point = model.components(params)[int(k)]
        degrees = float(jnp.rad2deg(family.mean(point))) % 360
        concentration = float(family.concentration(point))
        lines.append(f"{weights[k]:>8.2f}{degrees:>10.0f}°{concentration:>15.2f}")
    return "\n".join(lines)


# --- picture


def draw(path, edges, model, params):
    """The photograph with its edges, and a rose of directions with the fitted density."""
    figure = plt.figure(figsize=(12, 5.4), layout="constrained")
    left, right = figure.subfigures(1, 2, width_ratios=[1, 1.15])
    draw_photograph(left.subplots(), edges)
    draw_rose(right.add_subplot(projection="polar"), edges.held_out, model, params)
    save(figure, path)


def draw_photograph(axes, edges):
    """The photograph, and dots where it has edges."""
    axes.imshow(edges.photograph, alpha=0.8)
    axes.plot(edges.places[:, 1], edges.places[:, 0], ".", ms=2, color=COLORS[0])
    axes.set_title("Photograph (dots: edges that are used)")
    axes.set_axis_off()


def draw_rose(axes, directions, model, params):
    """Directions around a circle; areas are shares, so that radii are square roots of densities."""
    n_bins = 72
    width = 2 * np.pi / n_bins
    counts, borders = np.histogram(directions, bins=n_bins, range=(-np.pi, np.pi))
    radii = np.sqrt(counts / (counts.sum() * width))
    axes.bar(borders[:-1], radii, width, align="edge", color="0.83", label="held-out edges")
    angles = jnp.linspace(-jnp.pi, jnp.pi, 721)
    density, shares = curves(model, params, angles)
    for k, share in enumerate(shares):
        label = None if k else "components"
        axes.plot(angles, np.sqrt(share), color=COLORS[0], lw=1.2, ls="--", label=label)
    axes.plot(angles, np.sqrt(density), color=COLORS[1], lw=2, label="mixture")
    axes.set_xticks(np.arange(4) * np.pi / 2, ["right", "up", "left", "down"])
    axes.set_yticklabels([])
    axes.set_title("Where it gets brighter (areas are shares)")
    axes.legend(loc="upper left", bbox_to_anchor=(0.93, 1.08), frameon=False)


def main(picture=PICTURE, sizes=(1, 2, 4, 6), n_starts=4, n_steps=300):
    """Fits, prints and draws."""
    edges = load()
    fits = fit_mixtures(edges, sizes, n_starts, n_steps)
    best = max(fits, key=lambda fit: fit[0])
    print(f"\n{len(edges.train):,} edges to fit, {len(edges.held_out):,} held out.")
    print("Mean log-likelihoods in nats per edge; * the best on held-out edges.\n")
    print(f"{'components':>10}{'parameters':>12}{'train':>9}{'held-out':>10}")
    print(f"{'uniform':>10}{0:>12}{-np.log(2 * np.pi):>9.3f}{-np.log(2 * np.pi):>10.3f}")
    for fit in fits:
        held_out, train, model, _ = fit
        mark = " *" if fit is best else ""
        print(f"{model.n_components:>10}{model.dim:>12}{train:>9.3f}{held_out:>10.3f}{mark}")
    _, _, model, params = best
    print(f"\n{describe(model, params)}")
    draw(picture, edges, model, params)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
