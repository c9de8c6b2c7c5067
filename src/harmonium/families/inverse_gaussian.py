"""The inverse Gaussian distribution."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import positive_number
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import Positive, values_inside
from harmonium.families.gamma import moderate, representable
from harmonium.geometry.point import Coordinates, Mean, Natural


class InverseGaussian(Positive):
    r"""Positive numbers: `scipy.stats.invgauss(mean / shape, scale=shape)`.

    The time at which a Brownian motion with drift first reaches a level, or Wald's distribution.
    With the mean $\mu$ and the shape $\lambda$, both in units of $x$,

    $$p(x) = \exp\left(-\frac{\lambda}{2 \mu^2} x - \frac{\lambda}{2} \frac{1}{x} - \psi\right)
    (2 \pi x^3)^{-1/2}.$$

    The statistic is $s(x) = (x, 1 / x)$, hence $\theta = (-\lambda / 2 \mu^2, -\lambda / 2)$,
    $\psi = -\lambda / \mu - \log(\lambda) / 2 = -2 \sqrt{\theta_1 \theta_2} -
    \log(-2 \theta_2) / 2$ and $\eta = (\mu, 1 / \mu + 1 / \lambda)$; the mean domain is
    $\eta_1 > 0$, $\eta_1 \eta_2 > 1$.

    **Source:** Tweedie, Statistical properties of inverse Gaussian distributions I (1957).
    """

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([x, 1 / x])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -1.5 * jnp.log(x) - 0.5 * math.log(2 * math.pi)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        shape = self.shape(point)
        return -shape / self.mean(point) - 0.5 * jnp.log(shape)

    def mean_kernel(self, point: Natural) -> Mean:
        mean = self.mean(point)
        return self.unravel(jnp.stack([mean, 1 / mean + 1 / self.shape(point)]), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        mean, mean_inverse = values_inside(self, point, "E[1 / x] must be above 1 / E[x]")
        return self._point(mean, mean / (mean * mean_inverse - 1))

    def _point(self, mean: Array, shape: Array) -> Natural:
        return self.unravel(jnp.stack([-0.5 * shape / mean / mean, -0.5 * shape]))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(point.values < 0)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return (point.values[0] > 0) & (point.values[0] * point.values[1] > 1)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        """A root of a chi-squared variable, or its reciprocal.

        **Source:** Michael, Schucany and Haas, Generating random variates using transformations
        with multiple roots (1976). The product of the roots is one, in units of the mean, which
        gives the small one without cancellation.
        """
        normal_key, uniform_key = jax.random.split(key)
        mean, dtype = self.mean(point), point.values.dtype
        chi_squared = jax.random.normal(normal_key, (), dtype) ** 2
        half = 0.5 * chi_squared * mean / self.shape(point)
        large_root = 1 + half + jnp.sqrt(half * (2 + half))
        uniform = jax.random.uniform(uniform_key, (), dtype)
        is_small = uniform * (1 + large_root) <= large_root
        return representable(mean * jnp.where(is_small, 1 / large_root, large_root))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A mean around that of the sample, and a shape around twice that."""
        values = average.values
        level, shape = jnp.exp(0.5 * jax.random.normal(key, (2,), values.dtype))
        mean = level * moderate(values[0])
        return self._point(mean, 2 * shape * mean)

    def from_mean_shape(self, mean: Any, shape: Any) -> Natural:
        r"""The natural point with this mean $\mu$ and this shape $\lambda$, positive numbers."""
        mean = positive_number(mean, f"the mean of {self}")
        return self._point(mean, positive_number(shape, f"the shape of {self}"))

    def shape(self, point: Natural) -> Float[Array, ""]:
        r"""The shape $\lambda$ of a natural point, scipy's scale."""
        self.check_single(point)
        return -2 * point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        r"""The mean $\mu$ of a natural point."""
        self.check_single(point)
        return jnp.sqrt(point.values[1] / point.values[0])

    def variance(self, point: Natural) -> Float[Array, ""]:
        r"""The variance $\mu^3 / \lambda$ of a natural point."""
        mean = self.mean(point)
        return mean**2 * (mean / self.shape(point))


@expected_observation.register
def _(family: InverseGaussian, point: Mean) -> Any:
    """The mean."""
    return point.values[0]
