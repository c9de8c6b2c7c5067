"""The log-normal distribution."""

import math
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import finite_number, positive_number
from harmonium.exponential_family.vector import Positive, values_inside
from harmonium.families.gamma import representable
from harmonium.geometry.point import Coordinates, Mean, Natural


class LogNormal(Positive):
    r"""Numbers whose logarithms are normal: `scipy.stats.lognorm(s=sigma, scale=exp(mu))`.

    $p(x) = \exp(\theta_1 \log x + \theta_2 (\log x)^2 - \psi) / (x \sqrt{2 \pi})$ with the mean
    $\mu$ and the standard deviation $\sigma$ of $\log x$. The statistic is
    $s(x) = (\log x, (\log x)^2)$, hence $\theta = (\mu / \sigma^2, -1 / 2 \sigma^2)$,
    $\psi = \mu^2 / 2 \sigma^2 + \log \sigma = -\theta_1^2 / 4 \theta_2 - \log(-2 \theta_2) / 2$ and
    $\eta = (\mu, \mu^2 + \sigma^2)$; the mean domain is $\eta_2 > \eta_1^2$. Samples beyond the
    range of floating point are its nearest numbers.
    """

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.log(x), jnp.log(x) ** 2])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -jnp.log(x) - 0.5 * math.log(2 * math.pi)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return 0.5 * self.mu(point) * point.values[0] - 0.5 * jnp.log(-2 * point.values[1])

    def mean_kernel(self, point: Natural) -> Mean:
        mu, square = self.mu(point), self._sigma_square(point)
        return self.unravel(jnp.stack([mu, mu**2 + square]), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        mu, second = values_inside(self, point, "E[log x]^2 must be less than E[(log x)^2]")
        return self._point(mu, second - mu**2)

    def _point(self, mu: Array, sigma_square: Array) -> Natural:
        return self.unravel(jnp.stack([mu / sigma_square, -0.5 / sigma_square]))

    def _sigma_square(self, point: Natural) -> Float[Array, ""]:
        return -0.5 / point.values[1]

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return point.values[1] < 0

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return point.values[1] > point.values[0] ** 2

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        noise = jax.random.normal(key, (), point.values.dtype)
        return representable(jnp.exp(self.mu(point) + self.sigma(point) * noise))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        r"""A median and a $\sigma$ around those of the sample; for constants, $\sigma$ around one.

        So it is for samples whose spread is lost in the rounding of $E[(\log x)^2]$.
        """
        mu, second = average.values
        square = second - mu**2
        lost = 1e3 * jnp.finfo(mu.dtype).eps * (1 + mu**2)
        square = jnp.where(square > lost, square, jnp.ones_like(square))
        shift, level = jax.random.normal(key, (2,), mu.dtype)
        return self._point(mu + 0.5 * jnp.sqrt(square) * shift, square * jnp.exp(level))

    def from_mu_sigma(self, mu: Any, sigma: Any) -> Natural:
        r"""The natural point with this mean $\mu$ and standard deviation $\sigma$ of $\log x$.

        **Arguments:**

        - `mu`: any finite number, the logarithm of the median.
        - `sigma`: positive.
        """
        mu = finite_number(mu, f"mu of {self}")
        return self._point(mu, positive_number(sigma, f"sigma of {self}") ** 2)

    def mu(self, point: Natural) -> Float[Array, ""]:
        r"""The mean $\mu$ of $\log x$, of a natural point."""
        self.check_single(point)
        return -0.5 * point.values[0] / point.values[1]

    def sigma(self, point: Natural) -> Float[Array, ""]:
        r"""The standard deviation $\sigma$ of $\log x$, of a natural point: `s` in scipy."""
        self.check_single(point)
        return jnp.sqrt(self._sigma_square(point))

    def mean(self, point: Natural) -> Float[Array, ""]:
        r"""The expected observation $\exp(\mu + \sigma^2 / 2)$ of a natural point."""
        return jnp.exp(self.mu(point) + 0.5 * self._sigma_square(point))

    def variance(self, point: Natural) -> Float[Array, ""]:
        r"""The variance $(\exp \sigma^2 - 1) \exp(2 \mu + \sigma^2)$ of the observation."""
        return jnp.expm1(self._sigma_square(point)) * self.mean(point) ** 2
