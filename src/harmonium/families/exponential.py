"""The exponential distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, positive_number
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import Rate
from harmonium.geometry.point import Mean, Natural


class Exponential(Rate):
    r"""Waiting times: `scipy.stats.expon(scale=1 / rate)`.

    $p(x) = \lambda \exp(-\lambda x)$ for $x \ge 0$, with $\theta = -\lambda$, $s(x) = x$ and
    $\eta = 1 / \lambda$.
    """

    @property
    def typical_observation(self) -> Any:
        """One."""
        return 1.0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x >= 0) & jnp.isfinite(x)

    def statistic(self, x: Any) -> Float[Array, "1"]:
        return x[None]

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros_like(x)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        return jax.random.exponential(key, (), point.values.dtype) / -point.values[0]

    def from_rate(self, rate: Any) -> Natural:
        r"""The natural point with this rate $\lambda$, positive, in events per unit of $x$."""
        return self.unravel(-positive_number(rate, f"the rate of {self}")[None])

    def rate(self, point: Natural) -> Float[Array, ""]:
        r"""The rate $\lambda$ of a natural point."""
        self.check_single(point)
        return -point.values[0]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return 1 / self.rate(point)

    def variance(self, point: Natural) -> Float[Array, ""]:
        return 1 / self.rate(point) ** 2


@expected_observation.register
def _(family: Exponential, point: Mean) -> Any:
    """The mean."""
    return point.values[0]


@describe_support.register
def _(family: Exponential) -> str:
    return "numbers are finite and not negative"
