"""Categoricals: probabilities, starts, and their use with two categories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.numbers import assert_close

PROBABILITIES = [0.1, 0.2, 0.3, 0.4]
FOUR = hm.Categorical(4)


def test_probabilities_round_trip():
    point = FOUR.from_probabilities(PROBABILITIES)
    assert_close(FOUR.probabilities(point), np.asarray(PROBABILITIES))
    assert_close(point.values, np.log(np.asarray(PROBABILITIES[1:]) / PROBABILITIES[0]))
    assert_close(FOUR.to_mean(point).values, np.asarray(PROBABILITIES[1:]))
    assert_close(FOUR.log_partition_function(point), -np.log(PROBABILITIES[0]))


def test_densities_are_log_probabilities():
    point = FOUR.from_probabilities(PROBABILITIES)
    assert_close(FOUR.log_densities(point, np.arange(4)), np.log(PROBABILITIES))


def test_statistics_are_one_hot_without_the_first():
    statistics = jax.vmap(FOUR.sufficient_statistic)(jnp.arange(4))
    assert_close(statistics.values, np.eye(4)[:, 1:], 0)


@pytest.mark.parametrize("probability", [0.5, 0.03, 0.999])
def test_two_categories_are_a_bernoulli(probability):
    two = hm.Categorical(2)
    point = two.from_probabilities([1 - probability, probability])
    logit = np.log(probability) - np.log1p(-probability)
    assert two.dim == 1
    assert_close(point.values, np.asarray([logit]))
    assert_close(two.to_mean(point).values, 1 / (1 + np.exp(-np.asarray([logit]))))
    assert_close(two.log_partition_function(point), np.log1p(np.exp(logit)))
    assert_close(two.fisher_matrix(point), np.asarray([[probability * (1 - probability)]]))
    entropy = probability * np.log(probability) + (1 - probability) * np.log1p(-probability)
    assert_close(two.negative_entropy(two.to_mean(point)), entropy)


def test_one_category_is_certain():
    one = hm.Categorical(1)
    assert one.dim == 0
    assert_close(one.probabilities(one.zeros()), np.ones(1))
    assert_close(one.log_density(one.zeros(), 0), 0.0)


@pytest.mark.parametrize("odds", [800.0, -800.0])
def test_extreme_odds_do_not_overflow(odds):
    two = hm.Categorical(2)
    point = two.unravel(jnp.asarray([odds]))
    assert_close(two.log_partition_function(point), max(odds, 0.0))
    assert_close(two.to_mean(point).values, np.asarray([float(odds > 0)]))


def test_numbers_outside_the_support_have_no_density():
    point = FOUR.zeros()
    assert float(FOUR.log_density(point, 4)) == -np.inf
    assert float(FOUR.log_density(point, -1)) == -np.inf
    assert not bool(FOUR.in_support(jnp.asarray(4)))


@pytest.mark.parametrize("xs", [[2], [1, 1, 1], [0, 0], [0, 1, 2, 3] * 5], ids=str)
def test_starts_give_every_category_a_chance(xs, getkey):
    point = FOUR.initialize_from_sample(getkey(), np.asarray(xs))
    probabilities = np.asarray(FOUR.probabilities(point))
    assert np.all(probabilities > 1e-4)
    frequencies = np.bincount(xs, minlength=4) / len(xs)
    # A tenth of the weight is random.
    assert np.max(np.abs(probabilities - 0.9 * frequencies)) <= 0.1


def test_booleans_are_categories():
    two = hm.Categorical(2)
    point = two.from_probabilities([0.3, 0.7])
    assert_close(two.log_densities(point, np.asarray([True, False])), np.log([0.7, 0.3]))


def test_weighted_averages_are_frequencies():
    found = FOUR.average_sufficient_statistic(np.asarray([0, 3, 1]), np.asarray([1.0, 2.0, 1.0]))
    assert_close(found.values, np.asarray([0.25, 0.0, 0.5]))
