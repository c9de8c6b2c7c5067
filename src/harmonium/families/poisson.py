"""The Poisson distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, positive_number
from harmonium.exponential_family.product import Replicated
from harmonium.exponential_family.vector import Count
from harmonium.geometry.point import Mean, Natural


class Poisson(Count):
    r"""Counts $0, 1, \dots$ of independent events: `scipy.stats.poisson(mu)`.

    $p(x) = \exp(\theta x - e^\theta) / x!$ with $\theta = \log \mu$, $s(x) = x$ and
    $\eta = \mu$, where $\mu$ is the rate: both mean and variance.
    """

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return x >= 0

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -gammaln(jnp.asarray(x + 1, float))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return jnp.exp(point.values[0])

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(jnp.exp(point.values), point.coordinates.dual)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(jnp.log(point.values))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return point.values[0] > 0

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return jax.random.poisson(key, self.rate(point))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """A rate around one."""
        return self.unravel(jax.random.normal(key, (1,)))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A rate around the average count."""
        level = jnp.log(average.values + 0.1)
        return self.unravel(level + 0.5 * jax.random.normal(key, (1,), level.dtype))

    def from_rate(self, rate: Any) -> Natural:
        r"""The natural point with this rate $\mu$, a positive number."""
        return self.unravel(jnp.log(positive_number(rate, f"the rate of {self}"))[None])

    def rate(self, point: Natural) -> Float[Array, ""]:
        r"""The rate $\mu$ of a natural point."""
        self.check_single(point)
        return jnp.exp(point.values[0])


def Poissons(n: int) -> Replicated:
    """`n` independent Poisson counts, each with its own rate; observations are arrays (n,)."""
    return Replicated(Poisson(), n)


@describe_support.register
def _(family: Poisson) -> str:
    return "counts are 0 or more"
