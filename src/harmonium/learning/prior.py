"""Conjugate priors: pseudo-observations from a model without structure."""

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import check_weights
from harmonium.exponential_family.form import float_dtype
from harmonium.exponential_family.product import Product, Replicated, ReplicatedPoint
from harmonium.families.categorical import Categorical
from harmonium.families.normal import Normal
from harmonium.geometry.point import Coordinates, Mean, Natural, stack_points
from harmonium.geometry.product import ProductPoint
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.labelled import Labelled
from harmonium.harmoniums.mixture import Mixture
from harmonium.learning.problem import ConjugatePrior

# The weight of the default prior of mixtures, in observations for each component.
WEIGHT_A_COMPONENT = 0.1
# How much of the covariance of pseudo-observations is that of independent columns, which keeps it
# from being singular.
INDEPENDENT = 1e-3
# How much of pseudo-observations of other families is typical, which keeps them in the mean domain.
TYPICAL = 0.1


def default_prior(
    model: Differentiable, xs: Any, weights: Float[Array, " n"] | None
) -> ConjugatePrior | None:
    """A tenth of an observation for each component of a mixture; none for other models.

    The pseudo-observations have the mean and the covariance of the data, and belong to all
    components alike. A component on one point then keeps a covariance of about a tenth of the
    data's, so that the likelihood has no singularities.

    **Source:** Fraley and Raftery, Bayesian Regularization for Normal Mixture Estimation and
    Model-Based Clustering (2007), for the use of the data's covariance.

    **Arguments:**

    - `xs`: the data; reals are standardised.
    - `weights`: (N,), summing to one; equal ones for `None`.
    """
    n_components = count_components(model)
    if n_components < 2:
        return None
    return pseudo_observations(model, xs, WEIGHT_A_COMPONENT * n_components, weights)


def pseudo_observations(
    model: Differentiable, xs: Any, weight: Any, weights: Any = None
) -> ConjugatePrior:
    """Pseudo-observations like the data, whose latents tell nothing about them.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family without latents.
    - `xs`: a batch of N observations.
    - `weight`: as how many observations they count.
    - `weights`: (N,), of the observations; equal ones by default.
    """
    return ConjugatePrior(average_of(model, xs, weights), weight)


def count_components(model: Any) -> int:
    """The number of components of a mixture, of its latents or of its parts; one for others."""
    if isinstance(model, Mixture):
        return model.n_components
    if isinstance(model, Categorical):
        return model.n_categories
    if isinstance(model, Product):
        return max(map(count_components, model.parts), default=1)
    return count_components(model.prr_man) if isinstance(model, Conjugated) else 1


def average_of(family: Any, xs: Any, weights: Any) -> Mean:
    """The statistics of the data, as far as the family can tell, inside the mean domain."""
    match family:
        case Product():
            parts = family.map_parts(partial(average_of, weights=weights), xs)
            return ProductPoint(parts, family, Coordinates.MEAN)
        case Replicated():
            replicas = jax.vmap(lambda own: average_of(family.family, own, weights), 1)(xs)
            return ReplicatedPoint(replicas, family, Coordinates.MEAN)
        case Labelled():
            return family.wrap(average_of(family.hrm_man, xs[0], weights))
        case Mixture():
            own, k = average_of(family.obs_man, xs, weights), family.n_components
            sums = jax.tree.map(lambda leaf: jnp.stack([leaf / k] * k), own)
            return family.from_component_sums(sums, jnp.full(k, 1 / k, float_dtype(own)))
        case Conjugated():
            observable = family.obs_man.to_natural(average_of(family.obs_man, xs, weights))
            return family.to_mean(_unstructured(family, observable))
    average = family.average_sufficient_statistic(xs, weights)
    if isinstance(family, Normal):
        shares = check_weights(weights, len(xs), xs.dtype)
        variances = shares @ (xs - average.location[None]) ** 2
        independent = _independent_columns(family, average.location, variances)
        return average * (1 - INDEPENDENT) + independent * INDEPENDENT
    near = family.to_mean(family.start_near(jax.random.key(0), average))
    return average * (1 - TYPICAL) + near * TYPICAL


def _independent_columns(family: Normal, mean: Array, variances: Array) -> Mean:
    """The statistics of independent columns; constant ones get a typical variance, or one."""
    typical = jnp.mean(variances)
    typical = jnp.where(typical > 0, typical, jnp.ones_like(typical))
    variances = jnp.where(variances > 0, variances, typical)
    # 2n vectors with this mean and these variances, whatever part of them is kept.
    steps = jnp.diag(jnp.sqrt(family.data_dim * variances))
    return family.average_sufficient_statistic(
        jnp.concatenate([mean[None] + steps, mean[None] - steps])
    )


def _neutral(family: Any) -> Natural:
    """A standard normal, a uniform category, and models made of these without interactions."""
    match family:
        case Conjugated():
            return _unstructured(family, _neutral(family.obs_man))
        case Normal():
            zeros, ones = jnp.zeros(family.data_dim), jnp.ones(family.data_dim)
            return family.to_natural(_independent_columns(family, zeros, ones))
        case Product():
            return family.map_to_natural(_neutral)
        case Replicated():
            replicas = stack_points([_neutral(family.family)] * family.n_replicas)
            return ReplicatedPoint(replicas, family, Coordinates.NATURAL)
    return family.zeros(Coordinates.NATURAL)


def _unstructured(model: Any, observable: Natural) -> Natural:
    """The model with this distribution of observables, on which its latents have no effect."""
    dtype = float_dtype(observable)
    parts = model.int_man.zeros(Coordinates.NATURAL), _neutral(model.prr_man)
    interaction, latent = jax.tree.map(lambda leaf: leaf.astype(dtype), parts)
    return model.join_conjugated(model.make_likelihood(observable, interaction), latent)
