"""Samples have the means that they should have, and are reproducible."""

import jax
import numpy as np

from tests.catalogue import CATALOGUE
from tests.laws.cases import GENERIC, GENERIC_CONJUGATED, N_DRAWS, over, sample


def _flat_statistics(given, xs):
    model = given.model
    return jax.vmap(lambda x: model.ravel(model.sufficient_statistic(x)))(xs)


def _statistics(given):
    return _flat_statistics(given, given.draws), given.model.ravel(given.mean)


def _assert_means(statistics, expected):
    statistics = statistics.astype(float)
    standard_errors = np.std(statistics, axis=0) / N_DRAWS**0.5
    deviations = np.abs(np.mean(statistics, axis=0) - expected)
    # At five standard errors, a correct sampler fails once in a million seeds. A statistic that is
    # constant (a category that never occurs) has no standard error: one draw is allowed for.
    assert np.all(deviations <= 5 * standard_errors + 1 / N_DRAWS)


@over(CATALOGUE, _statistics)
def test_samples_have_the_mean_statistics(found):
    _assert_means(*found)


def _more_samples(given):
    again, fresh = (sample(given.model, seed, given.point) for seed in (2, 5))
    return again, fresh, jax.vmap(given.model.in_support)(given.draws)


@over(GENERIC, _more_samples)
def test_samples_are_reproducible(case, found):
    again, fresh, valid = found
    case.close(again, case.draws, 1e2)  # another program may round in other places
    assert not jax.tree.all(jax.tree.map(np.array_equal, fresh, case.draws))
    assert np.all(valid)


def _gibbs_sweep(given):
    keys = jax.random.split(jax.random.key(7), N_DRAWS)
    stepped = jax.vmap(lambda k, x: given.model.gibbs_step(k, given.point, x))(keys, given.draws)
    return stepped, _flat_statistics(given, stepped), given.model.ravel(given.mean)


@over(GENERIC_CONJUGATED, _gibbs_sweep)
def test_a_gibbs_step_leaves_the_joint_distribution_as_it_is(case, found):
    stepped, *statistics = found
    _assert_means(*statistics)
    assert jax.tree.all(jax.tree.map(lambda a, b: np.any(a != b), stepped, case.draws))


def _observable_sample(given):
    return given.model.observable_sample(jax.random.key(2), given.point, (N_DRAWS,))


@over(GENERIC_CONJUGATED, _observable_sample)
def test_observable_samples_are_those_of_the_joint(case, found):
    case.close(found, case.model.data_of(case.draws), 1e2)
