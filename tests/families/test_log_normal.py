"""Log-normal numbers."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.compiled import compute
from tests.families import univariate
from tests.numbers import assert_close

LOG_NORMAL = hm.LogNormal()
PARAMETERS = [(0.0, 1.0), (-3.0, 0.1), (20.0, 3.0), (-200.0, 5.0)]


def _oracle(mu, sigma):
    return scipy.stats.lognorm(s=sigma, scale=np.exp(mu))


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_it_is_the_distribution_of_scipy(parameters):
    oracle = _oracle(*parameters)
    middle = oracle.ppf([1e-6, 0.2, 0.5, 0.9])
    xs = np.concatenate([[-np.inf, -1.0, 0.0, np.nan, np.inf], middle, 3 * middle])
    with np.errstate(all="ignore"):
        expected = np.where((xs > 0) & np.isfinite(xs), oracle.logpdf(xs), -np.inf)
    build, accessors = LOG_NORMAL.from_mu_sigma, (LOG_NORMAL.mu, LOG_NORMAL.sigma)
    _, again, found, mean, variance = jax.device_get(
        univariate.evaluate(build, accessors, parameters, xs)
    )
    np.testing.assert_allclose(again, parameters, rtol=1e-14, atol=1e-14)
    np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
    # The terms of the exponent cancel, about 1e3 of them for a mean of 200 and a sigma of 5.
    np.testing.assert_allclose(found[5:], expected[5:], rtol=1e-11)
    univariate.assert_moments(mean, variance, oracle)


@pytest.mark.parametrize("parameters", PARAMETERS)
def test_samples_follow_it(parameters, getkey):
    build, oracle = LOG_NORMAL.from_mu_sigma, _oracle(*parameters)
    univariate.assert_sampler(build, parameters, getkey(), oracle)


def test_its_logarithms_are_a_normal():
    """Densities differ by the derivative of the logarithm; entropies relative to Lebesgue."""
    normal, parameters = hm.Normal(1), [(0.3, 0.5), (-1.0, 2.0)]
    xs = np.array([1e-3, 0.7, 40.0])

    def both():
        points = [LOG_NORMAL.from_mu_sigma(m, s) for m, s in parameters]
        logs = [normal.from_mean_covariance([m], [[s**2]]) for m, s in parameters]
        densities = LOG_NORMAL.log_densities(points[0], xs)
        densities_of_logs = normal.log_densities(logs[0], np.log(xs)[:, None])
        entropies = LOG_NORMAL.relative_entropy(*points), normal.relative_entropy(*logs)
        return densities, densities_of_logs, entropies

    densities, densities_of_logs, entropies = compute(both)
    assert_close(densities, densities_of_logs - np.log(xs))
    assert_close(*entropies)


def test_estimates_are_moments_of_the_logarithms():
    xs = np.array([0.2, 0.9, 1.7, 30.0, 30.0])

    def estimate():
        point = LOG_NORMAL.to_natural(LOG_NORMAL.average_sufficient_statistic(xs))
        return LOG_NORMAL.mu(point), LOG_NORMAL.sigma(point)

    mu, sigma = compute(estimate)
    expected, _, scale = scipy.stats.lognorm.fit(xs, floc=0)
    assert float(mu) == pytest.approx(np.log(scale), rel=1e-6)
    assert float(sigma) == pytest.approx(expected, rel=1e-6)


def test_means_round_trip():
    rng = np.random.default_rng(0)
    mus, sigmas = rng.normal(scale=10, size=1000), np.exp(rng.uniform(-4, 3, 1000))
    build = lambda mu, sigma: LOG_NORMAL.from_mu_sigma(mu, sigma).values  # noqa: E731
    values = compute(jax.vmap(build), mus, sigmas)
    found = univariate.assert_dual(LOG_NORMAL, values)
    # The variance is the difference of second moments that are up to 1e6 times larger.
    np.testing.assert_allclose(found, values, rtol=1e-8, atol=1e-8)
    univariate.assert_implicit_derivative(LOG_NORMAL, [0.5 / 0.7**2, -0.5 / 0.7**2])


_check = jax.jit(lambda point: LOG_NORMAL.check(point))


@pytest.mark.parametrize(
    "values", [[1.0, 1.0], [0.0, 0.0], [2.0, 3.9], [0.0, -1.0], [np.nan, 1.0], [0.0, np.inf]]
)
def test_means_outside_the_domain_are_refused(values):
    mean = LOG_NORMAL.unravel(jnp.array(values), hm.Coordinates.MEAN)
    assert not _check(mean)
    with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
        LOG_NORMAL.to_natural(mean)


def test_domains():
    def check(outside):
        point = LOG_NORMAL.from_mu_sigma(-2.0, 3.0)
        inside = LOG_NORMAL.check(point), LOG_NORMAL.check(LOG_NORMAL.to_mean(point))
        return inside, jax.vmap(lambda values: LOG_NORMAL.check(LOG_NORMAL.unravel(values)))(
            outside
        )

    outside = np.array([[0.0, 0.0], [1.0, 0.5], [np.nan, -1.0], [np.inf, -1.0]])
    inside, others = compute(check, outside)
    assert all(inside)
    assert not np.any(others)


def test_starts_are_valid(getkey):
    samples = [[1.0], [3, 3, 3], [1e-300] * 3, [1e300], [1e-8, 1.0, 1e8], [5.0, 5.0, 5.0 + 1e-15]]
    univariate.assert_starts(LOG_NORMAL, getkey(), samples)


def test_starts_have_the_spread_of_the_sample(getkey):
    xs = np.exp(7 + 1e-3 * np.random.default_rng(1).normal(size=200))

    def start(key):
        point = LOG_NORMAL.initialize_from_sample(key, xs)
        return LOG_NORMAL.mu(point), LOG_NORMAL.sigma(point)

    mu, sigma = compute(start, getkey())
    assert 5e-4 < sigma < 4e-3
    assert abs(mu - 7) < 1e-3


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
    def sample(key):
        point = LOG_NORMAL.from_mu_sigma(jnp.float32(0.0), jnp.float32(40.0))
        draws = LOG_NORMAL.sample(key, point, (2000,))
        return draws, jax.vmap(LOG_NORMAL.in_support)(draws)

    draws, supported = compute(sample, getkey())
    assert draws.dtype == np.float32
    assert np.all(supported)
    # About three in a hundred are beyond the largest number, and as many below the smallest.
    at_ends = np.mean((draws == draws.max()) | (draws == draws.min()))
    assert 0.01 < at_ends < 0.06
