"""Sums over all counts, for the Conway-Maxwell-Poisson distribution, and the ascent on them."""

import functools
import math
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int

N_NODES = 2048
TAIL = 1e-12  # of the probability may be outside the window
N_TABLE = 16  # factorials below this one come from a table
LEAST_DISPERSION = 0.1  # of starts: the window holds all modes for this and larger ones
LIMIT = 1e-6  # the least dispersion that the ascent looks at, which is geometric for its purpose
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


def summarise(values: Float[Array, "2"]) -> _Summary:
    """Log partition function, mean and window of a natural point, as `CoMPoisson` explains."""
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


def geometric_log_factorial(count: Float[Array, ""]) -> Float[Array, ""]:
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


def approximate(mean: Float[Array, "2"]) -> Float[Array, "2"]:
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
    """The best point so far, where to go from it, its Newton decrement, and what to try next."""

    values: Float[Array, "2"]
    objective: Float[Array, ""]
    direction: Float[Array, "2"]
    slope: Float[Array, ""]
    decrement: Float[Array, ""]
    rate: Float[Array, ""]
    finished: Bool[Array, ""]
    evaluations: Int[Array, ""]


@functools.partial(jax.jit, static_argnums=0)
def ascend(
    max_evaluations: int, target: Float[Array, "2"], start: Float[Array, "2"]
) -> tuple[Float[Array, "2"], Bool[Array, ""]]:
    r"""The maximum of $\theta \cdot \eta - \psi(\theta)$ by damped Newton steps, and if it is one.

    Each iteration is one pass over a window, which gives the objective and the next direction. It
    ends when decrements are as small as rounding allows, and never descends. Steps end at the
    dispersion `LIMIT` at the latest, where the count's parameter alone goes on.

    **Source:** Boyd and Vandenberghe, Convex Optimization (2004), section 9.5.
    """
    eps = float(jnp.finfo(target.dtype).eps)

    def evaluate(values: Array) -> tuple:
        summary = summarise(values)
        residual = target - summary.mean
        newton = _solve_fisher(summary, residual)
        gap, variance = -LIMIT - values[1], summary.probabilities @ summary.counts**2
        ahead = jnp.where(newton[1] > gap, gap / newton[1], 1)
        along = jnp.stack([residual[0] / variance, jnp.zeros_like(gap)])
        direction = jnp.where((gap < LIMIT) & (newton[1] > 0), along, newton * ahead)
        objective = values @ (target - summary.pivot) - summary.relative
        decrement = jnp.sqrt(jnp.maximum(residual @ newton, 0))
        return objective, direction, residual @ direction, decrement

    def step(state: _Ascent) -> _Ascent:
        values = state.values + state.rate * state.direction
        objective, direction, slope, decrement = evaluate(values)
        floor = 10 * eps * (1 + jnp.abs(values) @ jnp.abs(target))
        rises = objective >= state.objective + 1e-4 * state.rate * state.slope - floor
        good = rises & jnp.all(jnp.isfinite(direction)) & jnp.isfinite(decrement)
        stuck = (state.decrement < eps**0.4) & (decrement > state.decrement / 4)
        settled = stuck | ((decrement < eps**0.6) & (state.evaluations > 1))
        count, full = state.evaluations + 1, jnp.ones_like(decrement)
        moved = _Ascent(values, objective, direction, slope, decrement, full, settled, count)
        kept = eqx.tree_at(lambda s: (s.rate, s.evaluations), state, (state.rate / 4, count))
        return jax.tree.map(lambda a, b: jnp.where(good, a, b), moved, kept)

    def unfinished(state: _Ascent) -> Bool[Array, ""]:
        return ~state.finished & (state.evaluations < max_evaluations) & (state.rate > 1e-12)

    objective, direction, slope, decrement = evaluate(start)
    full, never, zero = jnp.ones_like(slope), jnp.asarray(False), jnp.asarray(0)
    first = _Ascent(start, objective, direction, slope, decrement, full, never, zero)
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
def attach(natural: Float[Array, "2"], mean: Float[Array, "2"]) -> Float[Array, "2"]:
    """The natural point itself, with the derivatives of the implicit function of the mean."""
    return natural


@attach.defjvp
def _(primals: Any, tangents: Any) -> Any:
    natural = attach(*primals)
    return natural, _solve_fisher(summarise(natural), tangents[1])
