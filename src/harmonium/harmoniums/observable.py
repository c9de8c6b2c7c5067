"""The marginal over observables, by conditioning on the category at the top, if there is one."""

from typing import Any

import jax
import jax.numpy as jnp

from harmonium.exponential_family.base import Differentiable
from harmonium.families.normal import Normal
from harmonium.geometry.linear_map import LinearMapPoint
from harmonium.geometry.point import Coordinates, Natural
from harmonium.harmoniums.marginals import ExactMarginals
from harmonium.harmoniums.mixture import Mixture


def marginal_distribution(model: Any, point: Natural) -> tuple[Differentiable, Natural]:
    """`observable_distribution` of all models but mixtures, which are their own.

    Mathematically, `p(x) = sum_k p(k) p(x|k)` with the model given each category of the top, or
    `p(x)` itself if there is no category, in which latents are integrated out level by level.
    """
    model.check_single(point)
    top = model.top_marginal(point)
    if top is None:
        marginal = _normal(model, point)
        return _family(marginal), marginal
    components = jax.vmap(lambda k: _component(model, point, k))(
        jnp.arange(_family(top).n_categories)
    )
    mixture = Mixture(_family(components), len(components))
    return mixture, _mix(mixture, components, top)


def _component(model: ExactMarginals, point: Natural, component: Any) -> Natural:
    """The distribution of the observables given one category."""
    conditioned, own = model.select_component(point, component)
    if conditioned == model.obs_man:  # no latents are left
        return own
    if conditioned.top_marginal(own) is not None:
        raise TypeError(
            f"given the category at the top of {model}, the observables have a mixture again, so "
            "their marginal is in no family at hand. log_observable_density and observable_sample "
            "are exact nevertheless."
        )
    return _normal(conditioned, own)


def _normal(model: Differentiable, point: Natural) -> Natural:
    mean, covariance = model.joined_moments(point)
    return Normal(len(mean)).from_moments(mean, covariance)


def _family(point: Natural) -> Any:
    return point.manifold


def _mix(mixture: Mixture, components: Natural, prior: Natural) -> Natural:
    """The mixture of a batch of components, from the natural parameters of its weights."""
    first = components[0]
    differences = jax.vmap(lambda component: component - first)(components[1:])
    interaction = LinearMapPoint((differences,), mixture.int_man, Coordinates.NATURAL)
    return mixture.join_conjugated(mixture.make_likelihood(first, interaction), prior)
