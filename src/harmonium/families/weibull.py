"""The Weibull distribution."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, positive_number
from harmonium.exponential_family.vector import Rate
from harmonium.geometry.point import Natural


class Weibull(Rate):
    r"""Positive numbers with a known shape: `scipy.stats.weibull_min(shape, scale=scale)`.

    $p(x) = k x^{k-1} \exp(\theta x^k - \psi(\theta))$ with $\theta = -\lambda^{-k}$, where
    $\lambda$ is the scale, $s(x) = x^k$ and $\eta = \lambda^k$.

    **Fields:** `shape`, $k$.
    """

    shape: float = eqx.field(static=True)

    def __init__(self, shape: float | int):
        if not 0 < shape < math.inf:
            raise ValueError(f"expected a positive shape, got {shape}.")
        self.shape = float(shape)

    @property
    def typical_observation(self) -> Any:
        """One."""
        return 1.0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x > 0) & jnp.isfinite(x)

    def statistic(self, x: Any) -> Float[Array, "1"]:
        return (x**self.shape)[None]

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return math.log(self.shape) + (self.shape - 1) * jnp.log(x)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        exponential = jax.random.exponential(key, (), point.values.dtype)
        return self.scale(point) * exponential ** (1 / self.shape)

    def from_scale(self, scale: Any) -> Natural:
        r"""The natural point with this scale $\lambda$, positive, in the units of $x$."""
        return self.unravel(-(positive_number(scale, f"the scale of {self}") ** -self.shape)[None])

    def scale(self, point: Natural) -> Float[Array, ""]:
        r"""The scale $\lambda$ of a natural point."""
        self.check_single(point)
        return (-point.values[0]) ** (-1 / self.shape)

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.scale(point) * math.gamma(1 + 1 / self.shape)

    def variance(self, point: Natural) -> Float[Array, ""]:
        first, second = math.gamma(1 + 1 / self.shape), math.gamma(1 + 2 / self.shape)
        return self.scale(point) ** 2 * (second - first**2)


@describe_support.register
def _(family: Weibull) -> str:
    return "numbers are positive and finite"
