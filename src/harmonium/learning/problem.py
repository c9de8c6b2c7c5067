"""What fitting maximises: the log-likelihood of data, and that of pseudo-observations."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.chunks import BATCH_SIZE, map_chunks
from harmonium.exponential_family.compiled import compiled, is_traced
from harmonium.exponential_family.partial import log_partial_measure
from harmonium.geometry.point import Mean, Natural, dot
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import GroupedObservations
from harmonium.learning.devices import Devices, average


class ConjugatePrior(eqx.Module):
    r"""A conjugate prior of natural parameters, as pseudo-observations.

    Mathematically, $p(\theta) \propto \exp(\kappa (\theta \cdot \eta_0 - \psi(\theta)))$: as much
    as $\kappa$ observations whose statistics, latents included, are $\eta_0$ on average.

    **Fields:**

    - `mean`: $\eta_0$, a mean point of the model.
    - `weight`: $\kappa$, a number of observations.

    **Source:** Diaconis and Ylvisaker, Conjugate Priors for Exponential Families (1979).
    """

    mean: Mean
    weight: Float[Array, ""] = eqx.field(converter=jnp.asarray)


def relative_prior(prior: ConjugatePrior | None, total: Any) -> ConjugatePrior | None:
    """A prior with its weight relative to that of the data."""
    if prior is None:
        return None
    weight = prior.weight if is_traced() else np.asarray(prior.weight)
    return ConjugatePrior(prior.mean, (weight / total).astype(weight.dtype))


class Problem(eqx.Module):
    r"""The objective $\frac{1}{N} (\sum_n \log p(x_n) + \kappa (\theta \cdot \eta_0 - \psi))$.

    **Fields:**

    - `model`: an exponential family, or a conjugated harmonium.
    - `xs`: a batch of N observations, or what `group_observations` makes of one; the average
        sufficient statistic where the model is a family without latents; `None` where observations
        are read batch by batch.
    - `weights`: of the observations, summing to one; `None` where they are read with these.
    - `base_measure`: the average of $\log h(x)$.
    - `prior`: the mean $\eta_0$ and the ratio $\kappa / N$ to the data's weight, or `None`.
    - `ceiling`: an objective that only singular densities reach.
    - `batch_size`: how many observations are processed at once, on each device.
    - `devices`: over which the observations are spread, or `None` if they are not.
    """

    model: Any
    xs: Any
    weights: Float[Array, " n"] | None
    base_measure: Float[Array, ""]
    prior: ConjugatePrior | None
    ceiling: Float[Array, ""]
    batch_size: int = eqx.field(static=True)
    devices: Devices | None = None

    def expectation(self, params: Natural) -> tuple[Mean, Float[Array, ""]]:
        r"""The E-step: average statistics, pseudo-observations counted, and the objective.

        The objective's gradient is proportional to these statistics less those of the model.
        """
        model: Any = self.model
        weights: Any = self.weights
        if self.xs is None:
            raise TypeError(
                "the data are read batch by batch, once a step, but this method evaluates the "
                "objective within a step, as optimisers with a line search do (optax.lbfgs). Use "
                "EM, NaturalGradient, or an optimiser without one (optax.adam)."
            )
        if isinstance(model, Conjugated):

            def expectation(xs: Any, own_weights: Array) -> Any:
                return model.expectation(params, xs, own_weights, self.batch_size)

            mean, value = average(self.devices, expectation, self.xs, weights)
        else:
            log_partition = model.log_partition_function(params)
            mean, value = self.xs, dot(params, self.xs) - log_partition
        return self.complete(params, mean, value)

    def complete(
        self, params: Natural, mean: Mean, value: Float[Array, ""]
    ) -> tuple[Mean, Float[Array, ""]]:
        """The result of the E-step, from what the model says of the data.

        **Arguments:**

        - `params`: natural.
        - `mean`: the average posterior statistics of the data.
        - `value`: the average log density that they come with, without base measures.
        """
        value = value + self.base_measure
        if self.prior is None:
            return mean, value
        ratio = self.prior.weight
        log_partition = self.model.log_partition_function(params)
        value = value + ratio * (dot(params, self.prior.mean) - log_partition)
        return (mean + self.prior.mean * ratio) / (1 + ratio), value

    def objective(self, params: Natural) -> Float[Array, ""]:
        """The value alone, in nats per observation."""
        return self.expectation(params)[1]

    def gradient(self, params: Natural, mean: Mean) -> Mean:
        """The objective's gradient, given the average statistics that `expectation` returns."""
        ratio = 0.0 if self.prior is None else self.prior.weight
        return (mean - self.model.to_mean(params)) * (1 + ratio)

    def log_prior(self, params: Natural) -> Float[Array, ""]:
        """The part of the objective that pseudo-observations add."""
        if self.prior is None:
            return jnp.zeros_like(self.base_measure)
        log_partition = self.model.log_partition_function(params)
        return self.prior.weight * (dot(params, self.prior.mean) - log_partition)


@compiled
def make_problem(
    model: Differentiable,
    xs: Any,
    weights: Float[Array, " n"],
    prior: ConjugatePrior | None = None,
    ceiling: float = jnp.inf,
    batch_size: int = BATCH_SIZE,
    devices: Devices | None = None,
) -> Problem:
    """The problem of fitting a model to data.

    **Arguments:**

    - `model`, `xs`, `weights`: as the fields of `Problem`, but always observations.
    - `prior`: with its weight relative to that of the data.
    - `ceiling`: an average log density that only singular densities reach.
    - `batch_size`: how many observations are processed at once at most, on each device.
    - `devices`: over which the observations are spread, or `None` if they are not.
    """
    family: Any = model.data_man

    def average_measure(xs: Any, weights: Array) -> Array:
        if isinstance(xs, GroupedObservations):
            over_rows = jax.vmap(lambda x, mask: log_partial_measure(family, x, mask), (0, None))
            measures = xs.gather(jax.vmap(over_rows)(xs.xs, xs.observed))
        else:
            measures = map_chunks(jax.vmap(family.log_base_measure), xs, batch_size)
        return weights @ measures.astype(weights.dtype) / jnp.sum(weights)

    base_measure = average(devices, average_measure, xs, weights)
    if not isinstance(model, Conjugated):
        xs = average(devices, family.average_sufficient_statistic, xs, weights)
    highest = jnp.asarray(ceiling, base_measure.dtype)
    return Problem(model, xs, weights, base_measure, prior, highest, batch_size, devices)
