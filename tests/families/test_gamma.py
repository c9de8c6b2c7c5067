"""Gamma, inverse gamma and inverse Gaussian numbers."""

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from harmonium.families.gamma import Gamma, digamma_difference, log_minus_digamma
from harmonium.families.inverse_gamma import InverseGamma
from harmonium.families.inverse_gaussian import InverseGaussian
from tests.families import univariate

GAMMA, INVERSE_GAMMA, INVERSE_GAUSSIAN = Gamma(), InverseGamma(), InverseGaussian()
BUILD = {
    GAMMA: GAMMA.from_shape_rate,
    INVERSE_GAMMA: INVERSE_GAMMA.from_shape_scale,
    INVERSE_GAUSSIAN: INVERSE_GAUSSIAN.from_mean_shape,
}
ORACLES = {
    GAMMA: lambda shape, rate: scipy.stats.gamma(shape, scale=1 / rate),
    INVERSE_GAMMA: lambda shape, scale: scipy.stats.invgamma(shape, scale=scale),
    INVERSE_GAUSSIAN: lambda mean, shape: scipy.stats.invgauss(mean / shape, scale=shape),
}
PARAMETERS = {
    GAMMA: [(1e-2, 3.0), (1.0, 1e-6), (2.5, 0.4), (1e4, 1e6)],
    INVERSE_GAMMA: [(1e-2, 3.0), (1.0, 1e-6), (3.5, 0.4), (1e4, 1e6)],
    INVERSE_GAUSSIAN: [(1e4, 1.0), (1e-6, 1e-6), (2.5, 0.4), (1.0, 1e4)],
}
FAMILIES = list(BUILD)
OUTSIDE = {
    GAMMA: [[0.0, 1.0], [0.1, 1.0], [0.0, -1.0], [np.nan, 1.0], [-np.inf, 1.0], [0.0, np.inf]],
    INVERSE_GAMMA: [[0.0, 1.0], [-0.1, 1.0], [0.0, -1.0], [np.nan, 1.0], [0.0, np.inf]],
    INVERSE_GAUSSIAN: [[1.0, 1.0], [2.0, 0.4], [-1.0, -2.0], [np.nan, 1.0], [1.0, np.inf]],
}


def _grid(oracle):
    with np.errstate(all="ignore"):
        inside = oracle.ppf([0.2, 0.5, 0.9, 1 - 1e-6])
    inside = inside[(inside > 1e-300) & (inside < 1e300)]
    return np.concatenate([[-1.0, 0.0, np.nan, np.inf], inside, 3 * inside, inside / 3])


def _draws(family):
    """A thousand points over the whole practical range: shapes 1e-2 to 1e4, any scale."""
    rng = np.random.default_rng(0)
    shapes = np.exp(rng.uniform(np.log(1e-2), np.log(1e4), 1000))
    scales = np.exp(rng.uniform(np.log(1e-6), np.log(1e6), 1000))
    if family == INVERSE_GAUSSIAN:
        return jax.vmap(family.from_mean_shape)(scales, scales * shapes)
    return jax.vmap(BUILD[family])(shapes, scales)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_it_is_the_distribution_of_scipy(family):
    for parameters in PARAMETERS[family]:
        point, oracle = BUILD[family](*parameters), ORACLES[family](*parameters)
        xs = _grid(oracle)
        with np.errstate(all="ignore"):
            expected = np.where((xs > 0) & np.isfinite(xs), oracle.logpdf(xs), -np.inf)
        found = np.asarray(family.log_densities(point, xs))
        np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
        finite = np.isfinite(expected)
        assert np.sum(finite) >= 3
        # The terms of the exponent of large shapes cancel.
        found, expected = found[finite], expected[finite]
        assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10
        univariate.assert_moments(family, point, oracle)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_samples_follow_it(family, getkey):
    for parameters in PARAMETERS[family]:
        if parameters[0] == 1e-2:
            continue  # some of these numbers are not representable, see below
        point, oracle = BUILD[family](*parameters), ORACLES[family](*parameters)
        univariate.assert_sampler(family, getkey(), point, oracle)


@pytest.mark.parametrize("family", [GAMMA, INVERSE_GAMMA], ids=repr)
def test_samples_of_tiny_shapes_are_in_the_support(family, getkey):
    point = BUILD[family](1e-2, 1.0)
    draws = jax.jit(lambda key: family.sample(key, point, (20_000,)))(getkey())
    assert bool(jnp.all(jax.vmap(family.in_support)(draws)))
    deepest = np.abs(np.log(np.asarray(draws))) > 700
    assert 0 < np.mean(deepest) < 2e-3
    oracle = ORACLES[family](1e-2, 1.0)
    assert np.mean(np.asarray(draws) < 1) == pytest.approx(oracle.cdf(1), abs=1e-2)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_round_trip(family):
    points = _draws(family)
    found = univariate.assert_dual(family, points)
    # What a mean says of the shape is the difference of nearly equal numbers, 1e-4 of them.
    np.testing.assert_allclose(found.values, points.values, rtol=1e-8)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_derivative_is_implicit(family):
    univariate.assert_implicit_derivative(family, BUILD[family](2.5, 0.4))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_outside_the_domain_are_refused(family):
    for values in OUTSIDE[family]:
        mean = family.unravel(jnp.array(values), hm.Coordinates.MEAN)
        assert not bool(family.check(mean))
        with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
            family.to_natural(mean)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_domains(family):
    natural = BUILD[family](2.0, 3.0)
    mean = family.to_mean(natural)
    assert bool(family.check(natural)) and bool(family.check(mean))
    assert not bool(family.check(family.zeros()))
    assert not bool(family.check(-natural))
    assert not bool(family.check(natural * jnp.nan))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_starts_are_valid(family, getkey):
    samples = [[1.0], [3, 3], [1e-100, 1e-100], [1e100], [1e-8, 1.0, 1e8], [0.9, 1.0, 1.1]]
    univariate.assert_starts(family, getkey(), samples)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_parameters_are_positive(family, bad):
    with pytest.raises(ValueError, match=f" of {family}.*positive"):
        BUILD[family](bad, 1.0)
    with pytest.raises(ValueError, match=f" of {family}.*positive"):
        BUILD[family](1.0, bad)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
@pytest.mark.parametrize("bad", [0.0, -1.0, np.nan, np.inf])
def test_data_are_positive(family, bad):
    with pytest.raises(ValueError, match=f"outside the support of {family}"):
        family.average_sufficient_statistic([1.0, bad])


def test_standard_parameters_round_trip():
    point = GAMMA.from_shape_rate(0.3, 7)
    assert (float(GAMMA.shape(point)), float(GAMMA.rate(point))) == (0.3, 7.0)
    point = INVERSE_GAMMA.from_shape_scale(0.3, 7)
    assert (float(INVERSE_GAMMA.shape(point)), float(INVERSE_GAMMA.scale(point))) == (0.3, 7.0)
    point = INVERSE_GAUSSIAN.from_mean_shape(0.3, 7)
    assert float(INVERSE_GAUSSIAN.mean(point)) == pytest.approx(0.3, rel=1e-14)
    assert float(INVERSE_GAUSSIAN.shape(point)) == 7.0


def test_the_gap_is_accurate_from_end_to_end():
    shapes = np.logspace(-6, 12, 200)
    found = np.asarray(log_minus_digamma(jnp.asarray(shapes)))
    # Bounds that meet at both ends: Alzer, Math. Comp. 66 (1997).
    assert np.all(found <= 1 / shapes) and np.all(found >= 0.5 / shapes)
    moderate = (shapes > 1e-6) & (shapes < 1e3)
    expected = np.log(shapes) - scipy.special.digamma(shapes)
    np.testing.assert_allclose(found[moderate], expected[moderate], rtol=1e-11)
    large = shapes[shapes > 1e6]
    expected = 0.5 / large + 1 / (12 * large**2)
    np.testing.assert_allclose(found[shapes > 1e6], expected, rtol=1e-14)


def test_differences_of_the_digamma_function_are_exact():
    rng = np.random.default_rng(2)
    xs, steps = 10 ** rng.uniform(-12, 12, 200), 10 ** rng.uniform(-20, 14, 200)
    with mpmath.workdps(60):
        pairs = [(mpmath.mpf(x), mpmath.mpf(h)) for x, h in zip(xs, steps, strict=True)]
        expected = [float(mpmath.digamma(x + h) - mpmath.digamma(x)) for x, h in pairs]
    found = digamma_difference(jnp.asarray(xs), jnp.asarray(steps))
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_single_precision_stays_in_the_domain(family):
    points = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), _draws(family)[:200])
    means = jax.jit(jax.vmap(family.to_mean))(points)
    inside = jax.vmap(family.admits_mean)(means)
    assert np.mean(np.asarray(inside)) > 0.95  # rounding takes a few of shape 1e4 across
    means = jax.tree.map(lambda leaf: leaf[inside], means)
    again = jax.jit(jax.vmap(lambda mean: family.to_mean(family.to_natural(mean))))(means)
    assert again.values.dtype == jnp.float32
    np.testing.assert_allclose(again.values, means.values, rtol=1e-4, atol=1e-5)
