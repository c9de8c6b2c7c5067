"""The gamma distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import positive_number
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import Positive, values_inside
from harmonium.geometry.point import Coordinates, Mean, Natural

NEWTON_STEPS = 4
# Asymptotic series in inverse powers are exact to rounding from here on.
LARGE = 16.0
# Bernoulli numbers over their index, B_2k / 2k for k = 1, ..., 5.
BERNOULLI = (1 / 12, -1 / 120, 1 / 252, -1 / 240, 1 / 132)


class Gamma(Positive):
    r"""Positive numbers: `scipy.stats.gamma(a, scale=1 / rate)` with the shape $a$.

    $p(x) = \exp(a \log x - b x - \psi) / x$ with the shape $a$ and the rate $b$, in inverse units
    of $x$. The statistic is $s(x) = (\log x, x)$ and the base measure $1 / x$, hence
    $\theta = (a, -b)$, $\psi = \log \Gamma(a) - a \log b$ and
    $\eta = (\mathrm{digamma}(a) - \log b, a / b)$; the mean domain is $\log \eta_2 > \eta_1$.
    Much of the mass of small shapes is at numbers too small for floating point, for which samples
    are the smallest normal one: one in a thousand at shape 0.01, or nearly half in float32.
    """

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.log(x), x])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -jnp.log(x)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        shape, rate = self.shape(point), self.rate(point)
        return gammaln(shape) - shape * jnp.log(rate)

    def mean_kernel(self, point: Natural) -> Mean:
        shape, mean = self.shape(point), self.mean(point)
        mean_log = jnp.log(mean) - log_minus_digamma(shape)
        return self.unravel(jnp.stack([mean_log, mean]), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        values = values_inside(self, point, "E[log x] must be less than log E[x]")
        shape = shape_of_gap(jnp.log(values[1]) - values[0])
        return self.unravel(jnp.stack([shape, -shape / values[1]]))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return (point.values[0] > 0) & (point.values[1] < 0)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return (point.values[1] > 0) & (jnp.log(point.values[1]) > point.values[0])

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        # For small shapes the logarithm is representable where the number is not.
        log_draw = jax.random.loggamma(key, self.shape(point)) - jnp.log(self.rate(point))
        return representable(jnp.exp(log_draw))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A shape around two and a mean around that of the sample."""
        values = average.values
        shape, level = jnp.exp(0.5 * jax.random.normal(key, (2,), values.dtype))
        return self.unravel(jnp.stack([2 * shape, -2 * shape / (level * moderate(values[1]))]))

    def from_shape_rate(self, shape: Any, rate: Any) -> Natural:
        """The natural point with this shape and this rate, positive numbers."""
        shape = positive_number(shape, f"the shape of {self}")
        rate = positive_number(rate, f"the rate of {self}")
        return self.unravel(jnp.stack([shape, -rate]))

    def shape(self, point: Natural) -> Float[Array, ""]:
        """The shape $a$ of a natural point."""
        self.check_single(point)
        return point.values[0]

    def rate(self, point: Natural) -> Float[Array, ""]:
        """The rate $b$ of a natural point, the inverse of scipy's scale."""
        self.check_single(point)
        return -point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.shape(point) / self.rate(point)

    def variance(self, point: Natural) -> Float[Array, ""]:
        return self.shape(point) / self.rate(point) / self.rate(point)


@expected_observation.register
def _(family: Gamma, point: Mean) -> Any:
    """The mean."""
    return point.values[1]


def log_minus_digamma(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""$\log x - \mathrm{digamma}(x)$ of positive numbers, without cancellation of large ones.

    It decreases from infinity to zero, as $1 / x$ and as $1 / 2x$.

    **Source:** DLMF 5.11.2 for large numbers.
    """
    large = jnp.maximum(x, LARGE)
    series = 0.5 / large + inverse_powers(BERNOULLI, 1 / large**2) / large**2
    small = jnp.minimum(x, LARGE)
    return jnp.where(x > LARGE, series, jnp.log(small) - digamma(small))


def log_minus_digamma_slope(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    r"""The derivative $1 / x - \mathrm{trigamma}(x)$ of `log_minus_digamma`, a negative number."""
    return jax.jvp(log_minus_digamma, (x,), (jnp.ones_like(x),))[1]


def digamma_difference(x: Float[Array, " n"], step: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""$\mathrm{digamma}(x + h) - \mathrm{digamma}(x)$ of positive numbers, without cancellation.

    Mathematically, by recurrence it is $\sum_{i < 16} h / (x + i)(x + i + h)$ plus the same
    difference at $x + 16$, which is that of asymptotic series. There the difference of the powers
    of $u$ and $v$, the inverse squares, is $u - v$ times a divided difference by Horner's rule.

    **Source:** DLMF 5.5.2 and 5.11.2.
    """
    below = x[:, None] + jnp.arange(LARGE, dtype=x.dtype)[None]
    terms = step[:, None] / (below + step[:, None]) / below
    first, second = x + LARGE, x + LARGE + step
    u, v = 1 / first**2, 1 / second**2
    value, divided = jnp.full_like(u, BERNOULLI[-1]), jnp.zeros_like(u)
    for coefficient in (*BERNOULLI[-2::-1], 0.0):
        divided = divided * v + value
        value = value * u + coefficient
    gap = step / second / first
    powers = gap * (0.5 + (1 / first + 1 / second) * divided)
    return jnp.sum(terms, axis=1) + jnp.log1p(step / first) + powers


def inverse_powers(coefficients: tuple[float, ...], x: Float[Array, "*s"]) -> Float[Array, "*s"]:
    """The polynomial with these coefficients, from the constant up, by Horner's rule."""
    value = jnp.full_like(x, coefficients[-1])
    for coefficient in coefficients[-2::-1]:
        value = value * x + coefficient
    return value


@jax.custom_jvp
def shape_of_gap(gap: Float[Array, ""]) -> Float[Array, ""]:
    r"""The shape $a$ with $\log a - \mathrm{digamma}(a)$ equal to this positive number.

    For a gamma distribution it is $\log E[x] - E[\log x]$. In $u = 1 / a$ the equation is nearly
    linear, and well approximated by $u (u + 3) / (u + 6)$, so that few steps of Newton's method
    from the root of that are exact.

    **Source:** Minka, Estimating a Gamma distribution (2002), for Newton's method in $1 / a$; the
    approximation has the first two orders of both limits of the gap.
    """
    root = jnp.sqrt((gap - 3) ** 2 + 24 * gap)
    small = jnp.minimum(gap, 3.0)
    inverse = jnp.where(gap < 3, 12 * small / (3 - small + root), (gap - 3 + root) / 2)

    def step(_: Any, inverse: Array) -> Array:
        shape = 1 / inverse
        error = log_minus_digamma(shape) - gap
        return inverse + error * inverse**2 / log_minus_digamma_slope(shape)

    return 1 / jax.lax.fori_loop(0, NEWTON_STEPS, step, inverse)


@shape_of_gap.defjvp
def _(primals: Any, tangents: Any) -> Any:
    shape = shape_of_gap(*primals)
    return shape, tangents[0] / log_minus_digamma_slope(shape)


def representable(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """Positive numbers, moved to the nearest that floating point represents with full precision."""
    limits = jnp.finfo(x.dtype)
    return jnp.clip(x, limits.tiny, limits.max)


def moderate(x: Float[Array, ""]) -> Float[Array, ""]:
    """A positive number, moved to the nearest whose square and inverse square are representable."""
    limits = jnp.finfo(x.dtype)
    return jnp.clip(x, float(limits.tiny) ** 0.5, float(limits.max) ** 0.5)
