"""Work on long batches in chunks of bounded memory."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# How many observations are processed at once at most.
BATCH_SIZE = 16_384

# What the statistics of a chunk may number for a CPU to keep them in its cache, and the shortest
# chunk for their sake. Measured, see the rows "gmm" and "fa" of the benchmark.
CACHED_NUMBERS = 6_000_000
SHORTEST_CHUNK = 4_096


def chunk_length(dim: int, batch_size: int) -> int:
    """How many observations an E-step of a model with `dim` parameters takes at once.

    A mixture makes about as many numbers of an observation as it has parameters. On a CPU chunks
    that stay in the cache are up to 1.5 times faster; other devices like long ones.
    """
    if jax.default_backend() != "cpu":
        return batch_size
    return min(batch_size, max(SHORTEST_CHUNK, CACHED_NUMBERS // max(1, dim)))


def batch_length(xs: Any) -> int:
    """The number N of observations in a batch: the common leading axis of all its arrays.

    **Raises:** `ValueError` if there is no such axis.
    """
    shapes = [leaf.shape for leaf in jax.tree.leaves(xs)]
    if len({shape[:1] for shape in shapes}) != 1 or () in shapes:
        raise ValueError(
            "a batch of observations has one leading axis of length N in all its arrays, got "
            f"shapes {shapes}."
        )
    length = shapes[0][0]
    if length == 0:
        raise ValueError("expected at least one observation, got an empty batch (N = 0).")
    return length


def _starts(length: int, size: int) -> Array:
    """Where chunks start: the last one ends with the data, so it may overlap the one before."""
    return jnp.minimum(jnp.arange(0, length, size), length - size)


def _chunk(xs: Any, start: Array, size: int) -> Any:
    return jax.tree.map(lambda leaf: jax.lax.dynamic_slice_in_dim(leaf, start, size), xs)


def _even_size(length: int, size: int) -> int:
    """The length of as few chunks as `size` allows, of nearly the same length."""
    return -(-length // -(-length // size))


def _checked_length(xs: Any, size: int) -> int:
    if size < 1:
        raise ValueError(f"expected a batch_size of at least 1, got {size}.")
    return batch_length(xs)


def map_chunks(function: Callable[[Any], Any], xs: Any, size: int) -> Any:
    """`function(xs)` for a function that maps N observations to N rows, in chunks.

    **Arguments:**

    - `function`: takes a batch and returns a pytree of arrays with the same leading axis.
    - `xs`: a batch of N observations.
    - `size`: the largest length of a chunk; N need not be a multiple of it.
    """
    length = _checked_length(xs, size)
    if length <= size:
        return function(xs)
    size = _even_size(length, size)
    overlap = -length % size

    def body(_: None, start: Array) -> tuple[None, Any]:
        return None, function(_chunk(xs, start, size))

    _, rows = jax.lax.scan(jax.checkpoint(body), None, _starts(length, size))

    def join(leaf: Array) -> Array:
        head = leaf[:-1].reshape(-1, *leaf.shape[2:])
        return jnp.concatenate([head, leaf[-1, overlap:]])

    return jax.tree.map(join, rows)


def sum_chunks(
    function: Callable[[Any, Float[Array, "n *m"]], Any],
    xs: Any,
    weights: Float[Array, "n *m"],
    size: int,
) -> Any:
    """`function(xs, weights)` for a function that is a weighted sum over observations, in chunks.

    **Arguments:**

    - `function`: takes a batch and its weights and returns a pytree of sums, linear in the
        weights.
    - `xs`: a batch of N observations.
    - `weights`: (N, ...).
    - `size`: the largest length of a chunk; N need not be a multiple of it.
    """
    length = _checked_length(xs, size)
    if length <= size:
        return function(xs, weights)
    size = _even_size(length, size)

    @jax.jit
    def chunk_sum(start: Array, first: Array) -> Any:
        fresh = start + jnp.arange(size) >= first
        fresh = fresh.reshape(size, *(1,) * (weights.ndim - 1)).astype(weights.dtype)
        return function(_chunk(xs, start, size), _chunk(weights, start, size) * fresh)

    def body(total: Any, where: tuple[Array, Array]) -> tuple[Any, None]:
        return jax.tree.map(jnp.add, total, chunk_sum(*where)), None

    firsts = jnp.arange(0, length, size)
    shapes = jax.eval_shape(chunk_sum, firsts[0], firsts[0])
    zero = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), shapes)
    return jax.lax.scan(jax.checkpoint(body), zero, (_starts(length, size), firsts))[0]
