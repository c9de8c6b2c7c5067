"""The multinomial distribution."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support
from harmonium.exponential_family.partial import expected_observation
from harmonium.families.categorical import LogOdds, indicator_covariance
from harmonium.geometry.point import Coordinates, Mean, Natural


class Multinomial(LogOdds):
    r"""Counts of categories in a known number of trials: `scipy.stats.multinomial(n_trials, p)`.

    $p(x) = \binom{n}{x_0 \dots x_{K-1}} \exp(\sum_{k \geq 1} \theta_k x_k - \psi(\theta))$. As for
    [`harmonium.Categorical`][], category 0 is the reference: the statistic is
    $s(x) = (x_1, \dots, x_{K-1})$, hence $\theta_k = \log(p_k / p_0)$,
    $\psi(\theta) = n \log(1 + \sum_k \exp \theta_k)$ and $\eta_k = n p_k$; the mean domain is
    $\eta_k > 0$, $\sum_k \eta_k < n$. With two categories it is a binomial.

    Observations are vectors (n_categories,) of integers that are not negative and sum to
    `n_trials`.

    **Fields:** `n_trials`, $n$, and `n_categories`, $K$.
    """

    n_trials: int = eqx.field(static=True)
    n_categories: int = eqx.field(static=True)

    def __check_init__(self):
        if self.n_trials < 1:
            raise ValueError(f"expected at least one trial, got n_trials={self.n_trials}.")

    @property
    def observation(self) -> Any:
        """A vector of integers."""
        return jax.ShapeDtypeStruct((self.n_categories,), int)

    @property
    def typical_observation(self) -> Any:
        """The reference in all trials."""
        return jnp.zeros(self.n_categories, int).at[0].set(self.n_trials)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(x >= 0) & (jnp.sum(x.astype(int)) == self.n_trials)

    def statistic(self, x: Any) -> Float[Array, " {self.dim}"]:
        return x[1:].astype(float)

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return gammaln(self.n_trials + 1.0) - jnp.sum(gammaln(x.astype(float) + 1))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.n_trials * jax.nn.logsumexp(self._log_odds(point))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(self.mean(point)[1:], Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        reference = self.n_trials - jnp.sum(point.values)
        return self.unravel(jnp.log(point.values) - jnp.log(reference))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jnp.all(point.values > 0) & (jnp.sum(point.values) < self.n_trials)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, " {self.n_categories}"]:
        # Binomial counts, one category after the other, of the trials that are left.
        draw = jax.random.multinomial(key, float(self.n_trials), self.probabilities(point))
        return draw.astype(int)

    def mean(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        """The expected counts of all categories, of a natural point."""
        return self.n_trials * self.probabilities(point)

    def covariance(self, point: Natural) -> Float[Array, "{self.n_categories} {self.n_categories}"]:
        """The covariance of the counts, a singular matrix: its rows sum to zero."""
        return self.n_trials * indicator_covariance(self.probabilities(point))


@expected_observation.register
def _(family: Multinomial, point: Mean) -> Any:
    """The expected counts of all categories, real numbers."""
    reference = family.n_trials - jnp.sum(point.values, keepdims=True)
    return jnp.concatenate([reference, point.values])


@describe_support.register
def _(family: Multinomial) -> str:
    return f"counts are 0 or more and sum to {family.n_trials}"
