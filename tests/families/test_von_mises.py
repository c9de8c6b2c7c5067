"""Von Mises distributions of angles, from uniform to nearly constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.integrate
import scipy.special
import scipy.stats

import harmonium as hm
from harmonium.families.von_mises import VonMises, VonMisesProduct, _ratio, _ratio_slope
from tests.families import univariate

VON_MISES = VonMises()
ANGLES = np.array([-np.pi, -2.0, -0.01, 0.0, 0.3, 1.1, 3.0, np.pi])


@pytest.mark.parametrize("concentration", [0.0, 1e-3, 0.9, 1.1, 29.0, 31.0, 1e4])
@pytest.mark.parametrize("direction", [0.7, -3.1])
def test_it_is_the_distribution_of_scipy(direction, concentration):
    point = VON_MISES.from_mean_concentration(direction, concentration)
    oracle = scipy.stats.vonmises(concentration, direction)
    univariate.assert_densities(VON_MISES, point, oracle, ANGLES)
    np.testing.assert_allclose(VON_MISES.concentration(point), concentration, rtol=1e-12)
    if concentration > 0:
        np.testing.assert_allclose(VON_MISES.mean(point), direction, rtol=1e-12)
    bessel = [scipy.special.ive(k, concentration) for k in (0, 1)]
    expected = np.log(2 * np.pi * bessel[0]) + concentration
    np.testing.assert_allclose(VON_MISES.log_partition_function(point), expected, rtol=1e-14)
    variance = (bessel[0] - bessel[1]) / bessel[0]
    np.testing.assert_allclose(VON_MISES.variance(point), variance, rtol=1e-10)


@pytest.mark.parametrize("concentration", [0.0, 1e-3, 2.0, 1e4])
def test_samples(concentration, getkey):
    point = VON_MISES.from_mean_concentration(1.0, concentration)
    univariate.assert_sampler(VON_MISES, getkey(), point, _Wrapped(concentration, 1.0))


class _Wrapped:
    """Scipy's distribution function, counted from minus pi, of a direction above zero."""

    def __init__(self, concentration, direction):
        self.oracle = scipy.stats.vonmises(concentration, direction)

    def cdf(self, xs):
        return self.oracle.cdf(xs) - self.oracle.cdf(-np.pi)


def test_samples_and_densities_agree_across_the_cut(getkey):
    point = VON_MISES.from_mean_concentration(3.1, 4.0)
    draws = np.asarray(VON_MISES.sample(getkey(), point, (5000,)))
    assert np.all(np.abs(draws) <= np.pi)
    density = lambda x: float(np.exp(VON_MISES.log_density(point, x)))  # noqa: E731
    expected, _ = scipy.integrate.quad(density, -np.pi, -2.5)
    assert np.mean(draws < -2.5) == pytest.approx(expected, abs=0.035)


def _points(n=1000):
    generator = np.random.default_rng(0)
    lengths, angles = 10 ** generator.uniform(-3, 4, n), generator.uniform(-np.pi, np.pi, n)
    values = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return jax.vmap(VON_MISES.unravel)(jnp.asarray(values))


def test_the_dual_converges_for_all_concentrations():
    points = _points()
    found = univariate.assert_dual(VON_MISES, points)
    errors = np.linalg.norm(found.values - points.values, axis=1)
    assert np.all(errors < 1e-10 * np.linalg.norm(points.values, axis=1))
    zero = VON_MISES.to_natural(VON_MISES.zeros(hm.Coordinates.MEAN))
    np.testing.assert_array_equal(zero.values, np.zeros(2))


@pytest.mark.parametrize("concentration", [0.0, 0.4, 3.0, 100.0])
def test_the_derivative_of_the_dual(concentration):
    point = VON_MISES.from_mean_concentration(0.5, concentration)
    if concentration < 50:  # beyond, differences leave the disc or are too coarse
        univariate.assert_implicit_derivative(VON_MISES, point)
    inverse = jax.jacobian(lambda m: VON_MISES.to_natural(VON_MISES.unravel(m, MEAN)).values)(
        VON_MISES.to_mean(point).values
    )
    product = inverse @ VON_MISES.fisher_matrix(point)
    np.testing.assert_allclose(product, np.eye(2), atol=1e-8)


MEAN = hm.Coordinates.MEAN


def test_derivatives_are_those_of_bessel_functions():
    # A' = 1 - A^2 - A / kappa, where it does not cancel, across the three formulas.
    kappa = np.array([1e-2, 0.5, 0.999, 1.001, 3.0, 10.0, 29.9, 30.1])
    ratio = np.asarray(jax.vmap(_ratio)(jnp.asarray(kappa**2)))
    slope = np.asarray(jax.vmap(_ratio_slope)(jnp.asarray(kappa**2)))
    length = scipy.special.ive(1, kappa) / scipy.special.ive(0, kappa)
    np.testing.assert_allclose(ratio, length / kappa, rtol=1e-14)
    expected = 1 - length**2 - length / kappa
    np.testing.assert_allclose(ratio + 2 * kappa**2 * slope, expected, rtol=1e-11)
    # For large concentrations, A' = 1 / 2 kappa^2 + 1 / 4 kappa^3 + ...
    large = jnp.asarray(1e10)
    np.testing.assert_allclose(_ratio(large) + 2e10 * _ratio_slope(large), 5.000025e-11, rtol=1e-8)


@pytest.mark.parametrize("values", [[1.0, 0.0], [0.8, 0.7], [np.nan, 0.0], [np.inf, 0.0]])
def test_means_outside_the_disc_raise(values):
    mean = VON_MISES.unravel(jnp.asarray(values), MEAN)
    assert not bool(VON_MISES.check(mean))
    with pytest.raises(ValueError, match="outside the mean domain of VonMises"):
        VON_MISES.to_natural(mean)


def test_domains():
    assert bool(VON_MISES.check(VON_MISES.zeros()))
    assert bool(VON_MISES.check(VON_MISES.unravel(jnp.asarray([0.6, 0.79]), MEAN)))
    assert not bool(VON_MISES.check(VON_MISES.unravel(jnp.asarray([np.inf, 0.0]))))


def test_starts_are_valid(getkey):
    spread = np.linspace(-np.pi, np.pi, 7)
    samples = [[0.0], [2.0, 2.0, 2.0], [np.pi, -np.pi], spread, [1e-300, 0.1]]
    univariate.assert_starts(VON_MISES, getkey(), samples)
    narrow = np.asarray(2 + 0.01 * jax.random.normal(getkey(), (50,)))
    starts = jax.vmap(lambda k: VON_MISES.typical(k, narrow))(jax.random.split(getkey(), 50))
    assert np.all(np.abs(jax.vmap(VON_MISES.mean)(starts) - 2) < 0.4)


def test_angles_are_between_minus_pi_and_pi():
    point = VON_MISES.from_mean_concentration(0.0, 1.0)
    densities = VON_MISES.log_densities(point, np.array([3.2, -4.0, np.nan, np.inf]))
    np.testing.assert_array_equal(densities, -np.inf)
    with pytest.raises(ValueError, match="outside the support of VonMises"):
        VON_MISES.average_sufficient_statistic([0.0, 3.2])


@pytest.mark.parametrize(
    ("mean", "concentration", "phrase"),
    [
        (0.0, -1.0, "concentration of VonMises.*not negative"),
        (0.0, np.nan, "concentration of VonMises.*finite"),
        (0.0, np.inf, "concentration of VonMises.*finite"),
        (np.nan, 1.0, "mean of VonMises.*must be finite"),
        ([0.0], 1.0, r"mean of VonMises.*shape \(\)"),
    ],
)
def test_bad_parameters(mean, concentration, phrase):
    with pytest.raises(ValueError, match=phrase):
        VON_MISES.from_mean_concentration(mean, concentration)


def test_plural_is_replicated():
    assert VonMisesProduct(3) == hm.Replicated(VON_MISES, 3)
