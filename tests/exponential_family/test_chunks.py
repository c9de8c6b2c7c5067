"""Chunks of any size give what the whole batch gives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harmonium.exponential_family.chunks import batch_length, map_chunks, sum_chunks
from tests.compiled import compute
from tests.numbers import assert_close

SIZES = (1, 2, 3, 5, 7, 11, 12, 20)
N = 11


def _data():
    return {"a": np.arange(N * 2.0).reshape(N, 2), "b": np.arange(N)}


def _rows(xs):
    return {"sum": jnp.sum(xs["a"], axis=1), "square": xs["b"][:, None] ** 2}


@pytest.mark.parametrize("size", SIZES)
def test_mapped_chunks_keep_every_row_in_order(size):
    found, whole = compute(lambda xs: (map_chunks(_rows, xs, size), _rows(xs)), _data())
    jax.tree.map(np.testing.assert_array_equal, found, whole)


@pytest.mark.parametrize("size", SIZES)
def test_summed_chunks_count_every_row_once(size):
    weights = np.linspace(-1, 2, 2 * N).reshape(N, 2)

    def total(xs, w):
        return w.T @ xs["a"], jnp.sum(w)

    both = lambda xs, w: (sum_chunks(total, xs, w, size), total(xs, w))  # noqa: E731
    assert_close(*compute(both, _data(), weights), 1e2)


@pytest.mark.parametrize("size", (3, 4))
def test_chunks_never_exceed_their_size(size):
    lengths = []

    def function(xs):
        lengths.append(xs.shape[0])
        return xs

    jax.eval_shape(lambda xs: map_chunks(function, xs, size), np.zeros((N, 2)))
    assert lengths
    assert max(lengths) <= size


def test_gradients_pass_through_chunks():
    xs, weights = np.arange(1.0, N + 1), jnp.asarray(np.ones(N))

    def loss(scale, size):
        mapped = jnp.sum(map_chunks(lambda x: jnp.sin(scale * x), xs, size))
        return mapped + sum_chunks(lambda x, w: jnp.sum(w * scale * x), xs, weights, size)

    gradient = jax.grad(loss)
    assert_close(*compute(lambda scale: (gradient(scale, 4), gradient(scale, N)), 0.3), 1e2)


def test_the_length_of_a_batch():
    assert batch_length(_data()) == N
    with pytest.raises(ValueError, match="one leading axis"):
        batch_length({"a": jnp.zeros((2, 3)), "b": jnp.zeros(3)})
    with pytest.raises(ValueError, match="one leading axis"):
        batch_length(jnp.zeros(()))
    with pytest.raises(ValueError, match="at least one observation"):
        batch_length(jnp.zeros((0, 3)))


def test_sizes_are_positive():
    with pytest.raises(ValueError, match="batch_size"):
        map_chunks(lambda x: x, jnp.zeros((3, 2)), 0)
    with pytest.raises(ValueError, match="batch_size"):
        sum_chunks(lambda x, w: w, jnp.zeros((3, 2)), jnp.zeros((3, 1)), -1)
