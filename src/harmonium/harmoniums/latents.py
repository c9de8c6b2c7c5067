"""What is known of latents: expected vectors, and the category at the top of a hierarchy."""

import functools
from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from harmonium.exponential_family.evidence import value_and_mean
from harmonium.families.categorical import Categorical
from harmonium.geometry.point import Mean, Natural, Point
from harmonium.geometry.product import ProductPoint
from harmonium.harmoniums.batch_inference import evidence_of
from harmonium.harmoniums.harmonium import Harmonium, HarmoniumPoint


@functools.singledispatch
def top_marginal(family: Any, point: Natural) -> Natural | None:
    """The distribution of the categorical at the top of a hierarchy, of which this is one.

    `None` without a categorical.
    """
    return None


@top_marginal.register
def _(family: Categorical, point: Natural) -> Natural:
    family.check_single(point)
    return point


@top_marginal.register
def _(family: Harmonium, point: Natural) -> Natural | None:
    family.check_single(point)
    prior, _ = family.condition(point, None, None)
    return top_marginal(prior.manifold, prior)


def find_top(family: Any, point: Natural) -> Natural:
    """The distribution of the categorical at the top.

    **Raises:** `TypeError` if there is none.
    """
    top = top_marginal(family, point)
    if top is None:
        raise TypeError(
            f"{family} has no categorical latent variable at its top, so it has no probabilities "
            "of components, and no components. Put a hm.Mixture on top of the hierarchy."
        )
    return top


def top_probabilities(family: Any, point: Natural) -> Float[Array, " k"]:
    """The probabilities of the categorical at the top of a hierarchy, of which this is one.

    **Raises:** `TypeError` if there is no categorical at the top.
    """
    top = find_top(family, point)
    categorical: Any = top.manifold
    return categorical.probabilities(top)


@functools.singledispatch
def posterior_top(model: Any, point: Natural, x: Any, observed: Any) -> Float[Array, " k"]:
    """The probabilities of the categorical at the top of a model, given one datum."""
    posterior = model.posterior_at(point, x, observed)
    return top_probabilities(posterior.manifold, posterior)


def expected_vectors(model: Any, point: Natural, x: Any, observed: Any) -> Any:
    """The expected lowest latents of one datum: vectors, or indicators of categories.

    Mathematically, the gradient of the evidence by the natural parameters of these latents.
    """
    latent, rebuild = _lowest_latent(point)
    _, mean = value_and_mean(lambda z: evidence_of(model, rebuild(z), x, observed), latent)
    return _first_order(mean)


def _lowest_latent(point: Point) -> tuple[Point, Callable[[Point], Point]]:
    """The latent part next to the data, and the point with another one in its place."""
    model: Any = point.manifold
    if not isinstance(point.observable, HarmoniumPoint):
        return point.latent, lambda new: model.point(point.observable, point.interaction, new)
    latent, rebuild = _lowest_latent(point.observable)
    return latent, lambda new: model.point(rebuild(new), point.interaction, point.latent)


def _first_order(mean: Mean) -> Any:
    """The expected vectors, or indicators, of what is lowest in a mean point of latents."""
    match mean:
        case HarmoniumPoint():
            return _first_order(mean.observable)
        case ProductPoint():
            return tuple(map(_first_order, mean.components))
    return jax.tree.leaves(mean)[0]
