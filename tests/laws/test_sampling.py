"""Samples have the means that they should have, and are reproducible."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.catalogue import CATALOGUE
from tests.laws.cases import GENERIC, GENERIC_CONJUGATED, N_DRAWS, over


def _flat_statistics(model, xs):
    return jax.vmap(lambda x: model.ravel(model.sufficient_statistic(x)))(xs)


def _assert_mean_statistics(case, xs):
    statistics = np.asarray(case.jit(_flat_statistics)(xs), float)
    expected = np.asarray(case.model.ravel(case.mean), float)
    standard_errors = np.std(statistics, axis=0) / N_DRAWS**0.5
    deviations = np.abs(np.mean(statistics, axis=0) - expected)
    # At five standard errors, a correct sampler fails once in a million seeds. A statistic that is
    # constant (a category that never occurs) has no standard error: one draw is allowed for.
    assert np.all(deviations <= 5 * standard_errors + 1 / N_DRAWS)


@over(CATALOGUE, both=CATALOGUE)
def test_samples_have_the_mean_statistics(case):
    _assert_mean_statistics(case, case.draws)


@over(GENERIC)
def test_samples_are_reproducible(case):
    again = case.draw(2, case.point)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), case.draws, again))
    fresh = case.draw(5, case.point)
    assert not jax.tree.all(jax.tree.map(lambda a, b: bool(jnp.all(a == b)), case.draws, fresh))
    assert bool(jnp.all(jax.vmap(case.model.in_support)(case.draws)))


def _gibbs_sweep(model, key, point, xs):
    keys = jax.random.split(key, N_DRAWS)
    return jax.vmap(lambda k, x: model.gibbs_step(k, point, x))(keys, xs)


@over(GENERIC_CONJUGATED)
def test_a_gibbs_step_leaves_the_joint_distribution_as_it_is(case):
    stepped = case.jit(_gibbs_sweep)(jax.random.key(7), case.point, case.draws)
    _assert_mean_statistics(case, stepped)
    moved = jax.tree.map(lambda a, b: bool(jnp.any(a != b)), stepped, case.draws)
    assert jax.tree.all(moved)


@over(GENERIC_CONJUGATED)
def test_observable_samples_are_those_of_the_joint(case):
    key = jax.random.key(2)
    xs = case.jit(_observable_sample)(key, case.point)
    jax.tree.map(np.testing.assert_array_equal, xs, case.draws.observable)


def _observable_sample(model, key, point):
    return model.observable_sample(key, point, (N_DRAWS,))
