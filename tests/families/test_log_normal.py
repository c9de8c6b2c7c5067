"""Log-normal numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.families import univariate
from tests.numbers import assert_close

LOG_NORMAL = hm.LogNormal()
PARAMETERS = [(0.0, 1.0), (-3.0, 0.1), (20.0, 3.0), (-200.0, 5.0)]


def _oracle(mu, sigma):
    return scipy.stats.lognorm(s=sigma, scale=np.exp(mu))


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_it_is_the_distribution_of_scipy(parameters):
    point, oracle = LOG_NORMAL.from_mu_sigma(*parameters), _oracle(*parameters)
    found = [LOG_NORMAL.mu(point), LOG_NORMAL.sigma(point)]
    np.testing.assert_allclose(found, parameters, rtol=1e-14, atol=1e-14)
    middle = oracle.ppf([1e-6, 0.2, 0.5, 0.9])
    xs = np.concatenate([[-np.inf, -1.0, 0.0, np.nan, np.inf], middle, 3 * middle])
    with np.errstate(all="ignore"):
        expected = np.where((xs > 0) & np.isfinite(xs), oracle.logpdf(xs), -np.inf)
    found = np.asarray(LOG_NORMAL.log_densities(point, xs))
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
    # The terms of the exponent cancel, about 1e3 of them for a mean of 200 and a sigma of 5.
    np.testing.assert_allclose(found[5:], expected[5:], rtol=1e-11)
    univariate.assert_moments(LOG_NORMAL, point, oracle)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_samples_follow_it(parameters, getkey):
    point = LOG_NORMAL.from_mu_sigma(*parameters)
    univariate.assert_sampler(LOG_NORMAL, getkey(), point, _oracle(*parameters))


def test_its_logarithms_are_a_normal():
    """Densities differ by the derivative of the logarithm; entropies relative to Lebesgue."""
    normal = hm.Normal(1)
    first, second = LOG_NORMAL.from_mu_sigma(0.3, 0.5), LOG_NORMAL.from_mu_sigma(-1.0, 2.0)
    logs = [normal.from_mean_covariance([m], [[s**2]]) for m, s in [(0.3, 0.5), (-1.0, 2.0)]]
    xs = np.array([1e-3, 0.7, 40.0])
    expected = normal.log_densities(logs[0], np.log(xs)[:, None]) - np.log(xs)
    assert_close(LOG_NORMAL.log_densities(first, xs), expected)
    found = LOG_NORMAL.relative_entropy(first, second)
    assert_close(found, normal.relative_entropy(logs[0], logs[1]))


def test_estimates_are_moments_of_the_logarithms():
    xs = np.array([0.2, 0.9, 1.7, 30.0, 30.0])
    point = LOG_NORMAL.to_natural(LOG_NORMAL.average_sufficient_statistic(xs))
    sigma, _, scale = scipy.stats.lognorm.fit(xs, floc=0)
    assert float(LOG_NORMAL.mu(point)) == pytest.approx(np.log(scale), rel=1e-6)
    assert float(LOG_NORMAL.sigma(point)) == pytest.approx(sigma, rel=1e-6)


def test_means_round_trip():
    rng = np.random.default_rng(0)
    mus, sigmas = rng.normal(scale=10, size=1000), np.exp(rng.uniform(-4, 3, 1000))
    points = jax.vmap(LOG_NORMAL.from_mu_sigma)(mus, sigmas)
    found = univariate.assert_dual(LOG_NORMAL, points)
    # The variance is the difference of second moments that are up to 1e6 times larger.
    np.testing.assert_allclose(found.values, points.values, rtol=1e-8, atol=1e-8)
    univariate.assert_implicit_derivative(LOG_NORMAL, LOG_NORMAL.from_mu_sigma(0.5, 0.7))


@pytest.mark.parametrize(
    "values", [[1.0, 1.0], [0.0, 0.0], [2.0, 3.9], [0.0, -1.0], [np.nan, 1.0], [0.0, np.inf]]
)
def test_means_outside_the_domain_are_refused(values):
    mean = LOG_NORMAL.unravel(jnp.array(values), hm.Coordinates.MEAN)
    assert not bool(LOG_NORMAL.check(mean))
    with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
        LOG_NORMAL.to_natural(mean)


def test_domains():
    point = LOG_NORMAL.from_mu_sigma(-2.0, 3.0)
    assert bool(LOG_NORMAL.check(point)) and bool(LOG_NORMAL.check(LOG_NORMAL.to_mean(point)))
    for values in [[0.0, 0.0], [1.0, 0.5], [np.nan, -1.0], [np.inf, -1.0]]:
        assert not bool(LOG_NORMAL.check(LOG_NORMAL.unravel(jnp.array(values))))


def test_starts_are_valid(getkey):
    samples = [[1.0], [3, 3], [1e-300, 1e-300], [1e300], [1e-8, 1.0, 1e8], [5.0, 5.0 + 1e-15]]
    univariate.assert_starts(LOG_NORMAL, getkey(), samples)


def test_starts_have_the_spread_of_the_sample(getkey):
    xs = np.exp(7 + 1e-3 * np.random.default_rng(1).normal(size=200))
    point = LOG_NORMAL.initialize_from_sample(getkey(), xs)
    assert 5e-4 < float(LOG_NORMAL.sigma(point)) < 4e-3
    assert abs(float(LOG_NORMAL.mu(point)) - 7) < 1e-3


@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_bad_values(bad):
    with pytest.raises(ValueError, match=r"sigma of LogNormal\(\) must be positive and finite"):
        LOG_NORMAL.from_mu_sigma(0.0, bad)
    with pytest.raises(ValueError, match=r"outside the support of LogNormal\(\)"):
        LOG_NORMAL.average_sufficient_statistic([1.0, bad])
    if not np.isfinite(bad):
        with pytest.raises(ValueError, match=r"mu of LogNormal\(\) must be finite"):
            LOG_NORMAL.from_mu_sigma(bad, 1.0)


def test_single_precision_stays_in_the_support(getkey):
    point = LOG_NORMAL.from_mu_sigma(jnp.float32(0.0), jnp.float32(40.0))
    draws = LOG_NORMAL.sample(getkey(), point, (2000,))
    assert draws.dtype == jnp.float32
    assert bool(jnp.all(jax.vmap(LOG_NORMAL.in_support)(draws)))
    # About three in a hundred are beyond the largest number, and as many below the smallest.
    at_ends = np.mean((draws == draws.max()) | (draws == draws.min()))
    assert 0.01 < at_ends < 0.06
