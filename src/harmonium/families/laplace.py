"""The Laplace distribution."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import positive_number
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import Rate
from harmonium.geometry.point import Mean, Natural


class Laplace(Rate):
    r"""Real numbers around a known location: `scipy.stats.laplace(location, scale)`.

    $p(x) = \exp(-|x - m| / b) / (2 b)$ with $\theta = -1 / b$, $s(x) = |x - m|$ and $\eta = b$.

    **Fields:** `location`, $m$, zero by default.
    """

    location: float = eqx.field(static=True)

    def __init__(self, location: float | int = 0.0):
        if not math.isfinite(location):
            raise ValueError(f"expected a finite location, got {location}.")
        self.location = float(location)

    @property
    def typical_observation(self) -> Any:
        """The location."""
        return self.location

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.isfinite(x)

    def statistic(self, x: Any) -> Float[Array, "1"]:
        return jnp.abs(x - self.location)[None]

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.full_like(x, -math.log(2))

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        noise = jax.random.laplace(key, (), point.values.dtype)
        return self.location + noise * self.scale(point)

    def from_scale(self, scale: Any) -> Natural:
        """The natural point with this scale $b$, positive, in the units of $x$."""
        return self.unravel(-1 / positive_number(scale, f"the scale of {self}")[None])

    def scale(self, point: Natural) -> Float[Array, ""]:
        """The scale $b$ of a natural point: the average distance from the location."""
        self.check_single(point)
        return -1 / point.values[0]

    def mean(self, point: Natural) -> Float[Array, ""]:
        self.check_single(point)
        return jnp.full_like(point.values[0], self.location)

    def variance(self, point: Natural) -> Float[Array, ""]:
        return 2 * self.scale(point) ** 2


@expected_observation.register
def _(family: Laplace, point: Mean) -> Any:
    """The location, whatever the scale."""
    return jnp.full_like(point.values[0], family.location)
