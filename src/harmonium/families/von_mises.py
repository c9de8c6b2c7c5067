"""The von Mises distribution of angles."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import i0e, i1e
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, finite_number, real_array, require
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.product import Replicated
from harmonium.exponential_family.vector import Real, VectorFamily
from harmonium.geometry.point import Coordinates, Mean, Natural

LARGE = 30.0  # concentrations from which the asymptotic series is used
SMALL = 1.0  # squared concentrations up to which the power series is used
NEWTON_STEPS = 6


class VonMises(Real, VectorFamily):
    r"""Angles in radians, $x \in [-\pi, \pi]$: `scipy.stats.vonmises(kappa, loc)`.

    $p(x) = \exp(\kappa \cos(x - \mu)) / (2\pi I_0(\kappa))$ with $s(x) = (\cos x, \sin x)$ and
    $\theta = \kappa (\cos\mu, \sin\mu)$, where $\mu$ (`loc`) is the mean direction and
    $\kappa \geq 0$ the concentration; $\theta = 0$ is the uniform distribution. The log partition
    function is $\psi(\theta) = \log(2\pi I_0(\kappa))$, and the mean
    $\eta = A(\kappa) (\cos\mu, \sin\mu)$, of length $A = I_1 / I_0 < 1$. The length is inverted by
    Newton's method in one dimension.

    Angles outside of $[-\pi, \pi]$ are outside the support: bring them there with
    `jnp.arctan2(jnp.sin(x), jnp.cos(x))`.

    **Source:** Mardia and Jupp, Directional Statistics (2000), section 3.5.4; DLMF 10.25 and 10.40.
    """

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0.0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.abs(x) <= jnp.pi

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.cos(x), jnp.sin(x)])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros_like(x)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return float(np.log(2 * np.pi)) + _log_bessel(_square(point))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(_ratio(_square(point)) * point.values, Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        values = require(
            point.values,
            self.admits_mean(point),
            f"the mean point is outside the mean domain of {self}, the open unit disc, or on its "
            "boundary. Mix it with the mean of a valid point, as pseudo-observations do.",
        )
        return self.unravel(_to_natural(values))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return _square(point) < 1

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        angle = self.mean(point) + _centred_sample(key, jnp.sqrt(_square(point)))
        angle = angle - 2 * jnp.pi * jnp.round(angle / (2 * jnp.pi))
        return jnp.clip(angle, -jnp.pi, jnp.pi)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Any mean direction, with a concentration around one."""
        return self.unravel(jax.random.normal(key, (2,)))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A mean direction within the sample, with a concentration around that of the sample."""
        values = _to_natural(0.999 * average.values)
        length = jnp.sqrt(jnp.sum(values**2) + 1)
        noise = jax.random.normal(key, (2,), values.dtype) * jnp.sqrt(length)
        return self.unravel(values + noise)

    def from_mean_concentration(self, mean: Any, concentration: Any) -> Natural:
        r"""The natural point with this mean direction $\mu$ and concentration $\kappa$.

        **Arguments:**

        - `mean`: any finite angle, in radians.
        - `concentration`: finite and not negative; zero is the uniform distribution.

        **Raises:** an error if they are not single numbers, or out of range.
        """
        angle, name = finite_number(mean, f"the mean of {self}"), f"the concentration of {self}"
        length = real_array(concentration, (), name)
        valid = jnp.isfinite(length) & (length >= 0)
        length = require(length, valid, f"{name} must be finite and not negative.")
        return self.unravel(length.astype(angle.dtype) * self.statistic(angle))

    def concentration(self, point: Natural) -> Float[Array, ""]:
        r"""The concentration $\kappa$ of a natural point, `kappa` in scipy."""
        self.check_single(point)
        square = _square(point)
        safe = jnp.where(square > 0, square, 1)
        return jnp.where(square > 0, jnp.sqrt(safe), 0)

    def mean(self, point: Natural) -> Float[Array, ""]:
        r"""The mean direction $\mu$ of a natural point, an angle in $[-\pi, \pi]$; `loc` in scipy.

        It is zero, by convention, for the uniform distribution, which has none.
        """
        self.check_single(point)
        return jnp.arctan2(point.values[1], point.values[0])

    def variance(self, point: Natural) -> Float[Array, ""]:
        r"""The circular variance $1 - I_1(\kappa) / I_0(\kappa)$, between zero and one.

        It is not the variance of $x$ as a real number, which `scipy.stats.vonmises.var` is.
        """
        self.check_single(point)
        return _complement(_square(point))


@expected_observation.register
def _(family: VonMises, point: Mean) -> Any:
    """The mean direction."""
    return jnp.arctan2(point.values[1], point.values[0])


def VonMisesProduct(n: int) -> Replicated:
    """`n` independent angles, each with its own direction; observations are arrays (n,)."""
    return Replicated(VonMises(), n)


def _square(point: Any) -> Float[Array, ""]:
    return jnp.sum(point.values**2)


def _power_series(n_terms: int) -> np.ndarray:
    r"""The coefficients of $A(\kappa) / \kappa$ in powers of $u = \kappa^2$.

    From the Riccati equation $A' = 1 - A^2 - A / \kappa$ (DLMF 10.29.2), which is
    $2 u \dot r = 1 - 2 r - u r^2$ for $r = A / \kappa$. It converges for $u < 5.78$, the square of
    the first zero of $J_0$: 24 terms are exact to $10^{-17}$ for $u \leq 1$.
    """
    terms = [0.5]
    for k in range(1, n_terms):
        terms.append(-sum(terms[i] * terms[k - 1 - i] for i in range(k)) / (2 * k + 2))
    return np.array(terms)


def _asymptotic_series(n_terms: int) -> np.ndarray:
    r"""The coefficients of $\kappa (1 - A(\kappa))$ in powers of $1 / \kappa$.

    From the same Riccati equation. The first term left out, of order $20! / (2 \kappa)^{20}$, is
    below $10^{-17}$ for $\kappa \geq 30$.
    """
    terms = [1.0]
    for k in range(1, n_terms + 1):
        products = sum(terms[i] * terms[k - i] for i in range(1, k))
        terms.append(((k - 2) * terms[k - 1] - products) / 2)
    return -np.array(terms[1:])


POWER_SERIES = _power_series(24)
ASYMPTOTIC_SERIES = _asymptotic_series(20)


def _polynomial(coefficients: np.ndarray, x: Float[Array, ""]) -> Float[Array, ""]:
    return jnp.polyval(jnp.asarray(coefficients[::-1], x.dtype), x, unroll=32)


@jax.custom_jvp
def _log_bessel(square: Float[Array, ""]) -> Float[Array, ""]:
    r"""$\log I_0(\sqrt u)$, smooth at zero too."""
    root = jnp.sqrt(square)
    return root + jnp.log(i0e(root))


@_log_bessel.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (square,), (tangent,) = primals, tangents
    return _log_bessel(square), _ratio(square) / 2 * tangent


def _complement_large(square: Float[Array, ""]) -> Float[Array, ""]:
    inverse = 1 / jnp.sqrt(jnp.maximum(square, LARGE**2))
    return inverse * _polynomial(ASYMPTOTIC_SERIES, inverse)


def _complement(square: Float[Array, ""]) -> Float[Array, ""]:
    r"""$1 - A(\kappa)$ for $u = \kappa^2$, with small relative errors for large $\kappa$."""
    near = 1 - _ratio(square) * jnp.sqrt(jnp.where(square > 0, square, 1))
    near = jnp.where(square > 0, near, 1)
    return jnp.where(square < LARGE**2, near, _complement_large(square))


@jax.custom_jvp
def _ratio(square: Float[Array, ""]) -> Float[Array, ""]:
    r"""$r = A(\kappa) / \kappa$ for $u = \kappa^2$, smooth at zero too, where it is a half."""
    root = jnp.sqrt(jnp.maximum(square, SMALL))
    small = _polynomial(POWER_SERIES, jnp.minimum(square, SMALL))
    middle = i1e(root) / i0e(root) / root
    large = (1 - _complement_large(square)) / root
    return jnp.where(square < SMALL, small, jnp.where(square < LARGE**2, middle, large))


@_ratio.defjvp
def _(primals: Any, tangents: Any) -> Any:
    (square,), (tangent,) = primals, tangents
    return _ratio(square), _ratio_slope(square) * tangent


def _ratio_slope(square: Float[Array, ""]) -> Float[Array, ""]:
    r"""$dr / du$, free of cancellation for small and large $\kappa$."""
    slopes = POWER_SERIES[1:] * np.arange(1, len(POWER_SERIES))
    small = _polynomial(slopes, jnp.minimum(square, SMALL))
    safe = jnp.maximum(square, SMALL)
    ratio, complement = _ratio(safe), _complement(safe)
    large = (complement * (2 - complement) - 2 * ratio) / (2 * safe)
    return jnp.where(square < SMALL, small, large)


@jax.custom_jvp
def _to_natural(mean: Float[Array, "2"]) -> Float[Array, "2"]:
    r"""$\kappa \eta / |\eta|$ with $A(\kappa) = |\eta|$, by Newton's method.

    It starts at an upper bound of $\kappa$ that is sharp at both ends, from the lower bound
    $A(\kappa) \geq \kappa / (1/2 + \sqrt{\kappa^2 + 9/4})$ of Amos (1974). As $A$ is concave, all
    iterates but the first are below the root and ascend to it.
    """
    square = jnp.sum(mean**2)
    length, rest = jnp.sqrt(square), 1 - square
    missing = rest / (1 + length)
    scale = (0.5 + jnp.sqrt(0.25 + 2 * rest)) / rest

    def step(_: Any, scale: Array) -> Array:
        kappa_square = (scale * length) ** 2
        ratio = _ratio(kappa_square)
        slope = ratio + 2 * kappa_square * _ratio_slope(kappa_square)
        small = 1 - scale * ratio
        large = jnp.where(length > 0, (_complement(kappa_square) - missing) / length, 0)
        return scale + jnp.where(kappa_square < SMALL, small, large) / slope

    return mean * jax.lax.fori_loop(0, NEWTON_STEPS, step, scale)


@_to_natural.defjvp
def _(primals: Any, tangents: Any) -> Any:
    """The inverse of the Fisher information, a multiple of the identity plus one of rank one."""
    (mean,), (tangent,) = primals, tangents
    natural = _to_natural(mean)
    square = jnp.sum(natural**2)
    ratio, slope = _ratio(square), 2 * _ratio_slope(square)
    along = slope * (natural @ tangent) / (ratio + slope * square)
    return natural, (tangent - along * natural) / ratio


def _centred_sample(key: PRNGKeyArray, kappa: Float[Array, ""]) -> Float[Array, ""]:
    r"""An angle of mean direction zero, by rejection from a wrapped Cauchy distribution.

    The half angles of the envelope are those of the uniform distribution with their tangents scaled
    by $(1 - \rho) / (1 + \rho)$. At least 0.65 of the proposals are accepted, for any $\kappa$. The
    formulas are rearranged to be free of cancellation for small and large $\kappa$.

    **Source:** Best and Fisher, Applied Statistics 28 (1979), 152-157.
    """
    root = jnp.sqrt(1 + 4 * kappa**2)
    tau = 1 + root
    total = tau + jnp.sqrt(2 * tau)
    rho = 2 * kappa / total
    gap = (1 + 1 / (root + 2 * kappa) + jnp.sqrt(2 * tau)) / total  # 1 - rho

    def propose(state: tuple) -> tuple:
        key, angle_key, height_key = jax.random.split(state[0], 3)
        uniform = jax.random.uniform(angle_key, (), kappa.dtype, -jnp.pi / 2, jnp.pi / 2)
        half = jnp.arctan(gap / (1 + rho) * jnp.tan(uniform))
        level = (gap**2 + 4 * rho * jnp.sin(half) ** 2) * total / 4
        # An exponential variate is minus the log of a uniform one. NaN is not rejected for ever.
        rejected = jax.random.exponential(height_key, (), kappa.dtype) < level - 1 - jnp.log(level)
        return key, 2 * half, rejected

    first = key, jnp.zeros_like(kappa), jnp.asarray(True)
    return jax.lax.while_loop(lambda state: state[2], propose, first)[1]


@describe_support.register
def _(family: VonMises) -> str:
    return "angles are radians from -pi to pi; numpy.angle(numpy.exp(1j * x)) brings them there"
