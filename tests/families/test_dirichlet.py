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
from tests.families import univariate

BETA, DIRICHLET = Beta(), Dirichlet(3)
FAMILIES = [BETA, DIRICHLET]
MEAN = hm.Coordinates.MEAN
PAIRS = [(1e-2, 3.0), (0.5, 0.5), (2.5, 1e4), (1e4, 1e4)]
TRIPLES = [(0.01, 1.0, 20.0), (0.5, 0.5, 0.5), (2.5, 1e3, 1e4), (1e4, 1e4, 1e4)]


def _spread(family, n=1000):
    """Points over the whole practical range, half of them with similar concentrations."""
    rng = np.random.default_rng(0)
    wide = np.exp(rng.uniform(np.log(1e-2), np.log(1e4), (n, family.dim)))
    wide[: n // 2] = wide[: n // 2, :1] * np.exp(rng.normal(size=(n // 2, family.dim)))
    return jax.vmap(family.unravel)(wide)


@pytest.mark.parametrize("pair", PAIRS)
def test_beta_is_the_distribution_of_scipy(pair):
    point, oracle = BETA.from_alpha_beta(*pair), scipy.stats.beta(*pair)
    assert (float(BETA.alpha(point)), float(BETA.beta(point))) == pair
    univariate.assert_moments(BETA, point, oracle)
    inside = oracle.ppf([0.2, 0.5, 0.9, 1 - 1e-6])
    inside = np.concatenate([inside, [0.1, 0.9]])
    found = np.asarray(BETA.log_densities(point, inside))
    expected = oracle.logpdf(inside)
    # The terms of the exponent of large parameters cancel, here and in scipy.
    assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10


def test_numbers_outside_are_impossible():
    xs = np.array([-0.5, 0.0, 1.0, 1.5, np.nan, np.inf])
    found = BETA.log_densities(BETA.from_alpha_beta(0.5, 0.5), xs)
    assert np.all(np.isneginf(found))


def test_beta_samples_follow_it(getkey):
    for pair in [(1e-2, 3.0), (0.9, 0.9), (2.5, 1e4), (1e4, 1e4)]:
        point, oracle = BETA.from_alpha_beta(*pair), scipy.stats.beta(*pair)
        univariate.assert_sampler(BETA, getkey(), point, oracle)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_samples_of_tiny_concentrations_are_in_the_support(family, getkey):
    point = family.unravel(jnp.full(family.dim, 1e-2))
    draws = jax.jit(lambda key: family.sample(key, point, (5000,)))(getkey())
    assert bool(jnp.all(jax.vmap(family.in_support)(draws)))
    expected = np.asarray(family.mean(point))
    np.testing.assert_allclose(np.mean(draws, axis=0), expected, atol=0.05)


@pytest.mark.parametrize("triple", TRIPLES)
def test_dirichlet_is_the_distribution_of_scipy(triple):
    point, oracle = DIRICHLET.from_concentrations(triple), scipy.stats.dirichlet(triple)
    assert tuple(np.asarray(DIRICHLET.concentrations(point))) == triple
    np.testing.assert_allclose(DIRICHLET.mean(point), oracle.mean(), rtol=1e-12)
    np.testing.assert_allclose(DIRICHLET.covariance(point), oracle.cov(), rtol=1e-9, atol=1e-20)
    xs = np.array([[0.2, 0.3, 0.5], [1e-8, 0.6, 0.4 - 1e-8], [1 / 3, 1 / 3, 1 / 3]])
    found = np.asarray(DIRICHLET.log_densities(point, xs))
    expected = np.array([oracle.logpdf(x) for x in xs])
    assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10


def test_dirichlet_samples_follow_it(getkey):
    concentrations = np.array([0.6, 2.0, 5.0])
    point = DIRICHLET.from_concentrations(concentrations)
    draws = np.asarray(jax.jit(lambda key: DIRICHLET.sample(key, point, (20_000,)))(getkey()))
    for k in range(3):  # the marginals are beta
        oracle = scipy.stats.beta(concentrations[k], concentrations.sum() - concentrations[k])
        assert scipy.stats.kstest(draws[:, k], oracle.cdf).pvalue > 1e-6
    np.testing.assert_allclose(np.cov(draws.T), DIRICHLET.covariance(point), atol=2e-3)


def test_vectors_off_the_simplex_are_impossible():
    point = DIRICHLET.from_concentrations([1.0, 1.0, 1.0])
    xs = [
        [0.5, 0.5, 0.0],
        [0.5, 0.6, -0.1],
        [0.2, 0.3, 0.6],
        [np.nan, 0.5, 0.5],
        [np.inf, 0, 0],
    ]
    assert np.all(np.isneginf(DIRICHLET.log_densities(point, np.array(xs))))
    with pytest.raises(ValueError, match=r"outside the support of Dirichlet\(3\)"):
        DIRICHLET.average_sufficient_statistic(np.array(xs[2:3]))


def test_vectors_normalised_in_single_precision_are_in_the_support():
    xs = np.random.default_rng(0).dirichlet(np.ones(200), 100).astype(np.float32)
    xs /= xs.sum(axis=1, keepdims=True)
    assert bool(jnp.all(jax.vmap(Dirichlet(200).in_support)(xs)))


@pytest.mark.parametrize("family", [*FAMILIES, Dirichlet(150)], ids=repr)
def test_means_round_trip(family):
    points = _spread(family, 1000 if family.dim < 10 else 20)
    found = univariate.assert_dual(family, points)
    np.testing.assert_allclose(found.values, points.values, rtol=1e-8)


def _exact_means(concentrations):
    with mpmath.workdps(60):
        exact = [mpmath.mpf(c) for c in concentrations]
        return [float(mpmath.digamma(c) - mpmath.digamma(sum(exact))) for c in exact]


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
    family = Dirichlet(len(concentrations))
    expected = _exact_means(concentrations)
    found = family.to_mean(family.from_concentrations(concentrations)).values
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    natural = family.to_natural(family.unravel(jnp.array(expected), MEAN)).values
    np.testing.assert_allclose(natural, concentrations, rtol=1e-9)


@pytest.mark.parametrize("family", [BETA, DIRICHLET, Dirichlet(20)], ids=repr)
def test_means_of_all_orders_of_magnitude_round_trip(family):
    orders = np.random.default_rng(1).uniform(-12, 12, (500, family.dim))
    univariate.assert_dual(family, jax.vmap(family.unravel)(10**orders), rtol=1e-9)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_that_rounding_puts_out_of_reach_are_refused(family):
    # Means are finite, but the squares of the concentrations are not representable.
    mean = family.to_mean(family.unravel(jnp.full(family.dim, 1e-300)))
    assert bool(family.check(mean))
    with pytest.raises(ValueError, match=r"did not converge.*too close to the boundary"):
        family.to_natural(mean)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_single_precision_converges(family):
    points = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), _spread(family, 200))
    means = jax.jit(jax.vmap(family.to_mean))(points)
    again = jax.jit(jax.vmap(lambda mean: family.to_mean(family.to_natural(mean))))(means)
    assert again.values.dtype == jnp.float32
    np.testing.assert_allclose(again.values, means.values, rtol=1e-3, atol=1e-5)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_derivative_is_implicit(family):
    univariate.assert_implicit_derivative(
        family, family.unravel(1.5 + jnp.arange(float(family.dim)))
    )


def test_the_log_partition_function_is_free_of_cancellation():
    concentrations = np.array([1e-3, 1e12])
    # log B(a, b) = log gamma(a) - a log b up to a (a - 1) / 2 b.
    expected = scipy.special.gammaln(1e-3) - 1e-3 * np.log(1e12)
    assert float(log_beta(jnp.asarray(concentrations))) == pytest.approx(expected, rel=1e-13)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_outside_the_domain_are_refused(family):
    boundary = jnp.full(family.dim, -np.log(family.dim))
    for values in [boundary + 1e-9, jnp.zeros(family.dim), boundary * np.nan, boundary - np.inf]:
        mean = family.unravel(values, MEAN)
        assert not bool(family.check(mean))
        with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
            family.to_natural(mean)
    assert bool(family.check(family.unravel(boundary - 1e-9, MEAN)))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_domains(family):
    assert bool(family.check(family.unravel(jnp.full(family.dim, 1e-3))))
    assert not bool(family.check(family.zeros()))
    assert not bool(family.check(family.unravel(jnp.full(family.dim, -0.5))))
    assert not bool(family.check(family.unravel(jnp.full(family.dim, np.nan))))


def test_starts_of_beta_are_valid(getkey):
    samples = [[0.5], [1e-300, 1e-300], [1 - 1e-16], [1e-9, 0.5, 1 - 1e-9], [0.3, 0.3, 0.3]]
    univariate.assert_starts(BETA, getkey(), samples)


def test_starts_of_dirichlet_are_valid(getkey):
    samples = [[[0.2, 0.3, 0.5]] * 2, [[1e-200, 1e-300, 1.0]], np.full((3, 3), 1 / 3)]
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
