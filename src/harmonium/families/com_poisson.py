"""The Conway-Maxwell-Poisson distribution."""

import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import positive_number, require
from harmonium.exponential_family.vector import Univariate
from harmonium.geometry.point import Coordinates, Mean, Natural

N_NODES = 2048
TAIL = 1e-12  # of the probability may be outside the window
N_TABLE = 16  # factorials below this one come from a table
LEAST_DISPERSION = 0.1  # of starts: the window holds all modes for this and larger ones
MAX_EVALUATIONS = 100  # of the numerical dual; about six are needed
IMPROVING_EVALUATIONS = 8


class CoMPoisson(Univariate):
    r"""Counts $0, 1, \dots$ with any dispersion: the Conway-Maxwell-Poisson distribution.

    $p(x) = \exp(\theta_1 x + \theta_2 \log x! - \psi(\theta))$, that is $p(x) \propto
    (\mu^x / x!)^\nu$, with $s(x) = (x, \log x!)$ and $\theta = (\nu \log \mu, -\nu)$, where
    $\mu > 0$ is the mode parameter (the mode is $\lfloor \mu \rfloor$) and $\nu > 0$ the
    dispersion: one for the Poisson distribution, more for less variance. With $\nu$ near 0 it is
    nearly geometric. Scipy has no such distribution.

    **Log partition function:** the sum over a window of 2048 counts: $0, \dots, 2047$, or from a
    later $a$ if the mode is above 1039. Ratios of successive terms are $(\mu / x)^\nu$, so that the
    terms beyond the last count $b$ sum to $t_b\, r / (1 - r)$ at most with
    $r = (\mu / (b + 1/2))^\nu$, and those before the first to $t_a\, r / (1 - r)$ at most with
    $r = ((a + 1) / \mu)^\nu$. Where both bounds are not below $10^{-12}$ of the whole, `admits`
    says no, and the log partition function and the mean are NaN. All $\nu \geq 0.1$ are admitted
    (until $\nu \mu \log \mu$ times the rounding unit is 0.1), and any $\nu > 0$ for means below 70.
    For standard deviations above 100 the nodes are at distances $h > 1$, with log-gamma
    functions for factorials: the relative error is near $2 \exp(-2 \pi^2 \mu / \nu h^2)$, zero
    in floating point (Trefethen and Weideman, SIAM Review 56 (2014), theorem 5.1).

    **Mean domain:** $\eta_1 > 0$ and $L(\eta_1) < \eta_2 < G(\eta_1)$. $L$ is the piecewise linear
    interpolation of $\log n!$, attained as $\nu \to \infty$ by one or two neighbouring counts, and
    $G(m) = \sum_n \log(n) (m / (1 + m))^n$ that of the geometric distribution, attained as $\nu
    \to 0$: counts with more dispersion have no maximum likelihood estimate in this family, and
    `to_natural` raises an error. `improve` takes a few ascending steps, and so never fails.

    **Source:** Shmueli, Minka, Kadane, Borle and Boatwright, Applied Statistics 54 (2005), 127-142;
    the mode parameter is that of Guikema and Goffelt, Risk Analysis 28 (2008), 213-223.
    """

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def observation(self) -> Any:
        """An integer."""
        return jax.ShapeDtypeStruct((), int)

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return x >= 0

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.asarray(x, float), gammaln(jnp.asarray(x, float) + 1)])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return _summarise(point.values).log_partition

    def to_mean(self, point: Natural) -> Mean:
        self.check_single(point)
        return self.log_partition_and_mean(point)[1]

    def log_partition_and_mean(self, point: Natural) -> tuple[Float[Array, ""], Mean]:
        summary = _summarise(point.values)
        return summary.log_partition, self.unravel(summary.mean, Coordinates.MEAN)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.isfinite(_summarise(point.values).log_partition)

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        self.check_single(point, start)
        origin = _approximate(point.values) if start is None else start.values
        fixed = jax.lax.stop_gradient((point.values, origin))
        natural, converged = _ascend(MAX_EVALUATIONS, *fixed)
        natural = require(
            natural,
            converged & self.admits_mean(point),
            f"to_natural of {self} did not converge: the mean point is outside the mean domain or "
            "close to its boundary. Mix it with the mean of a valid point if counts are constant; "
            "take a negative binomial if they are more dispersed than geometric ones.",
        )
        return self.unravel(_attach(natural, point.values))

    def improve(self, point: Mean, start: Natural) -> Natural:
        self.check_single(point, start)
        return self.unravel(_ascend(IMPROVING_EVALUATIONS, point.values, start.values)[0])

    @property
    def is_exact(self) -> bool:
        """No: counts may be more dispersed than the family can be."""
        return False

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        count, log_factorial = point.values
        floor = jnp.floor(count)
        low = gammaln(floor + 1) + (count - floor) * jnp.log(floor + 1)
        inside = (low < log_factorial) & (log_factorial < _geometric_log_factorial(count))
        return (count > 0) & inside

    def natural_start(self, point: Mean) -> Natural:
        return self.unravel(_approximate(point.values))

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return _sample(key, point.values, self.log_partition_function(point))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """A mode and a dispersion around one."""
        return self.typical(key, jnp.ones(1, int))

    def typical(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """A mode around the average count, and a dispersion around one."""
        noise = jax.random.normal(key, (2,)) / 2
        level = jnp.log(jnp.mean(jnp.asarray(xs, float)) + 0.1)
        dispersion = jnp.maximum(jnp.exp(noise[1]), LEAST_DISPERSION)
        return self.unravel(jnp.stack([dispersion * (level + noise[0]), -dispersion]))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """As for other families, but approximately, so that any dispersion will do."""
        xs = self.check_data(xs)
        average = self.average_sufficient_statistic(xs)
        return self.natural_start(average * 0.9 + self.to_mean(self.typical(key, xs)) * 0.1)

    def from_mode_dispersion(self, mode: Any, dispersion: Any) -> Natural:
        r"""The natural point with this mode parameter and dispersion.

        **Arguments:**

        - `mode`: $\mu$, a positive number; $\lambda = \mu^\nu$ in other parametrisations.
        - `dispersion`: $\nu$, a positive number.

        **Raises:** an error if one is not positive and finite, or if `admits` says no.
        """
        mode = positive_number(mode, f"the mode of {self}")
        dispersion = positive_number(dispersion, f"the dispersion of {self}").astype(mode.dtype)
        point = self.unravel(jnp.stack([dispersion * jnp.log(mode), -dispersion]))
        return require(
            point,
            self.admits(point),
            f"the log partition function of {self} can't be summed for a dispersion so small at "
            "such a mode. Take 0.1 or more.",
        )

    def mode(self, point: Natural) -> Float[Array, ""]:
        r"""The mode parameter $\mu$ of a natural point; its floor is the most probable count."""
        self.check_single(point)
        return jnp.exp(-point.values[0] / point.values[1])

    def dispersion(self, point: Natural) -> Float[Array, ""]:
        r"""The dispersion $\nu$ of a natural point, one for the Poisson distribution."""
        self.check_single(point)
        return -point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.to_mean(point).values[0]

    def variance(self, point: Natural) -> Float[Array, ""]:
        self.check_single(point)
        summary = _summarise(point.values)
        return summary.probabilities @ summary.counts**2


LOG_TWO = math.log(2)
LOG_ROOT = 0.5 * math.log(2 * math.pi)
LOG_FACTORIALS = np.array([math.lgamma(n + 1.0) for n in range(N_TABLE)])
STIRLING = (1 / 12, -1 / 360, 1 / 1260, -1 / 1680, 1 / 1188)


def _series(x: Float[Array, "*n"]) -> Float[Array, "*n"]:
    r"""$\log x!$ less Stirling's formula, for $x \geq 16$: DLMF 5.11.1, to 2e-16."""
    inverse = 1 / x
    return jnp.polyval(jnp.asarray(STIRLING[::-1], x.dtype), inverse**2, unroll=8) * inverse


class _Window(eqx.Module):
    """Nodes whose sums stand for those over all counts.

    **Fields:** the statistics of the nodes less those of the pivot, which rounds less; the spacing,
    and whether there are such nodes at all.
    """

    pivot: Float[Array, "2"]
    counts: Float[Array, " n"]
    logs: Float[Array, " n"]
    spacing: Float[Array, ""]
    fits: Bool[Array, ""]


def _window(values: Float[Array, "2"]) -> _Window:
    """The window of a natural point.

    It does not follow derivatives: sums over any nodes that will do are equal.
    """
    theta = jax.lax.stop_gradient(values)
    dispersion = jnp.where(theta[1] < 0, -theta[1], 1)
    limit = 0.5 * math.log(jnp.finfo(theta.dtype).max)
    log_mode = jnp.clip(theta[0] / dispersion, -limit, limit)
    mode = jnp.exp(log_mode)
    spacing = jnp.maximum(20 * jnp.sqrt(mode / dispersion) / N_NODES, 1)
    first = jnp.floor(mode - N_NODES // 2 * spacing)
    exact = jnp.finfo(theta.dtype).eps * dispersion * (1 + mode) * (1 + jnp.abs(log_mode)) < 0.1
    fits = (theta[1] < 0) & exact & ((spacing == 1) | (first >= N_TABLE))
    places = np.arange(N_NODES)
    nodes = jnp.where(first < N_TABLE, 0, first) + spacing * jnp.asarray(places, theta.dtype)
    # Stirling's formula of x! / c! for the pivot c, which is the mode, or zero if that is small.
    centre = jnp.where(mode < N_TABLE, 1, mode)
    pivot = jnp.where(mode < N_TABLE, 0, mode)
    constant = jnp.where(mode < N_TABLE, 1 - LOG_ROOT, _series(centre))
    log_pivot = (centre + 0.5) * jnp.log(centre) - centre + LOG_ROOT + constant
    large = jnp.maximum(nodes, N_TABLE)
    logs = (large + 0.5) * jnp.log(large / centre) + (large - centre) * (jnp.log(centre) - 1)
    table = jnp.asarray(LOG_FACTORIALS[np.minimum(places, N_TABLE - 1)], theta.dtype) - log_pivot
    logs = jnp.where(nodes < N_TABLE, table, logs + _series(large) - constant)
    return _Window(jnp.stack([pivot, log_pivot]), nodes - pivot, logs, spacing, fits)


class _Summary(eqx.Module):
    r"""The log partition function, less $\theta \cdot s$ of the pivot and as it is, and the mean.

    NaN where the window is not justified. Then the nodes' probabilities and centred statistics.
    """

    relative: Float[Array, ""]
    log_partition: Float[Array, ""]
    pivot: Float[Array, "2"]
    mean: Float[Array, "2"]
    probabilities: Float[Array, " n"]
    counts: Float[Array, " n"]
    logs: Float[Array, " n"]


def _summarise(values: Float[Array, "2"]) -> _Summary:
    window = _window(values)
    # Sums, not matrix products: compilers fuse them with the formulas of the nodes.
    terms = values[0] * window.counts + values[1] * window.logs
    top = jax.lax.stop_gradient(jnp.max(terms))
    weights = jnp.exp(terms - top)
    total = jnp.sum(weights)
    log_total = top + jnp.log(total)
    averages = [jnp.sum(weights * window.counts) / total, jnp.sum(weights * window.logs) / total]
    tail = _log_tail(values, window, terms[jnp.asarray([0, -1])] - log_total)
    valid = window.fits & (tail < math.log(TAIL / 2))
    relative = jnp.where(valid, log_total + jnp.log(window.spacing), jnp.nan)
    return _Summary(
        relative,
        relative + values @ window.pivot,
        window.pivot,
        jnp.where(valid, window.pivot + jnp.stack(averages), jnp.nan),
        jnp.where(valid, weights / total, jnp.nan),
        window.counts - averages[0],
        window.logs - averages[1],
    )


def _log_tail(
    values: Float[Array, "2"], window: _Window, log_ends: Float[Array, "2"]
) -> Float[Array, ""]:
    """The log of the larger bound of the probabilities outside the window, see the class."""
    first, last = window.pivot[0] + window.counts[jnp.asarray([0, -1])]
    lower_log_ratio = -window.spacing * (values[0] + values[1] * jnp.log(first + 1))
    upper_log_ratio = window.spacing * (values[0] + values[1] * jnp.log(last + 0.5))

    def bound(log_end: Array, log_ratio: Array) -> Array:
        remainder = -jnp.expm1(jnp.minimum(log_ratio, -1e-30))
        return jnp.where(log_ratio < 0, log_end + log_ratio - jnp.log(remainder), jnp.inf)

    lower = jnp.where(first > 0, bound(log_ends[0], lower_log_ratio), -jnp.inf)
    return jax.lax.stop_gradient(jnp.maximum(lower, bound(log_ends[1], upper_log_ratio)))


# The derivatives of the zeta function at 0, -1, ..., -4, over the factorials of 0, 1, ..., 4.
ZETA_SLOPES = np.array(
    [-0.9189385332046727, -0.1654211437004509, -0.0304484570583933, 0.0053785763577743, 0.00798381]
) / np.array([1, 1, 2, 6, 24])


def _geometric_log_factorial(count: Float[Array, ""]) -> Float[Array, ""]:
    r"""The mean log factorial of a geometric count with this mean.

    It is $\sum_n \log(n) q^n$, minus the derivative of the polylogarithm $\mathrm{Li}_s(q)$ at
    $s = 0$: summed up to a mean of 50, and by DLMF 25.12.12 in powers of $-\log q < 0.02$ beyond.
    """
    numbers = np.arange(2, N_NODES)
    count = jnp.maximum(count, 0)
    powers = jnp.exp(-jnp.asarray(numbers, count.dtype) * jnp.log1p(1 / jnp.minimum(count, 50)))
    summed = jnp.asarray(np.log(numbers), count.dtype) @ powers
    decay = jnp.log1p(1 / jnp.maximum(count, 50))
    series = jnp.polyval(jnp.asarray(ZETA_SLOPES[::-1], count.dtype), -decay, unroll=8)
    expanded = -(np.euler_gamma + jnp.log(decay)) / decay - series
    return jnp.where(count < 50, summed, expanded)


def _approximate(mean: Float[Array, "2"]) -> Float[Array, "2"]:
    r"""A natural point whose mean is roughly this one, with a dispersion of 0.1 at least.

    Below one, as if no count exceeded two. Elsewhere with $\eta_1 = \mu + 1 / (2 \nu) - 1 / 2$
    and a variance of $\mu / \nu$ (Shmueli et al. 2005), so that
    $\eta_2 - \log\Gamma(\eta_1 + 1) = 1 / (2 \nu)$.
    """
    count, log_factorial = jnp.maximum(mean, jnp.finfo(mean.dtype).tiny ** 0.5)
    excess = log_factorial - gammaln(count + 1)
    dispersion = jnp.maximum(0.5 / jnp.maximum(excess, 0.25 / (1 + count)), LEAST_DISPERSION)
    over = (dispersion - 1) * jnp.log1p(count) + jnp.log(count)
    under = dispersion * jnp.log(jnp.maximum(count + 0.5 - 0.5 / dispersion, count))
    large = jnp.stack([jnp.where(dispersion < 1, over, under), -dispersion])
    two = log_factorial / LOG_TWO
    one, none = count - 2 * two, 1 - count + two
    safe_one, safe_none = jnp.where(one > 0, one, 1), jnp.where(none > 0, none, 1)
    slope = jnp.log(safe_one) - jnp.log(safe_none)
    small_dispersion = (2 * slope - jnp.log(two) + jnp.log(safe_none)) / LOG_TWO
    small = jnp.stack([slope, -jnp.maximum(small_dispersion, LEAST_DISPERSION)])
    few = (one > 0) & (none > 0) & (count < 1) & (small_dispersion > 1)
    return jnp.where(few, small, large)


class _Ascent(eqx.Module):
    """The best point so far, its Newton direction and decrement, and what to try next."""

    values: Float[Array, "2"]
    objective: Float[Array, ""]
    direction: Float[Array, "2"]
    decrement: Float[Array, ""]
    rate: Float[Array, ""]
    finished: Bool[Array, ""]
    evaluations: Int[Array, ""]


def _ascend(
    max_evaluations: int, target: Float[Array, "2"], start: Float[Array, "2"]
) -> tuple[Float[Array, "2"], Bool[Array, ""]]:
    r"""The maximum of $\theta \cdot \eta - \psi(\theta)$ by damped Newton steps, and if it is one.

    Each iteration is one pass over a window, which gives the objective and the next direction. It
    ends when decrements are as small as rounding allows, and never descends.

    **Source:** Boyd and Vandenberghe, Convex Optimization (2004), section 9.5.
    """
    eps = float(jnp.finfo(target.dtype).eps)

    def evaluate(values: Array) -> tuple:
        summary = _summarise(values)
        residual = target - summary.mean
        direction = _solve_fisher(summary, residual)
        objective = values @ (target - summary.pivot) - summary.relative
        return objective, direction, jnp.sqrt(jnp.maximum(residual @ direction, 0))

    def step(state: _Ascent) -> _Ascent:
        values = state.values + state.rate * state.direction
        objective, direction, decrement = evaluate(values)
        floor = 10 * eps * (1 + jnp.abs(values) @ jnp.abs(target))
        rises = objective >= state.objective + 1e-4 * state.rate * state.decrement**2 - floor
        good = rises & jnp.all(jnp.isfinite(direction)) & jnp.isfinite(decrement)
        stuck = (state.decrement < eps**0.4) & (decrement > state.decrement / 4)
        settled = stuck | ((decrement < eps**0.6) & (state.evaluations > 1))
        count, full = state.evaluations + 1, jnp.ones_like(decrement)
        moved = _Ascent(values, objective, direction, decrement, full, settled, count)
        kept = eqx.tree_at(lambda s: (s.rate, s.evaluations), state, (state.rate / 4, count))
        return jax.tree.map(lambda a, b: jnp.where(good, a, b), moved, kept)

    def unfinished(state: _Ascent) -> Bool[Array, ""]:
        return ~state.finished & (state.evaluations < max_evaluations) & (state.rate > 1e-12)

    objective, direction, decrement = evaluate(start)
    full, never, zero = jnp.ones_like(decrement), jnp.asarray(False), jnp.asarray(0)
    first = _Ascent(start, objective, direction, decrement, full, never, zero)
    final = jax.lax.while_loop(unfinished, step, first)
    converged = final.decrement < eps**0.4
    return final.values + jnp.where(converged, final.direction, 0), converged


def _solve_fisher(summary: _Summary, vector: Float[Array, "2"]) -> Float[Array, "2"]:
    """The inverse Fisher information times a vector, by regression of log factorials on counts.

    The two are nearly collinear, so what is left of the log factorials is computed from its values.
    """
    probabilities, counts, logs = summary.probabilities, summary.counts, summary.logs
    variance = jnp.sum(probabilities * counts**2)
    slope = jnp.sum(probabilities * counts * logs) / variance
    left = jnp.sum(probabilities * (logs - slope * counts) ** 2)
    rest = (vector[1] - slope * vector[0]) / left
    return jnp.stack([vector[0] / variance - slope * rest, rest])


@jax.custom_jvp
def _attach(natural: Float[Array, "2"], mean: Float[Array, "2"]) -> Float[Array, "2"]:
    """The natural point itself, with the derivatives of the implicit function of the mean."""
    return natural


@_attach.defjvp
def _(primals: Any, tangents: Any) -> Any:
    natural = _attach(*primals)
    return natural, _solve_fisher(_summarise(natural), tangents[1])


def _sample(
    key: PRNGKeyArray, values: Float[Array, "2"], log_partition: Float[Array, ""]
) -> Int[Array, ""]:
    """A count, by rejection from a universal envelope of discrete log-concave distributions.

    With p the probability of the mode m, that of m + x is at most p min(1, exp(1 - p |x|)), the
    envelope, rounded to integers. Five proposals are expected at most. Points outside the
    natural domain give -1.

    **Source:** Devroye, Computing 39 (1987), 87-91, the first algorithm.
    """
    mode = jnp.floor(jnp.exp(-values[0] / values[1]))

    def log_probability(x: Array) -> Array:
        return values[0] * x + values[1] * gammaln(jnp.maximum(x, 0) + 1) - log_partition

    log_top = log_probability(mode)
    top = jnp.exp(log_top)
    flat_width = 1 + top / 2

    def propose(state: tuple) -> tuple:
        key, kind_key, place_key, height_key, sign_key = jax.random.split(state[0], 5)
        flat = jax.random.uniform(kind_key, (), values.dtype) * (1 + flat_width) <= flat_width
        place = jax.random.uniform(place_key, (), values.dtype)  # 1 - place is not zero
        distance = jnp.where(flat, place * flat_width, flat_width - jnp.log1p(-place)) / top
        count = mode + jax.random.rademacher(sign_key, (), values.dtype) * jnp.round(distance)
        log_envelope = jnp.minimum(0, flat_width - top * distance)
        log_height = log_envelope - jax.random.exponential(height_key, (), values.dtype)
        log_ratio = jnp.where(count >= 0, log_probability(count) - log_top, -jnp.inf)
        return key, count, log_height > log_ratio  # NaN is not rejected for ever

    state = jax.lax.while_loop(lambda s: s[2], propose, (key, mode, jnp.asarray(True)))
    return jnp.where(jnp.isnan(log_partition), -1, state[1]).astype(int)
