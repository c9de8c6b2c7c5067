"""Densities of one or two real numbers, and probabilities of counts."""

import math
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.axes import Axes

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.point import Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.plot.canvas import SEQUENTIAL, color_of, get_axes

CURVE_POINTS, GRID_POINTS = 400, 160
N_SAMPLES = 2000


def density(
    model: Differentiable,
    params: Natural,
    ax: Axes | None = None,
    *,
    xlim: Any = None,
    ylim: Any = None,
    levels: Any = 8,
    color: Any = None,
    filled: bool = True,
    label: str | None = None,
) -> Axes:
    """The density of one real number as a curve, of two as contours; probabilities of a count.

    **Arguments:**

    - `model`: a family or a conjugated harmonium that observes one or two real numbers, or a count.
        Of harmoniums this is the marginal density of what is observed.
    - `params`: natural.
    - `ax`: the axes to draw into, those of a new figure by default.
    - `xlim`, `ylim`: the limits, pairs of numbers, by default what holds nearly all samples of the
        model. `ylim` is that of the second number.
    - `levels`: of contours, a number n of them, which divide the probability in the picture into
        n + 1 equal shares, or densities in ascending order.
    - `color`: of the curve or of contour lines.
    - `filled`: whether contours are filled.
    - `label`: what a legend calls it.

    **Returns:** the axes.

    **Raises:** `TypeError` for other observations, with what can be drawn instead, `ValueError` for
    bad limits and levels.
    """
    model.check_single(params)
    kind, size = _kind(model)
    _check_limits(xlim, ylim)
    _check_levels(levels)
    ax = get_axes(ax)
    if kind == "count":
        return _draw_counts(model, params, ax, xlim, color, label)
    if xlim is None or (size == 2 and ylim is None):
        samples = _columns(_sample(model, params, N_SAMPLES))
        xlim = _limits(samples[:, 0]) if xlim is None else xlim
        ylim = _limits(samples[:, -1]) if ylim is None and size == 2 else ylim
    if size == 1:
        xs = np.linspace(*xlim, num=CURVE_POINTS)
        heights = _densities(model, params, _observations(model, xs[:, None]))
        lines = ax.plot(xs, heights, color=_color(ax, color), lw=2, label=label)
        ax.set(xlabel="x", ylabel="density p(x)")
        return _from_zero(ax, lines)
    return _draw_contours(model, params, ax, xlim, ylim, levels, color, filled, label)


def _draw_contours(
    model: Any,
    params: Natural,
    ax: Axes,
    xlim: Any,
    ylim: Any,
    levels: Any,
    color: Any,
    filled: bool,
    label: str | None,
) -> Axes:
    axes = np.linspace(*xlim, num=GRID_POINTS), np.linspace(*ylim, num=GRID_POINTS)
    grid = np.stack(np.meshgrid(*axes), axis=-1)
    found = _densities(model, params, _observations(model, grid.reshape(-1, 2)))
    heights = np.asarray(found).reshape(grid.shape[:2])
    if isinstance(levels, int):
        levels = _share_levels(heights, levels)
    if filled:
        bounds = [*levels, max(heights.max(), np.nextafter(levels[-1], math.inf))]
        ax.contourf(*axes, heights, bounds, cmap=SEQUENTIAL)
    if color is None:
        color = "0.35" if filled else _color(ax, None)
    ax.contour(*axes, heights, levels, colors=[color], linewidths=0.8 if filled else 1.3)
    if label is not None:
        ax.plot([], [], color=color, label=label)  # contours have no entry in legends
    ax.set(xlabel="x₁", ylabel="x₂")
    return ax


def _share_levels(heights: np.ndarray, n_levels: int) -> np.ndarray:
    """Densities above which lie 1, ..., n of n + 1 equal shares of the probability, ascending."""
    ordered = np.sort(heights.ravel())[::-1]
    shares = np.cumsum(ordered) / np.sum(ordered)
    wanted = np.arange(n_levels, 0, -1) / (n_levels + 1)
    return np.unique(ordered[np.searchsorted(shares, wanted)])


def _draw_counts(
    model: Any, params: Natural, ax: Axes, xlim: Any, color: Any, label: str | None
) -> Axes:
    if xlim is None:
        samples = _columns(_sample(model, params, N_SAMPLES))
        xlim = samples.min(), samples.max()
    counts = np.arange(math.ceil(xlim[0]), math.floor(xlim[1]) + 1)
    heights = np.asarray(_densities(model, params, _observations(model, counts[:, None])))
    inside = heights > 0  # the others are outside of the support
    color = _color(ax, color)
    style = {"color": color, "lw": 1, "ms": 4.5, "label": label}
    lines = ax.plot(counts[inside], heights[inside], "o-", **style)
    ax.set(xlabel="x (count)", ylabel="probability p(x)")
    return _from_zero(ax, lines)


def _from_zero(ax: Axes, lines: Any) -> Axes:
    """The axes, whose vertical one begins at zero and still follows what is drawn later."""
    for line in lines:
        line.sticky_edges.y.append(0)
    ax.update_datalim([(lines[0].get_xdata()[0], 0)])
    ax.autoscale_view()
    return ax


def _check_limits(*limits: Any) -> None:
    for pair in limits:
        if pair is not None and not (np.shape(pair) == (2,) and -math.inf < pair[0] < pair[1]):
            raise ValueError(f"limits are pairs of numbers, the lower one first, got {pair}.")


def _check_levels(levels: Any) -> None:
    given = np.arange(1, levels + 1) if isinstance(levels, int) else np.asarray(levels)
    if given.ndim != 1 or not len(given) or not given[0] > 0 or not np.all(np.diff(given) > 0):
        raise ValueError(f"levels are their number or ascending positive densities, got {levels}.")


def _color(ax: Axes, color: Any) -> Any:
    return color_of(len(ax.lines)) if color is None else color


def _kind(model: Any) -> tuple[str, int]:
    """Whether observations are real or counts, and how many numbers they have."""
    forms = jax.tree.leaves(model.data_man.observation)
    size = sum(math.prod(form.shape) for form in forms)
    real = [jnp.issubdtype(form.dtype, jnp.floating) for form in forms]
    if all(real) and size in (1, 2):
        return "real", size
    if not any(real) and size == 1:
        return "count", size
    raise TypeError(
        f"density draws one or two real numbers, or one count, but {model} observes "
        f"{size} numbers{'' if all(real) else ', not all of them real'}. Draw ellipses of normals, "
        "or the density of a part of the model."
    )


def _columns(samples: Any) -> np.ndarray:
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(samples)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _observations(model: Any, rows: np.ndarray) -> Any:
    """Observations of the model, whose numbers are the columns."""
    leaves, structure = jax.tree.flatten(model.data_man.observation)
    parts, start = [], 0
    for form in leaves:
        stop = start + math.prod(form.shape)
        parts.append(jnp.asarray(rows[:, start:stop].reshape(-1, *form.shape)))
        start = stop
    return structure.unflatten(parts)


def _limits(column: np.ndarray) -> tuple[float, float]:
    low, high = np.quantile(column, [0.005, 0.995])
    margin = 0.15 * (high - low)
    return low - margin, high + margin


@compiled
def _sample(model: Any, params: Natural, n_samples: int) -> Any:
    key = jax.random.key(0)
    if isinstance(model, Conjugated):
        return model.observable_sample(key, params, (n_samples,))
    return model.sample(key, params, (n_samples,))


@compiled
def _densities(model: Any, params: Natural, xs: Any) -> Float[Array, " n"]:
    if isinstance(model, Conjugated):
        return jnp.exp(model.log_observable_densities(params, xs))
    return jnp.exp(jax.vmap(lambda x: model.log_density(params, x))(xs))
