"""The evidence of data, and its derivatives: what expectations of statistics are made of."""

from collections.abc import Callable
from typing import Any

import jax
from jaxtyping import Array, Float

from harmonium.exponential_family.chunks import sum_chunks
from harmonium.geometry.point import Mean, Natural, relabel


def is_whole(x: Any, observed: Any) -> bool:
    """Whether all of an observation is observed, as far as its structure tells.

    **Arguments:**

    - `x`: an observation, in which `None` stands for parts that are hidden.
    - `observed`: a mask, or `None`.
    """
    leaves = jax.tree.leaves(x, is_leaf=lambda leaf: leaf is None)
    return observed is None and not any(leaf is None for leaf in leaves)


def value_and_mean(
    function: Callable[[Natural], Float[Array, ""]], point: Natural
) -> tuple[Float[Array, ""], Mean]:
    """A function of natural parameters, and its gradient as the mean point that it is."""
    value, gradient = jax.value_and_grad(function)(point)
    return value, relabel(gradient)


def expected_statistics(
    total: Callable[..., Float[Array, ""]], point: Natural, xs: Any, weights: Array, size: int
) -> tuple[Mean, Float[Array, ""]]:
    r"""A weighted sum of expected statistics of observations, and that of their evidence.

    Mathematically, $\sum_n w_n \nabla_\theta f(\theta, x_n)$ and $\sum_n w_n f(\theta, x_n)$ for
    the evidence $f$. One gradient of the sum: reverse mode makes matrix products of it, and no
    statistics of single observations.

    **Arguments:**

    - `total`: the weighted sum of the evidence, of a natural point, observations and weights.
    - `point`: natural.
    - `xs`: a batch of N observations.
    - `weights`: (N, ...).
    - `size`: how many observations are processed at once.
    """

    def chunk_sum(xs: Any, weights: Array) -> tuple[Mean, Array]:
        value, mean = value_and_mean(lambda p: total(p, xs, weights), point)
        return mean, value

    return sum_chunks(chunk_sum, xs, weights, size)


def sum_statistics(family: Any, xs: Any, weights: Float[Array, " n"]) -> Mean:
    r"""The weighted sum $\sum_n w_n s(x_n)$ of sufficient statistics of N observations."""
    origin = jax.tree.map(lambda leaf: leaf.astype(weights.dtype), family.zeros())
    energies = jax.vmap(family.energy, (None, 0))
    return value_and_mean(lambda p: weights @ energies(p, xs), origin)[1]
