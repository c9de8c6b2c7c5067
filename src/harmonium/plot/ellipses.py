"""Covariance ellipses of normals and of mixtures of them."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes
from matplotlib.patches import Ellipse

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.compiled import compiled
from harmonium.exponential_family.outline import subscript
from harmonium.geometry.point import Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.latents import top_marginal
from harmonium.harmoniums.marginals import joined_moments, observable_distribution
from harmonium.plot.canvas import check_dims, color_of, get_axes


def ellipses(
    model: Differentiable,
    params: Natural,
    ax: Axes | None = None,
    *,
    dims: Any = (0, 1),
    n_std: Any = (1.0, 2.0),
    color: Any = None,
    label: str | None = None,
) -> Axes:
    r"""Covariance ellipses of what is observed: one for a normal, one a component for mixtures.

    Mathematically, the lines of Mahalanobis distance $r$ from the mean, for each $r$ in `n_std`, of
    the marginal of two dimensions.

    **Arguments:**

    - `model`: a `hm.Normal`, or any conjugated harmonium whose observables have a normal
        distribution or a mixture of normal ones.
    - `params`: natural.
    - `ax`: the axes to draw into, those of a new figure by default.
    - `dims`: which two dimensions.
    - `n_std`: the distances, in standard deviations.
    - `color`: of all ellipses, by default one for each component. They are the fainter the smaller
        the weight is.
    - `label`: what a legend calls them.

    **Returns:** the axes.

    **Raises:** `TypeError` for models whose observables are neither, `ValueError` for bad `dims`
    and `n_std`.
    """
    model.check_single(params)
    if not len(n_std) or not all(radius > 0 for radius in n_std):
        raise ValueError(f"n_std are positive distances in standard deviations, got {n_std}.")
    means, covariances, weights = _normals(model, params)
    places = list(check_dims(dims, means.shape[1], f"an observation of {model}"))
    ax = get_axes(ax)
    strengths = np.maximum(weights / np.max(weights), 0.3)
    for k, (mean, covariance) in enumerate(zip(means, covariances, strict=True)):
        style = {"color": color_of(k) if color is None else color, "alpha": strengths[k]}
        centre, matrix = mean[places], covariance[np.ix_(places, places)]
        for radius in n_std:
            ax.add_patch(_ellipse(centre, matrix, float(radius), **style))
        ax.plot(*centre, "+", **style, label=label if k == 0 else None)
    ax.set(xlabel=f"x{subscript(places[0] + 1)}", ylabel=f"x{subscript(places[1] + 1)}")
    ax.autoscale_view()
    return ax


def _ellipse(centre: np.ndarray, covariance: np.ndarray, radius: float, **style: Any) -> Ellipse:
    variances, directions = np.linalg.eigh(covariance)
    width, height = 2 * radius * np.sqrt(variances[::-1])
    angle = math.degrees(math.atan2(directions[1, 1], directions[0, 1]))
    return Ellipse(tuple(centre), width, height, angle=angle, fill=False, lw=1.6, **style)


def _normals(model: Any, params: Natural) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Means, covariances and weights of the normals of which the marginal consists."""
    means, covariances, weights = _components(model, params)
    return np.asarray(means), np.asarray(covariances), np.asarray(weights)


@compiled
def _components(
    model: Any, params: Natural
) -> tuple[Float[Array, "k n"], Float[Array, "k n n"], Float[Array, " k"]]:
    if isinstance(model, Conjugated):
        model, params = observable_distribution(model, params)
    top = top_marginal(model, params)
    if top is None:
        mean, covariance = joined_moments(model, params)
        return mean[None], covariance[None], jnp.ones(1, mean.dtype)
    mixture: Any = model
    components = mixture.components(params)
    moments = jax.vmap(lambda own: joined_moments(mixture.obs_man, own))(components)
    return *moments, mixture.weights(params)
