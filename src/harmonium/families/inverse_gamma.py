"""The inverse gamma distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import positive_number
from harmonium.exponential_family.vector import Positive, values_inside
from harmonium.families.gamma import log_minus_digamma, moderate, representable, shape_of_gap
from harmonium.geometry.point import Coordinates, Mean, Natural


class InverseGamma(Positive):
    r"""Inverses of gamma distributed numbers: `scipy.stats.invgamma(a, scale=b)`.

    $p(x) = \exp(-a \log x - b / x - \psi) / x$ with the shape $a$ and the scale $b$, in units of
    $x$. The statistic is $s(x) = (\log x, 1 / x)$ and the base measure $1 / x$, hence
    $\theta = (-a, -b)$, $\psi = \log \Gamma(a) - a \log b$ and
    $\eta = (\log b - \mathrm{digamma}(a), a / b)$; the mean domain is $\log \eta_2 > -\eta_1$.
    The mean is infinite for shapes up to one, and the variance for shapes up to two. Much of the
    mass of small shapes is at numbers too large for floating point, see
    [`harmonium.Gamma`][].
    """

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.log(x), 1 / x])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -jnp.log(x)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        shape, scale = self.shape(point), self.scale(point)
        return gammaln(shape) - shape * jnp.log(scale)

    def mean_kernel(self, point: Natural) -> Mean:
        shape = self.shape(point)
        mean_inverse = shape / self.scale(point)
        mean_log = log_minus_digamma(shape) - jnp.log(mean_inverse)
        return self.unravel(jnp.stack([mean_log, mean_inverse]), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        values = values_inside(self, point, "E[log x] must be above -log E[1 / x]")
        shape = shape_of_gap(jnp.log(values[1]) + values[0])
        return self.unravel(jnp.stack([-shape, -shape / values[1]]))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(point.values < 0)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return (point.values[1] > 0) & (jnp.log(point.values[1]) > -point.values[0])

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        # For small shapes the logarithm is representable where the number is not.
        log_draw = jnp.log(self.scale(point)) - jax.random.loggamma(key, self.shape(point))
        return representable(jnp.exp(log_draw))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A shape around two and a harmonic mean around that of the sample."""
        values = average.values
        shape, level = jnp.exp(0.5 * jax.random.normal(key, (2,), values.dtype))
        scale = 2 * shape * level * moderate(1 / values[1])
        return self.unravel(jnp.stack([-2 * shape, -scale]))

    def from_shape_scale(self, shape: Any, scale: Any) -> Natural:
        """The natural point with this shape and this scale, positive numbers."""
        shape = positive_number(shape, f"the shape of {self}")
        scale = positive_number(scale, f"the scale of {self}")
        return self.unravel(jnp.stack([-shape, -scale]))

    def shape(self, point: Natural) -> Float[Array, ""]:
        """The shape $a$ of a natural point."""
        self.check_single(point)
        return -point.values[0]

    def scale(self, point: Natural) -> Float[Array, ""]:
        """The scale $b$ of a natural point, which is scipy's."""
        self.check_single(point)
        return -point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        """The expected observation, infinite for shapes up to one."""
        shape = self.shape(point)
        finite = shape > 1
        return jnp.where(finite, self.scale(point) / jnp.where(finite, shape - 1, 1.0), jnp.inf)

    def variance(self, point: Natural) -> Float[Array, ""]:
        """The variance of the observation, infinite for shapes up to two."""
        shape = self.shape(point)
        finite = shape > 2
        excess = jnp.where(finite, shape - 2, 1.0)
        return jnp.where(finite, self.mean(point) ** 2 / excess, jnp.inf)
