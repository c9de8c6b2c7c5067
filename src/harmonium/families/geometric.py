"""The geometric distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, probability
from harmonium.exponential_family.vector import Count
from harmonium.geometry.point import Coordinates, Mean, Natural


class Geometric(Count):
    r"""Trials $1, 2, \dots$ up to and including the first success: `scipy.stats.geom(p)`.

    $p(x) = (1 - p)^{x-1} p = \exp(\theta x - \psi(\theta))$ with $\theta = \log(1 - p) < 0$,
    $s(x) = x$, $\psi(\theta) = \theta - \log(1 - e^\theta)$ and $\eta = 1 / p$.
    """

    @property
    def typical_observation(self) -> Any:
        """One."""
        return 1

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return x >= 1

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        theta = point.values[0]
        return theta - jnp.log(-jnp.expm1(theta))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(-1 / jnp.expm1(point.values), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(jnp.log1p(-1 / point.values))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return point.values[0] < 0

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return point.values[0] > 1

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        # The integer part of an exponential variable.
        exponential = jax.random.exponential(key, (), point.values.dtype)
        return 1 + jnp.floor(exponential / -point.values[0]).astype(int)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """About three trials."""
        return self.unravel(-jnp.exp(0.5 * jax.random.normal(key, (1,)) - 1))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A probability around that of the average number of trials."""
        failures = average.values - 0.9
        odds = failures * jnp.exp(0.5 * jax.random.normal(key, (1,), failures.dtype))
        return self.unravel(-jnp.log1p(1 / odds))

    def from_probability(self, probability_of_success: Any) -> Natural:
        """The natural point with this probability of success, strictly between 0 and 1."""
        p = probability(probability_of_success, f"the probability of {self}")
        return self.unravel(jnp.log1p(-p)[None])

    def probability(self, point: Natural) -> Float[Array, ""]:
        """The probability of success of a natural point."""
        self.check_single(point)
        return -jnp.expm1(point.values[0])


@describe_support.register
def _(family: Geometric) -> str:
    return "numbers of trials are 1 or more; to numbers of failures, add 1"
