"""The Bernoulli distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, probability
from harmonium.exponential_family.product import Replicated
from harmonium.exponential_family.vector import Count
from harmonium.geometry.point import Coordinates, Mean, Natural


class Bernoulli(Count):
    r"""One of two outcomes, 0 and 1: `scipy.stats.bernoulli(p)`.

    $p(x) = \exp(\theta x - \log(1 + e^\theta))$ with the log odds
    $\theta = \log(p / (1 - p))$, $s(x) = x$ and $\eta = p$, the probability of 1.
    """

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x == 0) | (x == 1)

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return jax.nn.softplus(point.values[0])

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(jax.nn.sigmoid(point.values), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(jnp.log(point.values) - jnp.log1p(-point.values))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return (point.values[0] > 0) & (point.values[0] < 1)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return jax.random.bernoulli(key, self.probability(point)).astype(int)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.unravel(jax.random.normal(key, (1,)))

    def from_probability(self, probability_of_one: Any) -> Natural:
        """The natural point with this probability of 1, strictly between 0 and 1."""
        p = probability(probability_of_one, f"the probability of {self}")
        return self.unravel((jnp.log(p) - jnp.log1p(-p))[None])

    def probability(self, point: Natural) -> Float[Array, ""]:
        """The probability of 1 of a natural point."""
        self.check_single(point)
        return jax.nn.sigmoid(point.values[0])


def Bernoullis(n: int) -> Replicated:
    """`n` independent binary outcomes, each with its own probability: observations (n,)."""
    return Replicated(Bernoulli(), n)


@describe_support.register
def _(family: Bernoulli) -> str:
    return "values are 0 or 1"
