"""Multinomial counts."""

import itertools

import jax
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.compiled import compute
from tests.families import univariate
from tests.numbers import assert_close

FIVE = hm.Multinomial(5, 3)
PROBABILITIES = [[0.2, 0.3, 0.5], [1e-6, 0.97, 0.03 - 1e-6], [1 - 2e-9, 1e-9, 1e-9]]
ALL = np.array([x for x in itertools.product(range(6), repeat=3) if sum(x) == 5])


@jax.jit
def describe(probabilities):
    """What five trials of these probabilities are like."""
    point = FIVE.from_probabilities(probabilities)
    return {
        "probabilities": FIVE.probabilities(point),
        "densities": FIVE.log_densities(point, ALL),
        "mean": FIVE.mean(point),
        "covariance": FIVE.covariance(point),
        "mean values": FIVE.to_mean(point).values,
        "fisher": FIVE.fisher_matrix(point),
    }


@pytest.mark.parametrize("probabilities", PROBABILITIES)
def test_it_is_the_distribution_of_scipy(probabilities):
    found = jax.device_get(describe(np.array(probabilities)))
    oracle = scipy.stats.multinomial(5, probabilities)
    np.testing.assert_allclose(found["probabilities"], probabilities, rtol=1e-9)
    np.testing.assert_allclose(found["densities"], oracle.logpmf(ALL), rtol=1e-9, atol=1e-12)
    assert_close(np.sum(np.exp(found["densities"])), 1.0)
    np.testing.assert_allclose(found["mean"], 5 * np.array(probabilities), rtol=1e-9)
    # Scipy's variances of nearly certain counts are small differences.
    np.testing.assert_allclose(found["covariance"], oracle.cov(), rtol=1e-6)
    np.testing.assert_allclose(found["covariance"].sum(axis=1), 0, atol=1e-14)
    np.testing.assert_allclose(found["mean values"], found["mean"][1:], rtol=1e-15)
    assert_close(found["fisher"], found["covariance"][1:, 1:])


def densities(family, probabilities, xs):
    """The log densities of counts."""
    return compute(lambda: family.log_densities(family.from_probabilities(probabilities), xs))


def test_counts_of_many_trials_have_the_densities_of_scipy():
    family = hm.Multinomial(10_000, 3)
    oracle = scipy.stats.multinomial(10_000, [0.2, 0.3, 0.5])
    xs = np.array([[2000, 3000, 5000], [0, 0, 10_000], [10_000, 0, 0], [2100, 2950, 4950]])
    found = densities(family, [0.2, 0.3, 0.5], xs)
    np.testing.assert_allclose(found, oracle.logpmf(xs), rtol=1e-11)


@pytest.mark.parametrize("n_trials", [5, 1000])
def test_samples_follow_it(n_trials, getkey):
    family, probabilities = hm.Multinomial(n_trials, 4), np.array([1e-3, 0.2, 0.099, 0.7])
    sample = lambda key: family.sample(key, family.from_probabilities(probabilities), (20_000,))  # noqa: E731
    draws = compute(sample, getkey())
    assert np.issubdtype(draws.dtype, np.integer)
    assert np.all(draws >= 0) and np.all(draws.sum(axis=1) == n_trials)
    for k in range(4):  # the marginals are binomial
        oracle = scipy.stats.binom(n_trials, probabilities[k])
        levels = np.arange(n_trials + 1)
        found = np.searchsorted(np.sort(draws[:, k]), levels, side="right") / len(draws)
        assert np.max(np.abs(found - oracle.cdf(levels))) < univariate.threshold(len(draws))
    expected = scipy.stats.multinomial(n_trials, probabilities).cov()
    scale = np.sqrt(np.diagonal(expected))
    correlations = (np.cov(draws.T) - expected) / np.outer(scale, scale)
    # Five standard errors of a correlation; of a rare category, the variance is as uncertain.
    assert np.all(np.abs(correlations[1:, 1:]) < 0.05)


def test_samples_of_few_trials_have_all_frequencies(getkey):
    sample = lambda key: FIVE.sample(key, FIVE.from_probabilities(PROBABILITIES[0]), (20_000,))  # noqa: E731
    draws = compute(sample, getkey())
    observed = np.array([np.sum(np.all(draws == x, axis=1)) for x in ALL])
    expected = 20_000 * scipy.stats.multinomial(5, PROBABILITIES[0]).pmf(ALL)
    assert observed.sum() == 20_000
    assert scipy.stats.chisquare(observed, expected).pvalue > 1e-6


def test_other_vectors_are_impossible():
    xs = np.array([[5, 0, 1], [4, 0, 0], [-1, 3, 3], [0, 0, 0], [5, 5, -5]])
    np.testing.assert_array_equal(densities(FIVE, PROBABILITIES[0], xs), -np.inf)
    for x in xs:
        with pytest.raises(ValueError, match=r"outside the support of Multinomial\(5, 3\)"):
            FIVE.average_sufficient_statistic(np.stack([ALL[0], x]))


def test_counts_of_small_integer_types_do_not_overflow():
    family = hm.Multinomial(300, 2)
    xs = np.array([[200, 100], [44, 0]], np.uint8)
    expected = [scipy.stats.binom(300, 0.5).logpmf(200), -np.inf]
    np.testing.assert_allclose(densities(family, [0.5, 0.5], xs), expected, rtol=1e-11)


def test_two_categories_are_a_binomial():
    two, binomial = hm.Multinomial(7, 2), hm.Binomial(7)
    counts = np.arange(8)

    def both():
        point, single = two.from_probabilities([0.3, 0.7]), binomial.from_probability(0.7)
        pairs = np.stack([7 - counts, counts], axis=1)
        found = point.values, two.log_densities(point, pairs)
        return found, (single.values, binomial.log_densities(single, counts))

    assert_close(*compute(both))


def test_one_trial_is_a_categorical():
    one, categorical = hm.Multinomial(1, 3), hm.Categorical(3)

    def log_densities():
        values = categorical.from_probabilities(PROBABILITIES[0]).values
        return one.log_densities(one.unravel(values), np.eye(3, dtype=int))

    assert_close(compute(log_densities), np.log(PROBABILITIES[0]))


def test_one_category_is_certain(getkey):
    one = hm.Multinomial(4, 1)
    assert one.dim == 0
    look = lambda key: (one.log_density(one.zeros(), [4]), one.sample(key, one.zeros(), (2,)))  # noqa: E731
    density, draws = compute(look, getkey())
    assert_close(density, 0.0)
    np.testing.assert_array_equal(draws, [[4], [4]])


def test_means_round_trip():
    values = np.random.default_rng(0).normal(scale=4, size=(1000, 2))
    found = univariate.assert_dual(FIVE, values)
    np.testing.assert_allclose(found, values, rtol=1e-8, atol=1e-8)
    odds = np.array(PROBABILITIES[0][1:]) / PROBABILITIES[0][0]
    univariate.assert_implicit_derivative(FIVE, np.log(odds))


def test_domains():
    def check(means, naturals):
        mean = lambda values: FIVE.check(FIVE.unravel(values, hm.Coordinates.MEAN))  # noqa: E731
        natural = lambda values: FIVE.check(FIVE.unravel(values))  # noqa: E731
        return jax.vmap(mean)(means), jax.vmap(natural)(naturals)

    outside = [[0.0, 1.0], [-1.0, 2.0], [2.0, 3.0], [2.0, 4.0], [np.nan, 1.0]]
    naturals = np.array([[-30.0, 30.0], [np.nan, 0.0]])
    means, naturals = compute(check, np.array([*outside, [2.0, 2.9]]), naturals)
    assert list(means) == [False] * 5 + [True]
    assert list(naturals) == [True, False]


def test_starts_are_valid(getkey):
    samples = [[[5, 0, 0]], [[0, 5, 0]] * 3, [[0, 2, 3], [0, 3, 2], [0, 3, 2]], ALL]
    univariate.assert_starts(FIVE, getkey(), samples)


@pytest.mark.parametrize(
    "bad", [[0.0, 0.5, 0.5], [0.5, 0.5, 0.5], [-0.5, 0.75, 0.75], [np.nan] * 3]
)
def test_probabilities_are_checked(bad):
    phrase = r"probabilities of Multinomial\(5, 3\) must be positive and sum to 1"
    with pytest.raises(ValueError, match=phrase):
        FIVE.from_probabilities(bad)


@pytest.mark.parametrize(
    ("call", "error", "phrase"),
    [
        (lambda: hm.Multinomial(0, 3), ValueError, "at least one trial"),
        (lambda: hm.Multinomial(3, 0), ValueError, "at least one category"),
        (lambda: FIVE.from_probabilities([0.5, 0.5]), ValueError, r"of shape \(3,\)"),
        (lambda: FIVE.log_density(FIVE.zeros(), 5), ValueError, r"integers of shape \(3,\)"),
        (lambda: FIVE.log_density(FIVE.zeros(), [5.0, 0.0, 0.0]), TypeError, r"astype\(int\)"),
    ],
)
def test_bad_calls(call, error, phrase):
    with pytest.raises(error, match=phrase):
        call()


def test_a_mixture_of_multinomials_is_what_enumeration_says():
    mixture, weights = hm.Mixture(FIVE, 2), [0.4, 0.6]

    def evaluate(probabilities):
        points = jax.vmap(FIVE.from_probabilities)(probabilities)
        params = mixture.from_components(points, weights)
        shares = jax.vmap(lambda x: mixture.posterior_probabilities(params, x))(ALL)
        return mixture.log_observable_densities(params, ALL), shares

    found, shares = compute(evaluate, np.array([PROBABILITIES[0], [0.6, 0.3, 0.1]]))
    oracles = [scipy.stats.multinomial(5, p) for p in (PROBABILITIES[0], [0.6, 0.3, 0.1])]
    joint = np.stack([w * o.pmf(ALL) for w, o in zip(weights, oracles, strict=True)])
    np.testing.assert_allclose(np.exp(found), joint.sum(axis=0), rtol=1e-11)
    np.testing.assert_allclose(shares.T, joint / joint.sum(axis=0), rtol=1e-11)
