"""Categoricals: probabilities, starts, and their use with two categories."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

PROBABILITIES = [0.1, 0.2, 0.3, 0.4]
FOUR = hm.Categorical(4)


@pytest.fixture(scope="module")
def four():
    """What four categories of these probabilities are like."""

    def describe():
        point = FOUR.from_probabilities(PROBABILITIES)
        return {
            "values": point.values,
            "probabilities": FOUR.probabilities(point),
            "mean": FOUR.to_mean(point).values,
            "log partition": FOUR.log_partition_function(point),
            "densities": FOUR.log_densities(point, np.arange(4)),
            "outside": [FOUR.log_density(point, k) for k in (4, -1)],
            "supported": [FOUR.in_support(jnp.asarray(k)) for k in (3, 4)],
            "statistics": jax.vmap(FOUR.sufficient_statistic)(np.arange(4)).values,
            "average": FOUR.average_sufficient_statistic([0, 3, 1], [1.0, 2.0, 1.0]).values,
        }

    return compute(describe)


def test_probabilities_round_trip(four):
    assert_close(four["probabilities"], np.asarray(PROBABILITIES))
    assert_close(four["values"], np.log(np.asarray(PROBABILITIES[1:]) / PROBABILITIES[0]))
    assert_close(four["mean"], np.asarray(PROBABILITIES[1:]))
    assert_close(four["log partition"], -np.log(PROBABILITIES[0]))


def test_densities_are_log_probabilities(four):
    assert_close(four["densities"], np.log(PROBABILITIES))


def test_statistics_are_one_hot_without_the_first(four):
    assert_close(four["statistics"], np.eye(4)[:, 1:], 0)


def test_numbers_outside_the_support_have_no_density(four):
    assert list(four["outside"]) == [-np.inf, -np.inf]
    assert [bool(inside) for inside in four["supported"]] == [True, False]


def test_weighted_averages_are_frequencies(four):
    assert_close(four["average"], np.asarray([0.25, 0.0, 0.5]))


@jax.jit
def describe_two(probability):
    """What two categories are like, the second with this probability."""
    two = hm.Categorical(2)
    point = two.from_probabilities(jnp.stack([1 - probability, probability]))
    mean = two.to_mean(point)
    entropy, fisher = two.negative_entropy(mean), two.fisher_matrix(point)
    return point.values, mean.values, two.log_partition_function(point), fisher, entropy


@pytest.mark.parametrize("probability", [0.5, 0.03, 0.999])
def test_two_categories_are_a_bernoulli(probability):
    assert hm.Categorical(2).dim == 1
    values, mean, log_partition, fisher, entropy = jax.device_get(describe_two(probability))
    logit = np.log(probability) - np.log1p(-probability)
    assert_close(values, np.asarray([logit]))
    assert_close(mean, 1 / (1 + np.exp(-np.asarray([logit]))))
    assert_close(log_partition, np.log1p(np.exp(logit)))
    assert_close(fisher, np.asarray([[probability * (1 - probability)]]))
    expected = probability * np.log(probability) + (1 - probability) * np.log1p(-probability)
    assert_close(entropy, expected)


def test_one_category_is_certain():
    one = hm.Categorical(1)
    assert one.dim == 0
    found = compute(lambda: (one.probabilities(one.zeros()), one.log_density(one.zeros(), 0)))
    assert_close(found, (np.ones(1), 0.0))


def test_extreme_odds_do_not_overflow():
    two = hm.Categorical(2)

    def look(odds):
        point = two.unravel(odds)
        return two.log_partition_function(point), two.to_mean(point).values

    log_partitions, means = compute(jax.vmap(look), np.array([[800.0], [-800.0]]))
    assert_close(log_partitions, np.array([800.0, 0.0]))
    assert_close(means, np.array([[1.0], [0.0]]))


@pytest.mark.parametrize("xs", [[2], [1, 1, 1], [0, 0], [0, 1, 2, 3] * 5], ids=str)
def test_starts_give_every_category_a_chance(xs, getkey):
    start = lambda key: FOUR.probabilities(FOUR.initialize_from_sample(key, np.asarray(xs)))  # noqa: E731
    probabilities = compute(start, getkey())
    assert np.all(probabilities > 1e-4)
    frequencies = np.bincount(xs, minlength=4) / len(xs)
    # A tenth of the weight is random.
    assert np.max(np.abs(probabilities - 0.9 * frequencies)) <= 0.1


def test_booleans_are_categories():
    two = hm.Categorical(2)
    xs = np.asarray([True, False])
    found = compute(lambda: two.log_densities(two.from_probabilities([0.3, 0.7]), xs))
    assert_close(found, np.log([0.7, 0.3]))
