"""Conjugate priors: pseudo-observations from a model without structure."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.product import Product, Replicated, ReplicatedPoint
from harmonium.families.categorical import Categorical
from harmonium.families.normal import Normal
from harmonium.geometry.point import Coordinates, Natural, stack_points
from harmonium.geometry.product import ProductPoint
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.mixture_of import MixtureOf
from harmonium.learning.problem import ConjugatePrior

# The weight of the default prior of mixtures, in observations for each component.
WEIGHT_A_COMPONENT = 0.1


def default_prior(
    model: Differentiable, xs: Any, weights: Float[Array, " n"]
) -> ConjugatePrior | None:
    """A tenth of an observation for each component of a mixture; none for other models.

    The pseudo-observations are uncorrelated, with the mean and the variances of the data, and
    belong to all components alike. A component on one point then keeps a variance of a tenth of the
    data's, so that the likelihood has no singularities.

    **Arguments:**

    - `xs`: the data; reals are standardised.
    - `weights`: (N,), summing to one.
    """
    n_components = count_components(model)
    if n_components < 2:
        return None
    return pseudo_observations(model, xs, WEIGHT_A_COMPONENT * n_components)


def pseudo_observations(model: Differentiable, xs: Any, weight: Any) -> ConjugatePrior:
    """Pseudo-observations from a model without structure for standardised data."""
    family: Any = model.obs_man if isinstance(model, Conjugated) else model
    point = _plain(family, xs)
    if isinstance(model, Conjugated):
        point = _unstructured(model, point)
    return ConjugatePrior(model.to_mean(point), weight)


def count_components(model: Any) -> int:
    """The number of components of a mixture, of its latents or of its parts; one for others."""
    if isinstance(model, Mixture | MixtureOf):
        return model.n_components
    if isinstance(model, Categorical):
        return model.n_categories
    if isinstance(model, Product):
        return max(map(count_components, model.parts), default=1)
    return count_components(model.prr_man) if isinstance(model, Conjugated) else 1


def _plain(family: Any, xs: Any) -> Natural:
    """Independent standard normals, and other variables as they are on average."""
    match family:
        case Product():
            pairs = zip(family.parts, xs, strict=True)
            return _join(family, [_plain(part, own) for part, own in pairs])
        case Normal() | Conjugated():
            return _neutral(family)
    return family.initialize_from_sample(jax.random.key(0), xs)


def _neutral(family: Any) -> Natural:
    """A standard normal, a uniform category, and models made of these without interactions."""
    match family:
        case Conjugated():
            return _unstructured(family, _neutral(family.obs_man))
        case Normal():
            # 2n vectors with zero mean and unit covariance, whatever part of that is kept.
            half = jnp.sqrt(float(family.data_dim)) * jnp.eye(family.data_dim)
            xs = jnp.concatenate([half, -half])
            return family.to_natural(family.average_sufficient_statistic(xs))
        case Product():
            return _join(family, [_neutral(part) for part in family.parts])
        case Replicated():
            replicas = stack_points([_neutral(family.family)] * family.n_replicas)
            return ReplicatedPoint(replicas, family, Coordinates.NATURAL)
    return family.zeros(Coordinates.NATURAL)


def _join(family: Product, components: list[Natural]) -> Natural:
    return ProductPoint(tuple(components), family, Coordinates.NATURAL)


def _unstructured(model: Any, observable: Natural) -> Natural:
    """The model with this distribution of observables, on which its latents have no effect."""
    interaction = model.int_man.zeros(Coordinates.NATURAL)
    return model.join_conjugated(
        model.make_likelihood(observable, interaction), _neutral(model.prr_man)
    )
