"""What to expect of an observation whose mean parameters are known, against scipy's means."""

import math

import jax
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from harmonium.exponential_family.partial import expected_observation
from tests.compiled import compute

stats = scipy.stats


def _normal(covariance, spread):
    return lambda mean: hm.Normal(2, covariance).from_mean_covariance(mean, spread)


def _direction(mean, concentration):
    """By the trapezoidal rule, which is exact for smooth periodic functions."""
    angles = np.linspace(-np.pi, np.pi, 400, endpoint=False)
    densities = stats.vonmises(concentration, mean).pdf(angles)
    return np.angle(densities @ np.exp(1j * angles))


# For each family: the constructor of points, two lists of standard parameters, and what scipy
# expects of an observation.
NUMBERS = {
    "bernoulli": (hm.Bernoulli().from_probability, [0.2], [0.9], stats.bernoulli),
    "binomial": (hm.Binomial(7).from_probability, [0.2], [0.9], lambda p: stats.binom(7, p)),
    "poisson": (hm.Poisson().from_rate, [0.3], [40.0], stats.poisson),
    "geometric": (hm.Geometric().from_probability, [0.2], [0.7], stats.geom),
    "negative binomial": (
        hm.NegativeBinomial(2.5).from_probability,
        [0.2],
        [0.8],
        lambda p: stats.nbinom(2.5, 1 - p),
    ),
    "exponential": (hm.Exponential().from_rate, [0.2], [7.0], lambda r: stats.expon(scale=1 / r)),
    "gamma": (
        hm.Gamma().from_shape_rate,
        [0.4, 3.0],
        [9.0, 0.1],
        lambda a, b: stats.gamma(a, scale=1 / b),
    ),
    "inverse gaussian": (
        hm.InverseGaussian().from_mean_shape,
        [0.4, 3.0],
        [9.0, 0.5],
        lambda m, s: stats.invgauss(m / s, scale=s),
    ),
    "laplace": (hm.Laplace(0.3).from_scale, [0.2], [7.0], lambda b: stats.laplace(0.3, b)),
    "multinomial": (
        hm.Multinomial(5, 3).from_probabilities,
        [[0.2, 0.3, 0.5]],
        [[0.7, 0.2, 0.1]],
        lambda p: stats.multinomial(5, p),
    ),
    "normal": (
        _normal(None, [[2.0, 0.5], [0.5, 1.0]]),
        [[1.0, -3.0]],
        [[0.5, 20.0]],
        stats.multivariate_normal,
    ),
    "unit normal": (
        _normal(hm.Identity(), None),
        [[1.0, -3.0]],
        [[0.5, 20.0]],
        stats.multivariate_normal,
    ),
}


def _mean(oracle):
    return oracle.mean() if callable(oracle.mean) else oracle.mean


@pytest.mark.parametrize("name", NUMBERS)
def test_numbers_are_expected_to_be_their_mean(name):
    """Of a mixture, too, whose mean parameters are those of no single distribution."""
    build, first, second, oracle = NUMBERS[name]
    _assert_expected(build, (first, second), [_mean(oracle(*first)), _mean(oracle(*second))])


def _assert_expected(build, parameters, expected):
    """Of two distributions with these standard parameters, and of a mixture of them."""

    def observations():
        first, second = (build(*p) for p in parameters)
        family = first.manifold
        means = family.to_mean(first), family.to_mean(second)
        mixed = means[0] * 0.3 + means[1] * 0.7
        return [expected_observation(family, mean) for mean in (*means, mixed)]

    *found, mixed = compute(observations)
    for observation, wanted in zip(found, expected, strict=True):
        np.testing.assert_allclose(observation, wanted, rtol=1e-10)
    np.testing.assert_allclose(mixed, 0.3 * expected[0] + 0.7 * expected[1], rtol=1e-10)


def test_a_conway_maxwell_poisson_count_is_expected_to_be_its_mean():
    """By summation: scipy has no such distribution."""
    counts, expected = np.arange(200), []
    parameters = ((2.5, 0.7), (6.0, 2.0))
    for mode, dispersion in parameters:
        logs = dispersion * (counts * math.log(mode) - scipy.special.gammaln(counts + 1))
        probabilities = scipy.special.softmax(logs)
        expected.append(probabilities @ counts)
    _assert_expected(hm.CoMPoisson().from_mode_dispersion, parameters, expected)


def test_angles_are_expected_in_their_mean_direction():
    family = hm.VonMises()
    parameters = ((3.0, 0.5), (-3.0, 0.5), (1.0, 20.0))

    def observations():
        points = [family.from_mean_concentration(*p) for p in parameters]
        means = [family.to_mean(point) for point in points]
        halfway = expected_observation(family, (means[0] + means[1]) * 0.5)
        return [
            (expected_observation(family, mean), family.mean(point))
            for mean, point in zip(means, points, strict=True)
        ], halfway

    found, halfway = compute(observations)
    for (observation, mean), p in zip(found, parameters, strict=True):
        np.testing.assert_allclose(observation, mean, rtol=1e-12)
        np.testing.assert_allclose(observation, _direction(*p), rtol=1e-10)
    # Half of the mass around 3 and half around -3: the direction is pi, and not zero.
    np.testing.assert_allclose(np.cos(halfway), -1, atol=1e-12)


def test_the_most_probable_category_is_expected():
    family = hm.Categorical(4)

    def expect(probabilities):
        mean = family.to_mean(family.from_probabilities(probabilities))
        return expected_observation(family, mean)

    found = compute(jax.vmap(expect), np.full((4, 4), 0.2) + 0.2 * np.eye(4))
    assert list(found) == [0, 1, 2, 3] and np.issubdtype(found.dtype, np.integer)


def test_products_and_replicas_are_expected_part_by_part():
    family = hm.Product(hm.Normal(2), hm.Replicated(hm.Poisson(), 3), hm.Categorical(2))
    rates = np.array([0.5, 2.0, 7.0])

    def expect():
        components = (
            family.parts[0].from_mean_covariance([1.0, 2.0], [[1.0, 0.5], [0.5, 1.0]]),
            family.parts[1].unravel(np.log(rates)),
            family.parts[2].from_probabilities([0.4, 0.6]),
        )
        point = hm.geometry.ProductPoint(components, family, hm.Coordinates.NATURAL)
        return expected_observation(family, family.to_mean(point))

    vector, counts, category = compute(expect)
    np.testing.assert_allclose(vector, [1.0, 2.0], rtol=1e-12)
    np.testing.assert_allclose(counts, rates, rtol=1e-12)
    assert int(category) == 1


# Observations are no statistic of these: E[log x], say, does not give E[x] of a mixture.
SILENT = {
    "beta": hm.Beta(),
    "dirichlet": hm.Dirichlet(3),
    "log normal": hm.LogNormal(),
    "weibull": hm.Weibull(1.7),
    "inverse gamma": hm.InverseGamma(),
    "product": hm.Product(hm.Normal(2), hm.Beta()),
    "replicas": hm.Replicated(hm.LogNormal(), 2),
}


@pytest.mark.parametrize("name", SILENT)
def test_others_say_to_draw_samples(name):
    family = SILENT[name]
    mean = jax.jit(lambda key: family.to_mean(family.initialize(key)))(jax.random.key(0))
    with pytest.raises(TypeError, match=r"do not tell what observation to expect\. Draw samples"):
        expected_observation(family, mean)
