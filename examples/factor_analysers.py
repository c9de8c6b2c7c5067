"""Mixtures of factor analysers: clusters of digits, each with directions of its own.

A mixture of factor analysers explains the images of each cluster by a few factors: how ones lean,
how wide zeros are. A hierarchical mixture of Gaussians has one set of factors for all clusters, a
Gaussian mixture with independent pixels none, one with full covariances as many as pixels. They
are compared on images that none has seen. The sizes of each kind, up to the same number of
parameters, are chosen on other images.

    python examples/factor_analysers.py [--picture PATH]
"""

from pathlib import Path
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from charts import COLORS, plt, run, save
from sklearn.datasets import load_digits
from sklearn.model_selection import train_test_split

import harmonium as hm

jax.config.update("jax_enable_x64", True)

PICTURE = Path(__file__).parent / "output" / "factor_analysers.png"
N_PIXELS = 64
N_PSEUDO = 10


class Images(NamedTuple):
    """Images to fit, to choose sizes by, and to compare kinds of models by; (n, 64) each."""

    train: jax.Array
    validation: jax.Array
    held_out: jax.Array


class Entry(NamedTuple):
    """A fitted model, and its mean log-likelihoods."""

    kind: str
    size: str
    model: hm.Conjugated
    params: hm.Natural
    train: float
    validation: float
    held_out: float


def load():
    """The digits of scikit-learn with noise in [0, 1) that makes up for their rounding.

    Grey levels are integers. With the noise, densities of pixels are comparable to probabilities of
    the levels, and no pixel is the same in all images.
    """
    images, _ = load_digits(return_X_y=True)
    images = jnp.asarray(images + np.random.default_rng(0).uniform(size=images.shape))
    rest, held_out = train_test_split(images, random_state=0)
    train, validation = train_test_split(rest, random_state=0)
    return Images(train, validation, held_out)


# --- models


def analysers(n_components, n_factors):
    """A mixture of factor analysers: means, loadings and noise differ between components."""
    return hm.Mixture(hm.factor_analysis(N_PIXELS, n_factors), n_components)


def hierarchy(n_components, n_factors):
    """Factors that all components share, and a mixture of Gaussians over these."""
    return hm.hierarchical_mixture_of_gaussians(
        N_PIXELS, n_factors, n_components, obs_covariance=hm.Diagonal()
    )


def independent(n_components):
    """A Gaussian mixture with independent pixels."""
    return hm.Mixture(hm.Normal(N_PIXELS, hm.Diagonal()), n_components)


def full(n_components):
    """A Gaussian mixture with full covariances."""
    return hm.Mixture(hm.Normal(N_PIXELS), n_components)


# Kinds of models, and sizes to choose from: numbers of components, and of factors. All have about
# 8,000 parameters at most.
SIZES = {
    "mixture of factor analysers": (analysers, ((20, 4), (15, 6))),
    "hierarchical mixture": (hierarchy, ((20, 20), (10, 30))),
    "Gaussian mixture, diagonal": (independent, ((30,), (62,))),
    "Gaussian mixture, full": (full, ((2,), (3,))),
}


# --- fits


@eqx.filter_jit
def mean_log_likelihood(model, params, xs):
    """In nats per image, the latents summed out exactly."""
    return model.average_log_observable_density(params, xs)


def fit(kind, build, size, images, n_starts, n_steps):
    """EM from several starts; the best of them by training likelihood."""
    model = build(*size)
    name = " x ".join(map(str, size))
    prior = hm.pseudo_observations(model, images.train, N_PSEUDO)
    budget = {"n_starts": n_starts, "max_steps": n_steps, "tolerance": 2e-5}
    params = hm.fit(model, images.train, key=jax.random.key(0), prior=prior, **budget).params
    values = (float(mean_log_likelihood(model, params, xs)) for xs in images)
    return Entry(kind, name, model, params, *values)


def compare(images, sizes, n_starts, n_steps):
    """Models of all kinds and sizes, each kind's best on the validation images first."""
    kinds = []
    for kind, (build, choices) in sizes.items():
        fits = [fit(kind, build, size, images, n_starts, n_steps) for size in choices]
        kinds.append(sorted(fits, key=lambda entry: -entry.validation))
    return kinds


def table(kinds):
    """Log-likelihoods of all fits; a star for the chosen sizes."""
    header = f"{'model':<30}{'size':>9}{'parameters':>12}"
    header += f"{'train':>10}{'validation':>12}{'held-out':>10}"
    lines = [header, "-" * len(header)]
    for fits in kinds:
        for entry in fits:
            star = " *" if entry is fits[0] else ""
            sizes = f"{entry.kind:<30}{entry.size:>9}{entry.model.dim:>12,}"
            values = f"{entry.train:>10.2f}{entry.validation:>12.2f}{entry.held_out:>10.2f}"
            lines.append(sizes + values + star)
    return "\n".join(lines)


# --- picture


class Cluster(NamedTuple):
    """What a component of a mixture of factor analysers says about images."""

    weight: float
    mean: np.ndarray
    factors: np.ndarray


def read_clusters(model, params, n_factors):
    """The components, the heaviest first, and the principal directions of their factors.

    Loadings are determined up to a rotation of the factors. Their principal directions, in pixels
    and one standard deviation long, are not, but for signs.
    """
    analysis = model.obs_man

    @eqx.filter_jit
    def read(component):
        loadings = analysis.loadings(component)
        prior = analysis.prior(component)
        root = jnp.linalg.cholesky(analysis.prr_man.covariance(prior))
        directions, lengths, _ = jnp.linalg.svd(loadings @ root, full_matrices=False)
        mean = analysis.obs_man.mean(
            analysis.likelihood_at(component, analysis.prr_man.mean(prior))
        )
        return mean, (directions * lengths).T[:n_factors]

    means, factors = jax.vmap(read)(model.components(params))
    weights = model.weights(params)
    return [
        Cluster(float(weights[k]), np.asarray(means[k]), np.asarray(factors[k]))
        for k in jnp.argsort(-weights)
    ]


def draw(path, kinds, n_clusters=9, n_factors=2):
    """Clusters and what varies in them, and the comparison."""
    chosen = [fits[0] for fits in kinds]
    clusters = read_clusters(chosen[0].model, chosen[0].params, n_factors)[:n_clusters]
    figure, (left, right) = plt.subplots(
        1, 2, figsize=(12, 5.6), width_ratios=[1.9, 1], layout="constrained"
    )
    figure.get_layout_engine().set(wspace=0.04)
    draw_clusters(left, clusters)
    draw_scores(right, chosen)
    save(figure, path)


STEPS = np.array([-2.0, -1.0, 0.0, 1.0, 2.0])
SIZE = 9  # of an image, with its gap
GAP = 5  # between a factor and what is left of it


def draw_clusters(axes, clusters):
    """A row for each cluster: its mean, and what its factors do to that."""
    title = "The heaviest clusters, and their factors from -2 to 2 standard deviations"
    axes.set_title(title, pad=22)
    rows = [strip(cluster) for cluster in clusters]
    axes.imshow(np.vstack(rows), cmap="gray_r", vmin=0, vmax=17)
    for i, cluster in enumerate(clusters):
        axes.text(-1.5, SIZE * i + 4, f"{cluster.weight:.0%}", ha="right", va="center")
    axes.text(3.5, -1.5, "mean", ha="center", va="bottom")
    for i in range(len(clusters[0].factors)):
        middle = SIZE * (1 + len(STEPS) * (i + 0.5)) + GAP * (i + 1) - 0.5
        axes.text(middle, -1.5, f"factor {i + 1}", ha="center", va="bottom")
    axes.set_axis_off()


def strip(cluster):
    """The mean, and for each factor the images from end to end of it."""
    parts = [tile(cluster.mean)]
    for factor in cluster.factors:
        parts.append(np.full((SIZE, GAP), np.nan))
        parts += [tile(cluster.mean + step * factor) for step in STEPS]
    return np.hstack(parts)


def tile(image):
    """An image with a gap below and to its right."""
    return np.pad(image.reshape(8, 8), ((0, 1), (0, 1)), constant_values=np.nan)


def draw_scores(axes, chosen):
    """Held-out log-likelihoods and sizes."""
    ordered = sorted(chosen, key=lambda entry: entry.held_out)
    values = np.array([entry.held_out for entry in ordered])
    colors = [COLORS[0] if entry is chosen[0] else "0.45" for entry in ordered]
    rows = np.arange(len(ordered))
    axes.scatter(values, rows, color=colors, s=70, zorder=3)
    for value, row in zip(values, rows, strict=True):
        axes.annotate(f"{value:.1f}", (value, row), (0, 8), textcoords="offset points", ha="center")
    names = [f"{e.kind}\n{e.size}: {e.model.dim:,} parameters" for e in ordered]
    axes.set_yticks(rows, names)
    margin = 0.12 * (np.ptp(values) + 1)
    axes.set(
        title="Held-out images",
        xlabel="mean log-likelihood (nats per image)",
        xlim=(values.min() - margin, values.max() + margin),
        ylim=(-0.5, len(rows) - 0.5),
    )
    axes.grid(axis="y", color="0.9")
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.tick_params(axis="y", length=0)


def main(picture=PICTURE, sizes=SIZES, n_starts=4, n_steps=120):
    """Fits, prints and draws."""
    images = load()
    kinds = compare(images, sizes, n_starts, n_steps)
    print(f"\nDigits: {len(images.train)} images to fit, {len(images.validation)} to choose sizes,")
    print(
        f"{len(images.held_out)} to compare. The best of {n_starts} starts, by training likelihood."
    )
    print(
        f"Every fit has beside its images {N_PSEUDO} pseudo-images, like them but for the latents."
    )
    print("Sizes are numbers of components, and of factors. Nats per image.\n")
    print(table(kinds))
    print("\n* the size of each kind that is best on the validation images.")
    draw(picture, kinds)


if __name__ == "__main__":
    run(main, __doc__, PICTURE)
