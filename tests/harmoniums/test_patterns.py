"""Observations grouped by what is observed: none is lost, and little is added."""

import functools

import hypothesis
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import strategies

import harmonium as hm
from tests.compiled import compute

MODEL = hm.Mixture(hm.Normal(3), 2)
MIXED = hm.Mixture(
    hm.Product(hm.Normal(2, hm.Diagonal()), hm.Categorical(3), hm.Replicated(hm.Gamma(), 2)), 2
)


def _reals(n_rows, seed=0):
    return np.random.default_rng(seed).normal(size=(n_rows, 3)).astype(jnp.result_type(float))


def _length(patterns):
    """The number of rows of all blocks."""
    blocks, length = patterns.shape
    return blocks * length


def _assert_grouped(patterns, xs, masks, harmless):
    """That the pytrees of arrays `xs` and `masks` are what was grouped."""
    blocks, length = patterns.shape
    n_rows = len(patterns)
    slots = np.asarray(patterns.slots)
    assert n_rows == len(masks[0]) and len(set(slots.tolist())) == n_rows
    assert np.all((slots >= 0) & (slots < blocks * length))
    found = [np.asarray(leaf) for leaf in jax.tree.leaves(patterns.xs)]
    observed = [np.asarray(leaf) for leaf in jax.tree.leaves(patterns.observed)]
    for leaf, mask in zip(observed, masks, strict=True):
        assert leaf.shape == (blocks, *mask.shape[1:])
        np.testing.assert_array_equal(leaf[slots // length], mask)
    for leaf, x, mask, other in zip(found, xs, masks, harmless, strict=True):
        shown = np.where(mask, x, other)
        np.testing.assert_array_equal(leaf.reshape(-1, *leaf.shape[2:])[slots], shown)
        # Rows that fill a block are repetitions of one that is in it.
        members = leaf[:, :, None] == leaf[:, None]
        same = members.reshape(blocks, length, length, -1).all(axis=3)
        real = np.zeros(blocks * length, bool)
        real[slots] = True
        assert np.all(np.any(same & real.reshape(blocks, 1, length), axis=2))


@hypothesis.settings(max_examples=40, deadline=None, derandomize=True)
@hypothesis.given(
    # Few lengths, as each is compiled anew, and few patterns or many.
    n_rows=strategies.sampled_from([1, 2, 13, 24]),
    n_patterns=strategies.integers(1, 8),
    data=strategies.data(),
)
def test_every_observation_is_found_again(n_rows, n_patterns, data):
    choices = strategies.lists(
        strategies.integers(0, n_patterns - 1), min_size=n_rows, max_size=n_rows
    )
    bits = np.array([[i & 1, i & 2, i & 4] for i in range(8)], bool)
    mask = bits[np.array(data.draw(choices))]
    xs = _reals(n_rows)
    patterns = hm.group_observations(MODEL, np.where(mask, xs, np.nan), mask)
    _assert_grouped(patterns, [xs], [mask], [0.0])
    added = _length(patterns) - n_rows
    assert 0 <= 4 * added <= n_rows
    weights = 1.0 + np.arange(n_rows)
    spread = compute(type(patterns).spread, patterns, weights)
    assert spread.shape == patterns.shape
    assert np.sum(spread == 0) == added
    # In NumPy, as few of the shapes were compiled before.
    patterns = jax.device_get(patterns)
    np.testing.assert_array_equal(patterns.gather(spread), weights)
    np.testing.assert_array_equal(patterns.rows, patterns.xs.reshape(-1, 3), strict=True)


@pytest.mark.parametrize("counts", [(100, 1, 1), (34, 33, 33), (3, 2, 95)])
def test_few_patterns_make_few_blocks(counts):
    """Four for each pattern on average, and not more than one besides that is not full."""
    mask = np.repeat(np.eye(3, dtype=bool), counts, axis=0)
    order = np.random.default_rng(1).permutation(len(mask))
    patterns = hm.group_observations(MODEL, _reals(len(mask)), mask[order])
    assert patterns.shape[0] <= 5 * 3 + 3
    assert patterns.shape[1] == len(mask) // 12


def test_one_pattern_and_patterns_that_all_differ():
    xs = _reals(8)
    whole = hm.group_observations(MODEL, xs, np.ones((8, 3), bool))
    assert whole.shape == (4, 2)
    bits = np.array([[i & 1, i & 2, i & 4] for i in range(8)], bool)
    apart = hm.group_observations(MODEL, xs, bits)
    assert apart.shape == (8, 1)


def test_masks_of_unknown_values_are_blocks_by_themselves():
    xs, mask = jnp.asarray(_reals(6)), np.array([[1, 0, 1], [0, 0, 0]] * 3, bool)
    patterns = jax.jit(functools.partial(hm.group_observations, MODEL))(xs, mask)
    assert patterns.shape == (6, 1)
    np.testing.assert_array_equal(patterns.slots, np.arange(6))
    _assert_grouped(patterns, [np.asarray(xs)], [mask], [0.0])
    # Known masks are grouped in compiled functions, too.
    known = jax.jit(lambda xs: hm.group_observations(MODEL, xs, mask))(xs)
    assert known.shape == hm.group_observations(MODEL, xs, mask).shape
    np.testing.assert_array_equal(known.xs, hm.group_observations(MODEL, xs, mask).xs)


def test_masks_of_any_kind_of_array_are_the_same():
    xs, mask = _reals(5), np.array([[1, 0, 1]] * 3 + [[1, 1, 0]] * 2, bool)
    first = hm.group_observations(MODEL, xs, mask)
    for other in (jnp.asarray(mask), mask.tolist(), np.asfortranarray(mask)):
        second = hm.group_observations(MODEL, xs, other)
        jax.tree.map(np.testing.assert_array_equal, first, second)


def test_masks_of_products_and_replicas_are_grouped_together():
    rng = np.random.default_rng(2)
    n_rows = 40
    xs = _reals(n_rows)[:, :2], rng.integers(0, 3, n_rows), 1 + _reals(n_rows)[:, 1:] ** 2
    few = rng.random((3, 5)) < 0.6
    rows = few[rng.integers(0, 3, n_rows)]
    masks = rows[:, :2], rows[:, 2], rows[:, 3:]
    hidden = tuple(
        np.where(mask, x, worst)
        for x, mask, worst in zip(xs, masks, (np.nan, 7, -1.0), strict=True)
    )
    patterns = hm.group_observations(MIXED, hidden, masks)
    # Gamma distributed numbers are positive: one is harmless, zero is not.
    _assert_grouped(patterns, xs, masks, (0.0, 0, 1.0))
    assert 4 * (_length(patterns) - n_rows) <= n_rows
    assert patterns.shape[0] <= 5 * 3


def test_grouped_data_count_once_each():
    """Densities and statistics are those of single observations, whose masks are unknown."""
    xs = _reals(24)
    bits = np.array([[1, 1, 1], [1, 0, 0]], bool)
    mask = bits[[0, 0, 1, 0, 0, 1, 0, 0, 0, 0, 1, 0] * 2]
    mask[-1] = bits[1]
    patterns, weights = hm.group_observations(MODEL, xs, mask), 1.0 + np.arange(24)
    assert _length(patterns) > 24  # some only fill

    def evaluate(key, patterns, weights, xs, mask):
        point = MODEL.initialize(key)

        def single(x, own):
            density = MODEL.log_observable_density(point, x, observed=own)
            return MODEL.posterior_statistics(point, x, observed=own), density

        statistics = MODEL.mean_posterior_statistics(point, patterns, weights)
        densities = MODEL.log_observable_densities(point, patterns)
        return statistics, densities, jax.vmap(single)(xs, mask)

    statistics, densities, singles = compute(
        evaluate, jax.random.key(0), patterns, weights, xs, mask
    )
    rtol = 1e-10 if jax.config.read("jax_enable_x64") else 1e-5
    np.testing.assert_allclose(densities, singles[1], rtol=rtol)
    shares = weights / weights.sum()
    leaves = jax.tree.leaves(singles[0])
    for found, each in zip(jax.tree.leaves(statistics), leaves, strict=True):
        expected = np.tensordot(shares, each, axes=1)
        np.testing.assert_allclose(found, expected, rtol=rtol, atol=rtol / 100)


GROUPED = {
    "other observations": (
        lambda: hm.group_observations(
            hm.Mixture(hm.Normal(2), 2), np.ones((3, 2)), np.ones((3, 2), bool)
        ),
        None,
        ValueError,
        r"truth values of shapes \(N, 3\).*got shape \(3, 2\)",
    ),
    "another structure": (
        lambda: hm.group_observations(
            hm.Mixture(hm.Product(hm.Normal(2), hm.Poisson()), 2),
            (np.ones((3, 2)), np.ones(3, int)),
            (np.ones((3, 2), bool), np.ones(3, bool)),
        ),
        None,
        TypeError,
        r"truth values of shapes.*got tuple",
    ),
    "masks beside": (
        lambda: hm.group_observations(MODEL, np.ones((3, 3)), np.ones((3, 3), bool)),
        np.ones((3, 3), bool),
        ValueError,
        "pass no `observed` beside them",
    ),
}


@pytest.mark.parametrize("name", GROUPED)
def test_grouped_data_of_another_model_are_refused(name):
    make, observed, kind, phrase = GROUPED[name]
    point, patterns = jax.jit(MODEL.initialize)(jax.random.key(0)), make()
    for method in (
        MODEL.log_observable_densities,
        MODEL.mean_posterior_statistics,
        MODEL.expectation_maximization,
    ):
        with pytest.raises(kind, match=phrase):
            method(point, patterns, observed=observed)


def test_grouped_data_take_the_precision_of_the_point():
    point = jax.eval_shape(MODEL.initialize, jax.random.key(0))
    low = jax.tree.map(lambda leaf: leaf.update(dtype=jnp.float32), point)
    patterns = hm.group_observations(MODEL, _reals(3), np.eye(3, dtype=bool))
    for own, dtype in ((low, jnp.float32), (point, jnp.result_type(float))):
        densities = jax.eval_shape(MODEL.log_observable_densities, own, patterns)
        assert densities.dtype == dtype
