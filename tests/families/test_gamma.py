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
from tests.compiled import compute
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
    """A thousand parameters over the whole practical range: shapes 1e-2 to 1e4, any scale."""
    rng = np.random.default_rng(0)
    shapes = np.exp(rng.uniform(np.log(1e-2), np.log(1e4), 1000))
    scales = np.exp(rng.uniform(np.log(1e-6), np.log(1e6), 1000))
    if family == INVERSE_GAUSSIAN:
        return scales, scales * shapes
    return shapes, scales


def _values(family, *parameters):
    """The natural values of standard parameters, or of arrays of them."""
    build = lambda *parameters: BUILD[family](*parameters).values  # noqa: E731
    return compute(jax.vmap(build) if np.ndim(parameters[0]) else build, *parameters)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_it_is_the_distribution_of_scipy(family):
    for parameters in PARAMETERS[family]:
        oracle = ORACLES[family](*parameters)
        xs = _grid(oracle)
        with np.errstate(all="ignore"):
            expected = np.where((xs > 0) & np.isfinite(xs), oracle.logpdf(xs), -np.inf)
        _, _, found, mean, variance = jax.device_get(
            univariate.evaluate(BUILD[family], (), parameters, xs)
        )
        np.testing.assert_array_equal(np.isneginf(found), np.isneginf(expected))
        finite = np.isfinite(expected)
        assert np.sum(finite) >= 3
        # The terms of the exponent of large shapes cancel.
        found, expected = found[finite], expected[finite]
        assert np.max(np.abs(found - expected) / (1 + np.abs(expected))) < 2e-10
        univariate.assert_moments(mean, variance, oracle)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_samples_follow_it(family, getkey):
    for parameters in PARAMETERS[family]:
        if parameters[0] == 1e-2:
            continue  # some of these numbers are not representable, see below
        oracle = ORACLES[family](*parameters)
        univariate.assert_sampler(BUILD[family], parameters, getkey(), oracle)


@pytest.mark.parametrize("family", [GAMMA, INVERSE_GAMMA], ids=repr)
def test_samples_of_tiny_shapes_are_in_the_support(family, getkey):
    def sample(key):
        draws = family.sample(key, BUILD[family](1e-2, 1.0), (20_000,))
        return draws, jax.vmap(family.in_support)(draws)

    draws, supported = compute(sample, getkey())
    assert np.all(supported)
    deepest = np.abs(np.log(draws)) > 700
    assert 0 < np.mean(deepest) < 2e-3
    oracle = ORACLES[family](1e-2, 1.0)
    assert np.mean(draws < 1) == pytest.approx(oracle.cdf(1), abs=1e-2)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_round_trip(family):
    values = _values(family, *_draws(family))
    found = univariate.assert_dual(family, values)
    # What a mean says of the shape is the difference of nearly equal numbers, 1e-4 of them.
    np.testing.assert_allclose(found, values, rtol=1e-8)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_the_derivative_is_implicit(family):
    univariate.assert_implicit_derivative(family, _values(family, 2.5, 0.4))


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_means_outside_the_domain_are_refused(family):
    mean_point = lambda values: family.unravel(jnp.asarray(values), hm.Coordinates.MEAN)  # noqa: E731
    check = lambda values: family.check(mean_point(values))  # noqa: E731
    assert not np.any(compute(jax.vmap(check), np.array(OUTSIDE[family])))
    for values in OUTSIDE[family]:
        mean = mean_point(values)
        with pytest.raises(ValueError, match="outside the mean domain or on its boundary"):
            family.to_natural(mean)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_domains(family):
    def check():
        natural = BUILD[family](2.0, 3.0)
        points = natural, family.to_mean(natural), family.zeros(), -natural, natural * jnp.nan
        return [family.check(point) for point in points]

    natural, mean, *others = compute(check)
    assert natural and mean
    assert not any(others)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_starts_are_valid(family, getkey):
    samples = [[1.0], [3, 3, 3], [1e-100] * 3, [1e100], [1e-8, 1.0, 1e8], [0.9, 1.0, 1.1]]
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
    def there_and_back():
        gamma, inverse = GAMMA.from_shape_rate(0.3, 7), INVERSE_GAMMA.from_shape_scale(0.3, 7)
        gaussian = INVERSE_GAUSSIAN.from_mean_shape(0.3, 7)
        return (
            (GAMMA.shape(gamma), GAMMA.rate(gamma)),
            (INVERSE_GAMMA.shape(inverse), INVERSE_GAMMA.scale(inverse)),
            (INVERSE_GAUSSIAN.mean(gaussian), INVERSE_GAUSSIAN.shape(gaussian)),
        )

    gamma, inverse, (mean, shape) = compute(there_and_back)
    assert gamma == inverse == (0.3, 7.0)
    assert float(mean) == pytest.approx(0.3, rel=1e-14)
    assert float(shape) == 7.0


def test_the_gap_is_accurate_from_end_to_end():
    shapes = np.logspace(-6, 12, 200)
    found = compute(log_minus_digamma, shapes)
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
    found = compute(digamma_difference, xs, steps)
    np.testing.assert_allclose(found, expected, rtol=1e-14)


@pytest.mark.parametrize("family", FAMILIES, ids=repr)
def test_single_precision_stays_in_the_domain(family):
    def means(values):
        mean = family.to_mean(family.unravel(values))
        return mean, family.admits_mean(mean)

    def again(mean):
        return family.to_mean(family.to_natural(mean)).values

    values = _values(family, *_draws(family))[:200].astype(np.float32)
    mean, inside = compute(jax.vmap(means), values)
    assert np.mean(inside) > 0.95  # rounding takes a few of shape 1e4 across
    mean = jax.tree.map(lambda leaf: leaf[inside], mean)
    found = compute(jax.vmap(again), mean)
    assert found.dtype == np.float32
    np.testing.assert_allclose(found, mean.values, rtol=1e-4, atol=1e-5)
