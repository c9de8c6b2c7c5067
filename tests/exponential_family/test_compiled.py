"""One program a call: padded lengths, checks, kinds of arguments, and what tracing changes."""

from types import SimpleNamespace

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family import compiled as compilation
from harmonium.exponential_family.checks import require
from harmonium.exponential_family.compiled import (
    COARSE,
    FINE,
    SHORTEST,
    add_flag,
    batched,
    compiled,
    pad_rows,
    padded_length,
)

NORMAL = hm.Normal(2)


def test_padded_lengths_are_few_and_little_longer():
    lengths = np.asarray([padded_length(n) for n in range(1, 20_001)])
    needed = np.arange(1, 20_001)
    assert np.all(lengths >= needed)
    assert np.all(lengths[:COARSE] < np.maximum(SHORTEST + 1, 2 * needed[:COARSE]))
    assert np.all((lengths - needed)[COARSE:] <= needed[COARSE:] / FINE)
    assert np.all(np.diff(lengths) >= 0)
    # Powers of two from 16 up to a thousand, sixteen for each power of two above.
    assert len(np.unique(lengths[:COARSE])) == 7
    assert len(np.unique(lengths)) <= 7 + FINE * 5
    assert [padded_length(int(n)) for n in np.unique(lengths)] == np.unique(lengths).tolist()


def test_padded_rows_repeat_the_last_with_weight_zero():
    xs, weights = pad_rows((np.arange(11.0), np.eye(11)), np.full(11, 2.0))
    assert jax.tree.map(np.shape, (xs, weights)) == (((16,), (16, 11)), (16,))
    np.testing.assert_array_equal(xs[0][11:], 10.0)
    np.testing.assert_array_equal(xs[1][11:], np.tile(np.eye(11)[-1], (5, 1)))
    np.testing.assert_array_equal(weights, [2.0] * 11 + [0.0] * 5)
    assert pad_rows(np.ones(16), np.ones(16))[0].shape == (16,)


def test_rows_on_an_accelerator_are_padded_there(monkeypatch):
    monkeypatch.setattr(compilation, "on_accelerator", lambda leaf: isinstance(leaf, jax.Array))
    refused = {"asarray": None, "concatenate": None}  # nothing is copied to the host
    monkeypatch.setattr(compilation, "np", SimpleNamespace(**vars(np) | refused))
    xs, weights = pad_rows(jnp.arange(33.0).reshape(11, 3), jnp.full(11, 2.0))
    monkeypatch.setattr(compilation, "np", np)
    rows = squared_rows(jnp.arange(5.0))
    np.testing.assert_array_equal(xs[11:], np.tile([30.0, 31.0, 32.0], (5, 1)))
    np.testing.assert_array_equal(weights, [2.0] * 11 + [0.0] * 5)
    np.testing.assert_array_equal(rows, np.arange(5.0) ** 2)


@batched
def squared_rows(xs):
    return xs**2


class Counted:
    """A compiled function that counts how often it is traced."""

    def __init__(self):
        self.n_traces = 0

        @compiled
        def double(manifold, x, power: int = 1):
            self.n_traces += 1
            return require(2 * jnp.asarray(x) ** power, jnp.all(jnp.asarray(x) > 0), "not positive")

        self.function = double


def test_equal_models_share_a_program():
    counted = Counted()
    for x in (1.0, 2.0):
        assert counted.function(hm.Normal(2), x) == 2 * x
    assert counted.n_traces == 1
    counted.function(hm.Normal(3), 1.0)
    assert counted.n_traces == 2


def test_integers_are_part_of_the_program():
    counted = Counted()
    assert [float(counted.function(NORMAL, 3.0, power=n)) for n in (1, 2, 2)] == [6.0, 18.0, 18.0]
    assert counted.n_traces == 2


def test_checks_of_a_program_are_value_errors_outside():
    counted = Counted()
    with pytest.raises(ValueError, match=r"^not positive$"):
        counted.function(NORMAL, -1.0)
    with pytest.raises(ValueError, match=r"^not positive$"):
        counted.function(NORMAL, np.asarray([1.0, -1.0]))
    assert counted.function(NORMAL, 1.0) == 2.0


def test_the_first_check_that_fails_is_told():
    @compiled
    def check(x):
        x = require(x, x > 0, "first")
        return require(x, x > 1, "second")

    with pytest.raises(ValueError, match="first"):
        check(-1.0)
    with pytest.raises(ValueError, match="second"):
        check(0.5)


def test_nothing_changes_where_functions_are_traced():
    counted = Counted()

    def call(x):
        return counted.function(NORMAL, x)

    assert jax.jit(call)(3.0) == 6.0
    assert jax.grad(call)(3.0) == 2.0
    np.testing.assert_array_equal(jax.vmap(call)(jnp.asarray([1.0, 2.0])), [2.0, 4.0])
    with pytest.raises(Exception, match="not positive"):
        jax.block_until_ready(jax.jit(call)(-1.0))


class Table:
    """As tables of other libraries are: no array, but to be had as one."""

    def __array__(self, dtype=None, copy=None):
        return np.asarray([[1.0, 2.0], [0.5, -1.0]], dtype)


def test_lists_arrays_and_tables_are_data():
    point = NORMAL.initialize(jax.random.key(0))
    rows = np.asarray(Table())
    expected = NORMAL.log_densities(point, jnp.asarray(rows))
    for xs in (rows, rows.tolist(), Table()):
        np.testing.assert_array_equal(NORMAL.log_densities(point, xs), expected)
    np.testing.assert_allclose(NORMAL.log_density(point, [0.5, -1.0]), expected[1], rtol=1e-6)


def test_batches_have_a_result_a_row_or_weights():
    traced = []

    @batched
    def squares(xs):
        traced.append(xs.shape)
        return xs**2

    @batched
    def total(xs, weights):
        weights = jnp.ones(len(xs)) if weights is None else weights
        return weights @ xs

    xs = np.arange(13.0)
    np.testing.assert_array_equal(squares(xs), xs**2)
    np.testing.assert_array_equal(squares(xs[:11]), xs[:11] ** 2)
    assert traced == [(16,)]
    assert total(xs, None) == xs.sum()
    assert total(xs, np.arange(13.0)) == (xs**2).sum()
    assert jax.jit(squares)(xs).shape == (13,)
    assert traced[1:] == [(13,)]


def test_batches_of_a_padded_length_share_the_program_of_others():
    traced = []

    @batched
    def total(xs, weights):
        traced.append(None if weights is None else weights.shape)
        return weights @ xs

    assert total(np.arange(13.0), None) == 78
    assert total(np.arange(16.0), None) == 120
    assert traced == [(16,)]


def test_flags_are_left_to_the_program_where_it_can_see_them():
    left = []

    @compiled
    def check(xs):
        left.append(add_flag(jnp.all(xs > 0), "directly"))

        def one(x):
            left.append(add_flag(x > 0, "in a map"))
            return x

        def step(total, x):
            left.append(add_flag(x > 0, "in a loop"))
            return total + x, None

        jax.vmap(jax.vmap(one))(xs[None])
        return jax.lax.scan(step, jnp.zeros((), xs.dtype), xs)[0]

    assert check(np.asarray([1.0, 2.0])) == 3.0
    assert left == [True, True, False]
    with pytest.raises(ValueError, match="directly"):
        check(np.asarray([1.0, -2.0]))
    assert not add_flag(jnp.asarray(True), "outside of programs")


def test_a_check_in_a_map_is_a_value_error():
    @compiled
    def check(xs):
        return jax.vmap(lambda x: require(x, x > 0, "not positive"))(xs)

    np.testing.assert_array_equal(check(np.asarray([1.0, 2.0])), [1.0, 2.0])
    with pytest.raises(ValueError, match=r"^not positive$"):
        check(np.asarray([1.0, -2.0]))


def test_a_check_in_a_loop_is_an_error_all_the_same():
    @compiled
    def check(xs):
        return jax.lax.map(lambda x: require(x, x > 0, "not positive"), xs)

    with pytest.raises(Exception, match="not positive"):
        jax.block_until_ready(check(np.asarray([1.0, -2.0])))


def test_methods_that_take_functions_are_called_as_they_are():
    product = hm.Product(hm.Bernoulli(), hm.Poisson())
    keys = product.split_key(jax.random.key(0))
    point = product.map_to_natural(lambda family, key: family.initialize(key), keys)
    assert jax.tree.all(jax.tree.map(jnp.array_equal, point, product.initialize(jax.random.key(0))))
