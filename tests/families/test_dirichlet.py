"""Beta numbers and Dirichlet vectors."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from harmonium.families.beta import Beta
from harmonium.families.dirichlet import Dirichlet, log_beta
from tests.compiled import compute
from tests.families import univariate

BETA, DIRICHLET = Beta(), Dirichlet(3)
FAMILIES = [BETA, DIRICHLET]
MEAN = hm.Coordinates.MEAN
PAIRS = [(1e-2, 3.0), (0.5, 0.5), (2.5, 1e4), (1e4, 1e4)]
TRIPLES = [(0.01, 1.0, 20.0), (0.5, 0.5, 0.5), (2.5, 1e3, 1e4), (1e4, 1e4, 1e4)]


def _spread(family, n=1000):
    """Values over the whole practical range, half of them with similar concentrations."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(np.log(1e-2), np.log(1e4), (n, family.dim)))
    wide[: n // 2] = wide[: n // 2, :1] * np.exp(rng.normal(size=(n // 2, family.dim)))
    return wide


@pytest.mark.parametrize("pair", PAIRS)
def test_beta_is_the_distribution_of_scipy(pair):
    oracle = scipy.stats.beta(*pair)
    inside = oracle.ppf([0.2, 0.5, 0.9, 1 - 1e-6])
    inside = np.concatenate([inside, [0.1, 0.9]])
    build, accessors = BETA.from_alpha_beta, (BETA.alpha, BETA.beta)
    _, again, found, mean, variance = jax.device_get(
        univariate.evaluate(build, accessors, pair, inside)
    )
    assert tuple(again) == pair
    univariate.assert_moments(mean, variance, oracle)
    expected = oracle.logpdf(inside)
    # The terms of the exponent of large parameters cancel, here and in scipy.
    assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10


def test_numbers_outside_are_impossible():
    xs = np.array([-0.5, 0.0, 1.0, 1.5, np.nan, np.inf])
    found = univariate.evaluate(BETA.from_alpha_beta, (), (0.5, 0.5), xs)[2]
    assert np.all(np.isneginf(found))


def test_beta_samples_follow_it(getkey):
    for pair in [(1e-2, 3.0), (0.9, 0.9), (2.5, 1e4), (1e4, 1e4)]:
        univariate.assert_sampler(BETA.from_alpha_beta, pair, getkey(), scipy.stats.beta(*pair))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_samples_of_tiny_concentrations_are_in_the_support(family, getkey):
    def sample(key):
        point = family.unravel(jnp.full(family.dim, 1e-2))
        draws = family.sample(key, point, (5000,))
        return draws, jax.vmap(family.in_support)(draws), family.mean(point)

    draws, supported, expected = compute(sample, getkey())
    assert np.all(supported)
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, atol=0.05)


@jax.jit
def describe_dirichlet(concentrations, xs):
    """What a Dirichlet distribution is like: its parameters, densities, mean and covariance."""
    point = DIRICHLET.from_concentrations(concentrations)
    densities = DIRICHLET.log_densities(point, xs)
    moments = DIRICHLET.mean(point), DIRICHLET.covariance(point)
    return DIRICHLET.concentrations(point), densities, moments


@pytest.mark.parametrize("triple", TRIPLES)
def test_dirichlet_is_the_distribution_of_scipy(triple):
    xs = np.array([[0.2, 0.3, 0.5], [1e-8, 0.6, 0.4 - 1e-8], [1 / 3, 1 / 3, 1 / 3]])
    again, found, (mean, covariance) = jax.device_get(describe_dirichlet(np.array(triple), xs))
    oracle = scipy.stats.dirichlet(triple)
    assert tuple(again) == triple
    np.testing.assert_allclose(mean, oracle.mean(), rtol=1e-12)
    np.testing.assert_allclose(covariance, oracle.cov(), rtol=1e-9, atol=1e-20)
    expected = np.array([oracle.logpdf(x) for x in xs])
    assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10


def test_dirichlet_samples_follow_it(getkey):
    concentrations = np.array([0.6, 2.0, 5.0])

    def sample(key):
        point = DIRICHLET.from_concentrations(concentrations)
        return DIRICHLET.sample(key, point, (20_000,)), DIRICHLET.covariance(point)

    draws, covariance = compute(sample, getkey())
    for k in range(3):  # the marginals are beta
        oracle = scipy.stats.beta(concentrations[k], concentrations.sum() - concentrations[k])
        assert scipy.stats.kstest(draws[:, k], oracle.cdf).pvalue > 1e-6
    np.testing.assert_allclose(np.cov(draws.T), covariance, atol=2e-3)


def test_vectors_off_the_simplex_are_impossible():
    xs = [
        [0.5, 0.5, 0.0],
        [0.5, 0.6, -0.1],
        [0.2, 0.3, 0.6],
        [np.nan, 0.5, 0.5],
        [np.inf, 0, 0],
    ]
    assert np.all(np.isneginf(describe_dirichlet(np.ones(3), np.array(xs))[1]))
    with pytest.raises(ValueError, match=r"outside the support of Dirichlet\(3\)"):
        DIRICHLET.average_sufficient_statistic(np.array(xs[2:3]))


def test_vectors_normalised_in_single_precision_are_in_the_support():
    xs = np.random.default_rng(0).dirichlet(np.ones(200), 100).astype(np.float32)
    xs /= xs.sum(axis=1, keepdims=True)
    assert np.all(compute(jax.vmap(Dirichlet(200).in_support), xs))


@pytest.mark.parametrize("family", [*FAMILIES, Dirichlet(150)], ids=repr)
def test_means_round_trip(family):
    values = _spread(family, 1000 if family.dim < 10 else 20)
    found = univariate.assert_dual(family, values)
    np.testing.assert_allclose(found, values, rtol=1e-8)


def _exact_means(concentrations):
    with mpmath.workdps(60):
        exact = [mpmath.mpf(c) for c in concentrations]
        return [float(mpmath.digamma(c) - mpmath.digamma(sum(exact))) for c in exact]


@jax.jit
def convert(family, concentrations, means):
    """The mean values of concentrations, and the natural values of means."""
    mean = family.to_mean(family.from_concentrations(concentrations))
    return mean.values, family.to_natural(family.unravel(means, MEAN)).values


@pytest.mark.parametrize(
    "concentrations",
    [
        (1e-12, 1.0),
        (1e-3, 1e12),
        (1e-6, 1.2e-3),
        (0.7, 2e-10),
        (1.0, 1e4, 1e12),
        (1e-12, 1.0, 1e12),
        (3e-9, 0.5, 8e-10),
        (1e-12, 4e-12, 1e-3),
        (1e-17, 1e-17, 1e-17),
    ],
)
def test_concentrations_may_differ_by_many_orders_of_magnitude(concentrations):
    expected = np.array(_exact_means(concentrations))
    found, natural = convert(Dirichlet(len(concentrations)), np.array(concentrations), expected)
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    np.testing.assert_allclose(natural, concentrations, rtol=1e-9)


@pytest.mark.parametrize("family", [BETA, DIRICHLET, Dirichlet(20)], ids=repr)
def test_means_of_all_orders_of_magnitude_round_trip(family):
    orders = np.random.default_rng(1).uniform(-12, 12, (1000, family.dim))
    univariate.assert_dual(family, 10**orders, rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_that_rounding_puts_out_of_reach_are_refused(family):
    # Means are finite, as digamma(c) is -1 / c for tiny c, but the squares of the concentrations
    # are not representable.
    values = np.full(family.dim, -1e300 * (1 - 1 / family.dim))
    mean = family.unravel(jnp.asarray(values), MEAN)
    assert compute(lambda mean: family.check(mean), mean)
    with pytest.raises(ValueError, match=r"did not converge.*too close to the boundary"):
        family.to_natural(mean)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_single_precision_converges(family):
    def there_and_back(values):
        mean = family.to_mean(family.unravel(values))
        return mean.values, family.to_mean(family.to_natural(mean)).values

    means, again = compute(jax.vmap(there_and_back), _spread(family, 200).astype(np.float32))
    assert again.dtype == np.float32
    np.testing.assert_allclose(again, means, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_derivative_is_implicit(family):
    univariate.assert_implicit_derivative(family, 1.5 + np.arange(family.dim))


def test_the_log_partition_function_is_free_of_cancellation():
    concentrations = np.array([1e-3, 1e12])
    # log B(a, b) = log gamma(a) - a log b up to a (a - 1) / 2 b.
    expected = scipy.special.gammaln(1e-3) - 1e-3 * np.log(1e12)
    assert float(compute(log_beta, concentrations)) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_outside_the_domain_are_refused(family):
    boundary = np.full(family.dim, -np.log(family.dim))
    outside = [boundary + 1e-9, np.zeros(family.dim), boundary * np.nan, boundary - np.inf]
    check = lambda values: family.check(family.unravel(values, MEAN))  # noqa: E731
    inside = compute(jax.vmap(check), np.array([*outside, boundary - 1e-9]))
    assert list(inside) == [False] * 4 + [True]
    for values in outside:
        mean = family.unravel(jnp.asarray(values), MEAN)
        with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
            family.to_natural(mean)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_domains(family):
    check = lambda value: family.check(family.unravel(jnp.full(family.dim, value)))  # noqa: E731
    inside = compute(jax.vmap(check), np.array([1e-3, 0.0, -0.5, np.nan]))
    assert list(inside) == [True, False, False, False]
    assert not compute(lambda: family.check(family.zeros()))


def test_starts_of_beta_are_valid(getkey):
    samples = [[0.5], [1e-300] * 3, [1 - 1e-16], [1e-9, 0.5, 1 - 1e-9], [0.3, 0.3, 0.3]]
    univariate.assert_starts(BETA, getkey(), samples)


def test_starts_of_dirichlet_are_valid(getkey):
    samples = [[[0.2, 0.3, 0.5]] * 3, [[1e-200, 1e-300, 1.0]], np.full((3, 3), 1 / 3)]
    univariate.assert_starts(DIRICHLET, getkey(), samples)


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_parameters_are_positive(bad):
    with pytest.raises(ValueError, match=r"alpha of Beta.*positive"):
        BETA.from_alpha_beta(bad, 1.0)
    with pytest.raises(ValueError, match=r"beta of Beta.*positive"):
        BETA.from_alpha_beta(1.0, bad)
    with pytest.raises(ValueError, match=r"concentrations of Dirichlet\(3\) must be positive"):
        DIRICHLET.from_concentrations([1.0, bad, 1.0])


def test_dirichlets_need_two_categories():
    with pytest.raises(ValueError, match="at least two categories"):
        Dirichlet(1)
    with pytest.raises(ValueError, match=r"of shape \(3,\)"):
        DIRICHLET.from_concentrations([1.0, 1.0])
