"""Von Mises distributions of angles, from uniform to nearly constant."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.special
import scipy.stats

import harmonium as hm
from harmonium.families.von_mises import VonMises, VonMisesProduct, _ratio, _ratio_slope
from tests.compiled import compute
from tests.families import univariate

VON_MISES = VonMises()
MEAN = hm.Coordinates.MEAN
ANGLES = np.array([-np.pi, -2.0, -0.01, 0.0, 0.3, 1.1, 3.0, np.pi])


@jax.jit
def describe(direction, concentration):
    """What angles of this mean direction and concentration are like."""
    point = VON_MISES.from_mean_concentration(direction, concentration)
    return {
        "densities": VON_MISES.log_densities(point, ANGLES),
        "concentration": VON_MISES.concentration(point),
        "mean": VON_MISES.mean(point),
        "log partition": VON_MISES.log_partition_function(point),
        "variance": VON_MISES.variance(point),
    }


@pytest.mark.parametrize("concentration", [0.0, 1e-3, 0.9, 1.1, 29.0, 31.0, 1e4])
@pytest.mark.parametrize("direction", [0.7, -3.1])
def test_it_is_the_distribution_of_scipy(direction, concentration):
    found = jax.device_get(describe(direction, concentration))
    oracle = scipy.stats.vonmises(concentration, direction)
    univariate.assert_densities(found["densities"], oracle, ANGLES)
    np.testing.assert_allclose(found["concentration"], concentration, rtol=1e-12)
    if concentration > 0:
        np.testing.assert_allclose(found["mean"], direction, rtol=1e-12)
    bessel = [scipy.special.ive(k, concentration) for k in (0, 1)]
    expected = np.log(2 * np.pi * bessel[0]) + concentration
    np.testing.assert_allclose(found["log partition"], expected, rtol=1e-14)
    variance = (bessel[0] - bessel[1]) / bessel[0]
    np.testing.assert_allclose(found["variance"], variance, rtol=1e-10)


@pytest.mark.parametrize("concentration", [0.0, 1e-3, 2.0, 1e4])
def test_samples(concentration, getkey):
    build, oracle = VON_MISES.from_mean_concentration, _Wrapped(concentration, 1.0)
    univariate.assert_sampler(build, (1.0, concentration), getkey(), oracle)


class _Wrapped:
    """Scipy's distribution function, counted from minus pi, of a direction above zero."""

    def __init__(self, concentration, direction):
        self.oracle = scipy.stats.vonmises(concentration, direction)

    def cdf(self, xs):
        return self.oracle.cdf(xs) - self.oracle.cdf(-np.pi)


def test_samples_and_densities_agree_across_the_cut(getkey):
    nodes, weights = np.polynomial.legendre.leggauss(40)  # on [-1, 1]
    half = (np.pi - 2.5) / 2
    angles = -np.pi + half * (1 + nodes)

    def sample(key):
        point = VON_MISES.from_mean_concentration(3.1, 4.0)
        return VON_MISES.sample(key, point, (5000,)), VON_MISES.log_densities(point, angles)

    draws, densities = compute(sample, getkey())
    assert np.all(np.abs(draws) <= np.pi)
    expected = half * weights @ np.exp(densities)
    assert np.mean(draws < -2.5) == pytest.approx(expected, abs=0.035)


def _values(n=1000):
    generator = np.random.default_rng(0)
    lengths, angles = 10 ** generator.uniform(-3, 4, n), generator.uniform(-np.pi, np.pi, n)
    values = lengths[:, None] * np.stack([np.cos(angles), np.sin(angles)], axis=1)
    return values


def test_the_dual_converges_for_all_concentrations():
    values = _values()
    found = univariate.assert_dual(VON_MISES, values)
    errors = np.linalg.norm(found - values, axis=1)
    assert np.all(errors < 1e-10 * np.linalg.norm(values, axis=1))
    zero = compute(lambda: VON_MISES.to_natural(VON_MISES.zeros(MEAN)).values)
    np.testing.assert_array_equal(zero, np.zeros(2))


@pytest.mark.parametrize("concentration", [0.0, 0.4, 3.0, 100.0])
def test_the_derivative_of_the_dual(concentration):
    values = concentration * np.array([np.cos(0.5), np.sin(0.5)])
    if concentration < 50:  # beyond, differences leave the disc or are too coarse
        univariate.assert_implicit_derivative(VON_MISES, values)
    inverse, fisher = jax.device_get(inverse_and_fisher(values))
    np.testing.assert_allclose(inverse @ fisher, np.eye(2), atol=1e-8)


@jax.jit
def inverse_and_fisher(values):
    """The Jacobian of `to_natural` at the mean of natural values, and that of `to_mean`."""
    point = VON_MISES.unravel(values)
    to_natural = lambda m: VON_MISES.to_natural(VON_MISES.unravel(m, MEAN)).values  # noqa: E731
    jacobian = jax.jacobian(to_natural)(VON_MISES.to_mean(point).values)
    return jacobian, VON_MISES.fisher_matrix(point)


def test_derivatives_are_those_of_bessel_functions():
    # A' = 1 - A^2 - A / kappa, where it does not cancel, across the three formulas.
    kappa = np.array([1e-2, 0.5, 0.999, 1.001, 3.0, 10.0, 29.9, 30.1])
    # The last one is for the series below.
    squares = np.append(kappa**2, 1e10)
    ratios, slopes = compute(
        jax.vmap(lambda square: (_ratio(square), _ratio_slope(square))), squares
    )
    ratio, slope = ratios[:-1], slopes[:-1]
    length = scipy.special.ive(1, kappa) / scipy.special.ive(0, kappa)
    np.testing.assert_allclose(ratio, length / kappa, rtol=1e-14)
    expected = 1 - length**2 - length / kappa
    np.testing.assert_allclose(ratio + 2 * kappa**2 * slope, expected, rtol=1e-11)
    # For large concentrations, A' = 1 / 2 kappa^2 + 1 / 4 kappa^3 + ...
    np.testing.assert_allclose(ratios[-1] + 2e10 * slopes[-1], 5.000025e-11, rtol=1e-8)


_check = jax.jit(lambda point: VON_MISES.check(point))


@pytest.mark.parametrize("values", [[1.0, 0.0], [0.8, 0.7], [np.nan, 0.0], [np.inf, 0.0]])
def test_means_outside_the_disc_raise(values):
    mean = VON_MISES.unravel(jnp.asarray(values), MEAN)
    assert not _check(mean)
    with pytest.raises(ValueError, match="outside the mean domain of VonMises"):
        VON_MISES.to_natural(mean)


def test_domains():
    def check():
        inside = VON_MISES.zeros(), VON_MISES.unravel(jnp.asarray([0.6, 0.79]), MEAN)
        outside = VON_MISES.unravel(jnp.asarray([np.inf, 0.0]))
        return [VON_MISES.check(point) for point in (*inside, outside)]

    assert [bool(valid) for valid in compute(check)] == [True, True, False]


def test_starts_are_valid(getkey):
    spread = np.linspace(-np.pi, np.pi, 7)
    ends = [np.pi] * 3 + [-np.pi] * 4
    samples = [[0.0], [2.0] * 7, ends, spread, [1e-300] * 4 + [0.1] * 3]
    univariate.assert_starts(VON_MISES, getkey(), samples)
    narrow = VON_MISES.average_sufficient_statistic(
        2 + 0.01 * np.random.default_rng(0).normal(size=50)
    )
    mean = lambda key: VON_MISES.mean(VON_MISES.start_near(key, narrow))  # noqa: E731
    means = compute(jax.vmap(mean), jax.random.split(getkey(), 50))
    assert np.all(np.abs(means - 2) < 0.4)


def test_angles_are_between_minus_pi_and_pi():
    xs = np.array([3.2, -4.0, np.nan, np.inf])
    densities = univariate.evaluate(VON_MISES.from_mean_concentration, (), (0.0, 1.0), xs)[2]
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
