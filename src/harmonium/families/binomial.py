"""The binomial distribution."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, probability
from harmonium.exponential_family.vector import Count
from harmonium.geometry.point import Coordinates, Mean, Natural


class Binomial(Count):
    r"""Successes in a known number of trials: `scipy.stats.binom(n_trials, p)`.

    $p(x) = \binom{n}{x} \exp(\theta x - n \log(1 + e^\theta))$ with the log odds
    $\theta = \log(p / (1 - p))$, $s(x) = x$ and $\eta = n p$.

    **Fields:** `n_trials`, $n$.
    """

    n_trials: int = eqx.field(static=True)

    def __check_init__(self):
        if self.n_trials < 1:
            raise ValueError(f"expected at least one trial, got n_trials={self.n_trials}.")

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x >= 0) & (x <= self.n_trials)

    def log_measure(self, x: Any) -> Float[Array, ""]:
        x, n = jnp.asarray(x, float), float(self.n_trials)
        return gammaln(n + 1.0) - gammaln(x + 1.0) - gammaln(n - x + 1.0)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.n_trials * jax.nn.softplus(point.values[0])

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(self.n_trials * jax.nn.sigmoid(point.values), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(jnp.log(point.values) - jnp.log(self.n_trials - point.values))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return (point.values[0] > 0) & (point.values[0] < self.n_trials)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        draw = jax.random.binomial(key, float(self.n_trials), self.probability(point))
        return draw.astype(int)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.unravel(jax.random.normal(key, (1,)))

    def from_probability(self, probability_of_success: Any) -> Natural:
        """The natural point with this probability of success, strictly between 0 and 1."""
        p = probability(probability_of_success, f"the probability of {self}")
        return self.unravel((jnp.log(p) - jnp.log1p(-p))[None])

    def probability(self, point: Natural) -> Float[Array, ""]:
        """The probability of success of a natural point."""
        self.check_single(point)
        return jax.nn.sigmoid(point.values[0])


@describe_support.register
def _(family: Binomial) -> str:
    return f"counts are 0 to {family.n_trials}"
