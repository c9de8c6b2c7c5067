"""The Dirichlet distribution, and the logarithmic means that it has in common with the beta."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import digamma, gammaln
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, real_array, require
from harmonium.exponential_family.vector import VectorFamily, values_inside
from harmonium.families.categorical import indicator_covariance
from harmonium.families.gamma import (
    LARGE,
    digamma_difference,
    inverse_powers,
    log_minus_digamma,
    log_minus_digamma_slope,
    representable,
)
from harmonium.geometry.point import Coordinates, Mean, Natural

SUM_TOLERANCE = 10.0
INVERSE_STEPS = 3
TOTAL_STEPS = 8
POLISH_STEPS = 6
SMALL_TOTAL = 0.1  # sums of concentrations that are small
# Bernoulli numbers B_2k / 2k (2k - 1) for k = 1, ..., 5.
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


class Dirichlet(VectorFamily):
    r"""Vectors of $K$ probabilities: `scipy.stats.dirichlet(alpha)`.

    $p(x) = \exp(\sum_k \alpha_k \log x_k - \psi) / \prod_k x_k$ with the concentrations $\alpha$,
    a density with respect to Lebesgue measure on the first $K - 1$ coordinates. The statistic is
    $s(x) = \log x$ and the base measure $1 / \prod_k x_k$, hence $\theta = \alpha$,
    $\psi = \sum_k \log \Gamma(\alpha_k) - \log \Gamma(\sum_k \alpha_k)$ and
    $\eta_k = \mathrm{digamma}(\alpha_k) - \mathrm{digamma}(\sum_k \alpha_k)$; the mean domain is
    $\sum_k \exp \eta_k < 1$.

    Observations are vectors (n_categories,) of positive numbers whose sum differs from one by at
    most `10 n_categories` units of rounding: normalised in their own floating point type.

    **Fields:** `n_categories`, $K$, at least two.
    """

    n_categories: int = eqx.field(static=True)

    def __check_init__(self):
        if self.n_categories < 2:
            raise ValueError(f"expected at least two categories, got {self.n_categories}.")

    @property
    def dim(self) -> int:
        """The number of categories."""
        return self.n_categories

    @property
    def observation(self) -> Any:
        """A vector of real numbers."""
        return jax.ShapeDtypeStruct((self.n_categories,), float)

    @property
    def typical_observation(self) -> Any:
        """Equal probabilities."""
        return jnp.full(self.n_categories, 1 / self.n_categories)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        tolerance = SUM_TOLERANCE * self.n_categories * float(jnp.finfo(x.dtype).eps)
        return jnp.all(x > 0) & (jnp.abs(jnp.sum(x) - 1) <= tolerance)

    def statistic(self, x: Any) -> Float[Array, " {self.dim}"]:
        return jnp.log(x)

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -jnp.sum(jnp.log(x))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return log_beta(self.concentrations(point))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(mean_logs(self.concentrations(point)), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(concentrations_of(self, point, "the sum of exp(E[log x])"))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(point.values > 0)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jax.nn.logsumexp(point.values) < 0

    def natural_start(self, point: Mean) -> Natural:
        """The solution itself."""
        return self.to_natural(point)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, " {self.dim}"]:
        # For small shapes the logarithm is representable where the number is not.
        log_draws = jax.random.loggamma(key, self.concentrations(point))
        return representable(jax.nn.softmax(log_draws))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Concentrations around two."""
        return self.unravel(2 * jnp.exp(0.5 * jax.random.normal(key, (self.dim,))))

    def from_concentrations(self, concentrations: Any) -> Natural:
        r"""The natural point with these concentrations $\alpha$: (n_categories,), positive."""
        name = f"the concentrations of {self}"
        concentrations = real_array(concentrations, (self.n_categories,), name)
        valid = jnp.all(jnp.isfinite(concentrations) & (concentrations > 0))
        return self.unravel(require(concentrations, valid, f"{name} must be positive and finite."))

    def concentrations(self, point: Natural) -> Float[Array, " {self.dim}"]:
        r"""The concentrations $\alpha$ of a natural point."""
        self.check_single(point)
        return point.values

    def mean(self, point: Natural) -> Float[Array, " {self.dim}"]:
        """The expected observation of a natural point."""
        return self.concentrations(point) / jnp.sum(self.concentrations(point))

    def covariance(self, point: Natural) -> Float[Array, "{self.dim} {self.dim}"]:
        """The covariance of the observation, a singular matrix: its rows sum to zero."""
        return indicator_covariance(self.mean(point)) / (1 + jnp.sum(self.concentrations(point)))


def log_beta(concentrations: Float[Array, " n"]) -> Float[Array, ""]:
    r"""$\sum_k \log \Gamma(\alpha_k) - \log \Gamma(\sum_k \alpha_k)$, for large numbers, too.

    Mathematically, by Stirling's formula with its remainder $\delta$, it is
    $\sum_k (\alpha_k \log(\alpha_k / A) - \log(\alpha_k) / 2 + \delta(\alpha_k)) + \log(A) / 2 -
    \delta(A) + (n - 1) \log(2 \pi) / 2$ with $A = \sum_k \alpha_k$.
    """
    total = jnp.sum(concentrations)
    log_shares = -jnp.log1p(_sum_of_others(concentrations) / concentrations)
    terms = concentrations * log_shares - 0.5 * jnp.log(concentrations)
    constant = 0.5 * math.log(2 * math.pi) * (len(concentrations) - 1)
    whole = 0.5 * jnp.log(total) - _stirling_remainder(total) + constant
    return jnp.sum(terms + _stirling_remainder(concentrations)) + whole


def mean_logs(concentrations: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""$\mathrm{digamma}(\alpha_k) - \mathrm{digamma}(\sum_k \alpha_k)$, each to full precision."""
    return -digamma_difference(concentrations, _sum_of_others(concentrations))


def concentrations_of(family: Any, point: Mean, name: str) -> Float[Array, " n"]:
    """The concentrations of a mean point of a family whose means are `mean_logs`.

    **Arguments:**

    - `family`: the family of the point.
    - `point`: mean.
    - `name`: what must be less than one inside the mean domain, for the error.

    **Raises:** an error if the point is outside the mean domain, or so close to its boundary that
    rounding hides the solution.
    """
    means = values_inside(family, point, f"{name} must be less than one")
    found = solve_mean_logs(means)
    tolerance = jnp.finfo(means.dtype).eps ** 0.5 * jnp.abs(means)
    return require(
        found,
        jnp.all(jnp.abs(mean_logs(found) - means) <= tolerance),
        f"to_natural of {family} did not converge: the mean point is too close to the boundary of "
        "the mean domain. Mix it with that of a valid point, as pseudo-observations do.",
    )


@jax.custom_jvp
def solve_mean_logs(means: Float[Array, " n"]) -> Float[Array, " n"]:
    r"""The concentrations with these `mean_logs` $\eta$, where $\sum_k \exp \eta_k < 1$.

    Mathematically, with $A = \sum_k \alpha_k$, the concentrations
    $\alpha_k(A) = \mathrm{digamma}^{-1}(\eta_k + \mathrm{digamma}(A))$ must sum to $A$. Their sum
    over $A$ is an increasing concave function of $u = 1 / A$, from $\sum_k \exp \eta_k$ at $u = 0$,
    so that Newton's method in $u$ from the left increases to the root. Last steps in all
    concentrations remove what rounding left.

    **Source:** Minka, Estimating a Dirichlet distribution (2000), for the inverse of the digamma
    function, and the Fisher metric as a diagonal matrix and one of rank one.
    """

    def polish(_: Any, found: Array) -> Array:
        moved = found + _solve_fisher(found, means - mean_logs(found))
        return jnp.where(jnp.all(jnp.isfinite(moved) & (moved > 0)), moved, found)

    inverse = jax.lax.fori_loop(
        0, TOTAL_STEPS, lambda _, inverse: _newton_step(means, inverse), _inverse_start(means)
    )
    found = _inverse_digamma(means + digamma(1 / inverse))
    return jax.lax.fori_loop(0, POLISH_STEPS, polish, found)


@solve_mean_logs.defjvp
def _(primals: Any, tangents: Any) -> Any:
    found = solve_mean_logs(*primals)
    return found, _solve_fisher(found, tangents[0])


def _inverse_start(means: Float[Array, " n"]) -> Float[Array, ""]:
    r"""A first $u = 1 / A$ for Newton's method.

    For small concentrations, where $\mathrm{digamma}(x) \approx -1 / x$, the equation is
    $\sum_k 1 / (1 - A \eta_k) = 1$. Bounding all terms but that of the largest mean by
    $-1 / A \eta_k$ gives a $u$ left of the root and within a factor of 1.7. Otherwise it is the
    first step from $u = 0$, where the slope is $(n - \sum_k \exp \eta_k) / 2$.
    """
    log_share = jax.nn.logsumexp(means)
    others = jnp.arange(len(means)) != jnp.argmax(means)
    rest = -jnp.sum(jnp.where(others, 1 / means, 0))
    bound = rest / 2 + jnp.sqrt(rest**2 / 4 - rest / jnp.max(means))
    first = -2 * jnp.expm1(log_share) / (len(means) - jnp.exp(log_share))
    return jnp.where(bound < SMALL_TOTAL, 1 / bound, first)


def _newton_step(means: Float[Array, " n"], inverse: Float[Array, ""]) -> Float[Array, ""]:
    r"""A step in $u = 1 / A$ for the sum of the concentrations over $A$, less one, to be zero.

    Of a share near one, only its distance $-\eta_k / A\,\mathrm{trigamma}(A)$ from one is accurate;
    its slope is exact in the limits of small and large $A$.
    """
    total = 1 / inverse
    found = _inverse_digamma(means + digamma(total))
    both = jnp.append(found, total)
    gaps, (inverses, widths) = log_minus_digamma(both), _trigamma_parts(both)
    stretch = widths[-1] / inverses[-1]
    accurate = means + gaps[:-1] - gaps[-1]
    log_shares = jnp.where(found > 1, accurate, jnp.log(found) - jnp.log(total))
    largest = jnp.arange(len(means)) == jnp.argmax(means)
    terms = jnp.where(largest, jnp.expm1(log_shares), jnp.exp(log_shares))
    slopes = widths[:-1] - stretch * inverses[:-1]
    near_one = -means < jnp.finfo(means.dtype).eps ** 0.5
    distance = -means / (1 + stretch)
    terms = jnp.where(near_one, -distance, terms)
    slopes = jnp.where(near_one, distance * widths[-1], slopes)
    moved = inverse - jnp.sum(terms) / jnp.sum(slopes)
    return jnp.where(jnp.isfinite(moved) & (moved > 0), moved, inverse)


def _solve_fisher(concentrations: Float[Array, " n"], vector: Float[Array, " n"]) -> Array:
    """The inverse of the Fisher metric times a vector, by the formula of Sherman and Morrison."""
    total = jnp.sum(concentrations)
    inverses, widths = _trigamma_parts(jnp.append(concentrations, total))
    product = inverses[:-1] * vector
    small = inverses[-1] - jnp.sum(inverses[:-1])
    large = jnp.sum(widths[:-1]) - widths[-1]
    return product + inverses[:-1] * (jnp.sum(product) / jnp.where(total < 1, small, large))


def _trigamma_parts(x: Float[Array, " n"]) -> tuple[Float[Array, " n"], Float[Array, " n"]]:
    """`1 / trigamma(x)` and what it lacks to x, neither with cancellation.

    The first is from the square of small numbers to `x - 1/2`, the second from x to 1/2.
    """
    stretch = -x * log_minus_digamma_slope(x)
    inverse = x / (1 + stretch)
    return inverse, stretch * inverse


def _inverse_digamma(y: Float[Array, " n"]) -> Float[Array, " n"]:
    """Newton's method from Minka's start, which is close to either asymptote."""
    large = jnp.maximum(y, -2.22)
    start = jnp.where(y >= -2.22, jnp.exp(large) + 0.5, -1 / (jnp.minimum(y, -2.22) + 0.5772))

    def step(_: Any, x: Array) -> Array:
        return x - (digamma(x) - y) * _trigamma_parts(x)[0]

    return jax.lax.fori_loop(0, INVERSE_STEPS, step, start)


def _stirling_remainder(x: Float[Array, "*shape"]) -> Float[Array, "*shape"]:
    """The log gamma function minus Stirling's formula; DLMF 5.11.1 for large numbers."""
    large, small = jnp.maximum(x, LARGE), jnp.minimum(x, LARGE)
    series = inverse_powers(STIRLING, 1 / large**2) / large
    formula = (small - 0.5) * jnp.log(small) - small + 0.5 * math.log(2 * math.pi)
    return jnp.where(x > LARGE, series, gammaln(small) - formula)


def _sum_of_others(x: Float[Array, " n"]) -> Float[Array, " n"]:
    """For each entry the sum of the others, without subtraction."""
    zero = jnp.zeros(1, x.dtype)
    before = jnp.concatenate([zero, jnp.cumsum(x)[:-1]])
    after = jnp.concatenate([jnp.cumsum(x[::-1])[:-1][::-1], zero])
    return before + after


@describe_support.register
def _(family: Dirichlet) -> str:
    return "shares are positive and sum to 1"
