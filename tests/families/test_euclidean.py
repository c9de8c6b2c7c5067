"""Real vectors as a statistic: no partition function, but everything linear."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.numbers import assert_close

SPACE = hm.Euclidean(3)


def test_the_statistic_is_the_vector_itself():
    x = jnp.asarray([1.0, -2.0, 0.5])
    assert_close(SPACE.sufficient_statistic(x).values, x, 0)
    assert isinstance(SPACE.sufficient_statistic(x), hm.Mean)
    assert float(SPACE.log_base_measure(x)) == 0
    assert not isinstance(SPACE, hm.Differentiable)


def test_the_batch_hooks_are_matrix_products(getkey):
    xs, weights = jax.random.normal(getkey(), (5, 3)), jax.random.normal(getkey(), (5, 2))
    assert_close(SPACE.sum_statistics(xs, weights).values, np.asarray(weights).T @ np.asarray(xs))
    points = jax.vmap(SPACE.unravel)(jax.random.normal(getkey(), (2, 3)))
    expected = np.asarray(xs) @ np.asarray(points.values).T
    assert_close(SPACE.pair_statistics(points, xs), expected)
    average = SPACE.average_sufficient_statistic(xs, np.arange(5.0))
    assert_close(average.values, np.average(np.asarray(xs), axis=0, weights=np.arange(5)))


def test_the_support_is_what_is_finite():
    assert bool(SPACE.in_support(jnp.ones(3)))
    assert not bool(SPACE.in_support(jnp.asarray([1.0, jnp.nan, 0.0])))
    assert not bool(SPACE.in_support(jnp.asarray([1.0, jnp.inf, 0.0])))
