"""What models say about latents: where observations lie, what loads on what, and categories."""

from typing import Any

import equinox as eqx
import jax
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from harmonium.exponential_family.compiled import compiled
from harmonium.exponential_family.outline import subscript
from harmonium.geometry.point import Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.marginals import channel
from harmonium.plot.canvas import (
    DARK,
    SEQUENTIAL,
    SIGNED,
    check_dims,
    check_labels,
    color_of,
    get_axes,
    marker_of,
)
from harmonium.plot.density import density
from harmonium.plot.ellipses import ellipses

BINS = 30


def latents(
    model: Conjugated,
    params: Natural,
    xs: Any,
    ax: Axes | None = None,
    *,
    labels: Any = None,
    dims: Any = (0, 1),
) -> Axes:
    """Expected latents of observations, and the prior, which they come from.

    Two dimensions of them as points over the ellipses of the prior, one and two standard
    deviations from its mean or those of its components; a single one as a histogram.

    **Arguments:**

    - `model`: a linear Gaussian model, or a hierarchy with one at the bottom.
    - `params`: natural.
    - `xs`: a batch of N observations.
    - `ax`: the axes to draw into, those of a new figure by default.
    - `labels`: N labels, by which to colour the observations.
    - `dims`: which two dimensions of the latents.

    **Returns:** the axes.

    **Raises:** `TypeError` for models whose observables depend on other latents than one real
    vector, `ValueError` for bad `dims` and labels.
    """
    model.check_single(params)
    expected = _expected_latents(model, params, xs)
    labels = check_labels(labels, len(expected))
    prior, prior_params = model.prr_man, model.prior(params)
    groups = _groups(labels, len(expected))
    if expected.shape[1] == 1:
        ax = get_axes(ax)
        bins = np.histogram_bin_edges(expected, BINS).tolist()
        for i, (name, rows) in enumerate(groups):
            style = {"color": color_of(i), "label": name, "histtype": "stepfilled", "alpha": 0.5}
            share = np.full(len(rows), 1 / (len(expected) * (bins[1] - bins[0])))
            ax.hist(expected[rows, 0], bins, weights=share, **style)
        density(prior, prior_params, ax, color=DARK, label="prior")
        ax.set(xlabel="E[z | x]", ylabel="density")
        ax.legend(frameon=False)
        return ax
    places = check_dims(dims, expected.shape[1], f"the latent of {model}")
    ax = get_axes(ax)
    for i, (name, rows) in enumerate(groups):
        style = {"color": color_of(i), "marker": marker_of(i), "label": name}
        ax.scatter(*expected[rows][:, list(places)].T, s=14, alpha=0.75, linewidths=0, **style)
    ellipses(prior, prior_params, ax, dims=dims, color=DARK)
    names = (f"E[z{subscript(place + 1)} | x]" for place in places)
    ax.set(**dict(zip(("xlabel", "ylabel"), names, strict=True)))
    if labels is not None:
        ax.legend(frameon=False, loc="center left", bbox_to_anchor=(1, 0.5))
    return ax


def loadings(
    model: Conjugated, params: Natural, ax: Axes | None = None, *, names: Any = None
) -> Axes:
    r"""The loadings $W$ of $x = W z + b + \epsilon$ as a map of colours, white where they are zero.

    **Arguments:**

    - `model`: a linear Gaussian model, a hierarchy with one at the bottom, or several of them in
        parallel or beside each other, which share one picture.
    - `params`: natural.
    - `ax`: the axes to draw into, those of a new figure by default.
    - `names`: of the observed numbers.

    **Returns:** the axes.

    **Raises:** `TypeError` for models with other likelihoods, `ValueError` for another number of
    names.
    """
    model.check_single(params)
    weights = np.asarray(_channel_loadings(model, params))
    n_obs, n_lat = weights.shape
    names = None if names is None else [str(name) for name in names]
    if names is not None and len(names) != n_obs:
        raise ValueError(f"expected one name for each of {n_obs} numbers, got {len(names)}.")
    margin = 0.09 * max(map(len, names or ()), default=6)
    ax = get_axes(ax, (margin + 1.5 + 0.45 * n_lat, max(1.0 + min(0.24 * n_obs, 8), 2.8)))
    extreme = np.max(np.abs(weights))
    image = ax.imshow(weights, cmap=SIGNED, vmin=-extreme, vmax=extreme, aspect="auto")
    ax.set_xticks(range(n_lat), [f"z{subscript(i + 1)}" for i in range(n_lat)])
    if names is not None:
        ax.set_yticks(range(n_obs), names)
    else:
        ax.set_ylabel("observed number")
    ax.figure.colorbar(image, ax=ax, label="loading (x per unit of z)")
    return ax


def responsibilities(
    model: Conjugated, params: Natural, xs: Any, ax: Axes | None = None, *, labels: Any = None
) -> Axes:
    """The posterior probabilities of the category at the top, one column an observation.

    Observations are sorted by their likeliest category and by how likely it is, within each label
    if there are any.

    **Arguments:**

    - `model`: a conjugated harmonium with a categorical at its top.
    - `params`: natural.
    - `xs`: a batch of N observations.
    - `ax`: the axes to draw into, those of a new figure by default.
    - `labels`: N labels, by which to sort the observations first.

    **Returns:** the axes.

    **Raises:** `TypeError` if there is no categorical at the top, `ValueError` for another number
    of labels.
    """
    model.check_single(params)
    probabilities = np.asarray(_probabilities(model, params, model.data_man.check_data(xs)))
    n, n_categories = probabilities.shape
    labels = check_labels(labels, n)
    likeliest = probabilities.argmax(axis=1)
    keys = [-probabilities.max(axis=1), likeliest]
    order = np.lexsort(keys if labels is None else [*keys, labels])
    ax = get_axes(ax, (6.5, 1.6 + 0.28 * n_categories))
    style = {"cmap": SEQUENTIAL, "vmin": 0, "vmax": 1, "aspect": "auto", "interpolation": "nearest"}
    image = ax.imshow(probabilities[order].T, **style)
    ax.set_yticks(range(n_categories))
    ax.set(xlabel="observations, sorted", ylabel="category k")
    if labels is not None:
        names, counts = np.unique(labels, return_counts=True)
        ends = np.cumsum(counts)
        for end in ends[:-1]:
            ax.axvline(end - 0.5, color=DARK, lw=0.7)
        ax.set_xticks(ends - counts / 2 - 0.5, [str(name) for name in names])
        ax.tick_params(axis="x", length=0)
        ax.set_xlabel("label of the observations")
    ax.figure.colorbar(image, ax=ax, label="p(k | x)")
    return ax


def _groups(labels: Any, length: int) -> list[tuple[str | None, np.ndarray]]:
    """The name and the places of the observations of each label."""
    if labels is None:
        return [(None, np.arange(length))]
    return [(str(name), np.flatnonzero(labels == name)) for name in np.unique(labels)]


def _expected_latents(model: Any, params: Natural, xs: Any) -> np.ndarray:
    eqx.filter_eval_shape(_channel_loadings, model, params)  # raises where they are no real vectors
    expected = model.expected_latents(params, xs)
    if isinstance(expected, tuple):
        raise TypeError(
            f"latents draws one vector of latents, but the observables of {model} depend on "
            f"{len(expected)} of them. Draw the latents of a part of it."
        )
    return np.asarray(expected)


@compiled
def _channel_loadings(model: Any, params: Natural) -> Float[Array, "obs lat"]:
    return channel(model, model.likelihood_function(params)).loadings


@compiled
def _probabilities(model: Any, params: Natural, xs: Any) -> Float[Array, "n k"]:
    return jax.vmap(lambda x: model.posterior_probabilities(params, x))(xs)
