"""Exact marginals of harmoniums as distributions, conditionals on a category, and divergences.

Functions of a model and a point. What models differ in is registered by each for its class.
"""

import functools
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import require
from harmonium.exponential_family.product import Product
from harmonium.families.normal import Normal
from harmonium.geometry.point import Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.latents import find_top, top_marginal


class Channel(eqx.Module):
    """A linear Gaussian likelihood: `x = loadings y + offset + noise` for joined vectors.

    **Fields:** `loadings`, (n, m); `offset`, (n,); `noise`, (n, n), the covariance of the noise.
    """

    loadings: Float[Array, "n m"]
    offset: Float[Array, " n"]
    noise: Float[Array, "n n"]


class Estimate(NamedTuple):
    """A Monte Carlo estimate, and the standard deviation of its error."""

    estimate: Float[Array, ""]
    standard_error: Float[Array, ""]


# --- one normal vector


@functools.singledispatch
def channel(model: Any, likelihood: Natural) -> Channel:
    """The likelihood of linear Gaussian models and what is made of them in standard parameters.

    **Raises:** `TypeError` if it is not linear Gaussian.
    """
    raise TypeError(
        f"the likelihood of {model} is not linear in real latents with normal noise, so the "
        "marginal over the observables is in no family at hand. log_observable_density and "
        "observable_sample are exact nevertheless."
    )


@functools.singledispatch
def joined_moments(family: Any, point: Natural) -> tuple[Float[Array, " n"], Float[Array, "n n"]]:
    """Mean and covariance of all the real vectors observed, joined in one, which is normal.

    **Raises:** `TypeError` if it is not normal.
    """
    raise TypeError(
        f"{family} is neither a normal nor made of normals, so it cannot be joined with others "
        "into one normal vector."
    )


@joined_moments.register
def _(family: Normal, point: Natural) -> tuple[Array, Array]:
    mean, covariance = family.mean_and_covariance(point)
    return mean, family.covariance_structure.dense(covariance, family.data_dim)


@joined_moments.register
def _(family: Product, point: Natural) -> tuple[Array, Array]:
    means, covariances = zip(*family.map_parts(joined_moments, point), strict=True)
    return jnp.concatenate(means), jax.scipy.linalg.block_diag(*covariances)


@joined_moments.register
def _(family: Conjugated, point: Natural) -> tuple[Array, Array]:
    r"""Those of the observables: $W \mu + b$ and $W C W^T + \Sigma$."""
    own = channel(family, family.likelihood_function(point))
    mean, covariance = joined_moments(family.prr_man, family.prior(point))
    spread = own.loadings @ covariance @ own.loadings.T
    return own.loadings @ mean + own.offset, spread + own.noise


# --- conditionals and marginals


@functools.singledispatch
def select_component(model: Any, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
    """`condition_on` without checks."""
    raise TypeError(f"{model} has no categorical latent variable at its top.")


def condition_on(
    model: Differentiable, point: Natural, component: Any
) -> tuple[Differentiable, Natural]:
    r"""A model given the category at its top: $p(x, y | k)$ of $p(x, y, k)$.

    For a mixture this is a component, for mixtures in parallel the product of their components,
    and for a hierarchy with one on top the levels below it, the component being the prior of
    the highest of them. With the weights of the categories, the observable densities of all of
    these add up to that of the model.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `point`: natural, of the model.
    - `component`: $k$, an integer from 0.

    **Returns:** the family or harmonium of what is left, and its natural point.

    **Raises:** `TypeError` if there is no categorical at the top or `component` is no integer,
    and an error if it is out of range.
    """
    model.check_single(point)
    family: Any = find_top(model, point).manifold
    component = family.check_form(component, batch=False)
    component = require(
        component,
        family.in_support(component),
        f"{model} has components 0 to {family.n_categories - 1}, there is no other.",
    )
    return select_component(model, point, component)


@functools.singledispatch
def observable_distribution(model: Any, point: Natural) -> tuple[Differentiable, Natural]:
    r"""The exact marginal $p(x)$ over the observables, as a distribution of its own.

    - Without a categorical at the top, for linear Gaussian models and whatever is built of
      them: a `hm.Normal` with full covariance. Its `log_density` is that of `x`.
    - With one, a `hm.Mixture` of the distributions of `x` given each category: normals for
      mixtures over linear Gaussian levels, a `hm.Product` of the parts for mixtures in
      parallel. Its `log_observable_density` is that of `x`. A mixture of families is its own
      answer.

    Where `x` is a tuple of vectors and (given the category) normal over linear Gaussian levels,
    the normal is that of one vector, in which they are joined in their order.

    Mathematically, $p(x) = \sum_k p(k) p(x|k)$ with the model given each category of the top, or
    $p(x)$ itself if there is no category, in which latents are integrated out level by level.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `point`: natural, of the model.

    **Returns:** the family, and its natural point.

    **Raises:** `TypeError` if the marginal is in no such family. `log_observable_density` and
    `observable_sample` are exact nevertheless.
    """
    raise TypeError(f"expected a conjugated harmonium, got {model!r}.")


def observable_relative_entropy(
    model: Conjugated, first: Natural, second: Natural, other: Any = None
) -> Float[Array, ""]:
    r"""The Kullback-Leibler divergence $D(p_1(x) \| p_2(x))$ of the observables, in nats.

    Mathematically, $\int p_1(x) \log (p_1(x) / p_2(x))\, dx$, in closed form, where the
    marginals are normal. It is at most `relative_entropy`, the divergence of the joints.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `first`: natural, on this model.
    - `second`: natural, on the other one.
    - `other`: a conjugated harmonium of the same observables, by default this one.

    **Raises:** `TypeError` if a marginal is not normal (use
    `estimate_observable_relative_entropy`), or if they are of different dimensions.
    """
    other = _check_pair(model, first, second, other)
    family, point = _normal_marginal(model, first)
    other_family, other_point = _normal_marginal(other, second)
    if family != other_family:
        raise TypeError(
            f"expected two models of the same observables, but their marginals are in {family} "
            f"and {other_family}."
        )
    return family.relative_entropy(point, other_point)


def _check_pair(model: Conjugated, first: Natural, second: Natural, other: Any) -> Conjugated:
    """The model of the second point."""
    other = model if other is None else other
    if not isinstance(other, Conjugated):
        raise TypeError(
            f"expected another conjugated harmonium of the same observables, got {other!r}. "
            "A family is one as hm.Mixture(family, 1)."
        )
    model.check_single(first)
    other.check_single(second)
    return other


def _normal_marginal(model: Conjugated, point: Natural) -> tuple[Differentiable, Natural]:
    family, marginal = observable_distribution(model, point)
    if top_marginal(family, marginal) is not None:
        raise TypeError(
            f"the divergence between marginals of {model} has no closed form, as they are "
            "mixtures. Use estimate_observable_relative_entropy."
        )
    return family, marginal


def estimate_observable_relative_entropy(
    key: PRNGKeyArray,
    model: Conjugated,
    first: Natural,
    second: Natural,
    n_samples: int,
    other: Any = None,
) -> Estimate:
    r"""A Monte Carlo estimate of $D(p_1(x) \| p_2(x))$, unbiased, for all models.

    Mathematically, the average of $\log p_1(x) - \log p_2(x)$, of which both are exact, over
    samples of $p_1$. Its gradients are unbiased estimates, too: samples are held fixed, and
    their weights follow the first point.

    **Arguments:**

    - `key`: a JAX random key.
    - `model`: a conjugated harmonium.
    - `first`: natural, on this model.
    - `second`: natural, on the other one.
    - `n_samples`: the number of samples, at least two.
    - `other`: a conjugated harmonium of the same observables, by default this one.

    **Returns:** an `Estimate`, in nats. Where $p_2$ excludes a sample, both numbers are
    infinite.

    **Raises:** `TypeError` if observations of the two models have different forms, `ValueError`
    for less than two samples.
    """
    other = _check_pair(model, first, second, other)
    if other.data_man.observation != model.data_man.observation:
        raise TypeError(
            f"expected two models of the same observables, but one is of {model.data_man} and "
            f"one of {other.data_man}."
        )
    if n_samples < 2:
        raise ValueError(f"a standard error needs at least two samples, got {n_samples}.")
    xs = jax.lax.stop_gradient(model.observable_sample(key, first, (n_samples,)))
    densities = model.log_observable_densities(first, xs)
    ratios = densities - other.log_observable_densities(second, xs)
    weights = jnp.exp(densities - jax.lax.stop_gradient(densities))  # ones, whose gradient acts
    estimate = jnp.mean(weights * ratios)
    error = jnp.std(ratios, ddof=1) / n_samples**0.5
    return Estimate(estimate, jnp.where(jnp.isfinite(estimate), error, jnp.inf))
