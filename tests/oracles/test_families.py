"""Normals and categoricals against SciPy and closed forms, badly scaled ones too."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import log_softmax
from scipy.stats import Covariance, entropy, multivariate_normal

import harmonium as hm
from tests.compiled import compute

from . import dense

RTOL = 1e-9
STRUCTURES = {
    "full": hm.PositiveDefinite(),
    "diagonal": hm.Diagonal(),
    "scale": hm.Scale(),
    "identity": hm.Identity(),
}
# Standard deviations of the coordinates, as far as a structure admits them, and sizes of the means.
SCALES = {"unit": np.ones(4), "small": np.full(4, 1e-4), "mixed": np.array([1e-3, 1.0, 30.0, 1e4])}
normals = pytest.mark.parametrize("structure", STRUCTURES.values(), ids=STRUCTURES.keys())
scales = pytest.mark.parametrize("scale", SCALES.values(), ids=SCALES.keys())


def moments(structure, scale, rng):
    """A mean, and a covariance in the form of the structure."""
    mean = rng.normal(size=4)
    if structure == hm.Identity():
        return mean, None
    if structure == hm.Scale():
        return mean * scale[-1], scale[-1] ** 2 * rng.uniform(0.5, 2)
    mean = mean * scale
    if structure == hm.Diagonal():
        return mean, scale**2 * rng.uniform(0.5, 2, 4)
    root = rng.normal(size=(4, 4))
    return mean, (root @ root.T + 0.5 * np.eye(4)) * np.outer(scale, scale)


def normal_values(normal, moments, other_moments, xs):
    first = normal.from_mean_covariance(*moments)
    second = normal.from_mean_covariance(*other_moments)
    return {
        "densities": normal.log_densities(first, xs),
        "density": normal.log_density(first, xs[0]),
        "negative_entropy": normal.negative_entropy(normal.to_mean(first)),
        "relative_entropy": normal.relative_entropy(first, second),
        "mean": normal.mean(first),
        "covariance": normal.covariance(first),
        "statistics": normal.to_mean(first),
    }


@scales
@normals
def test_normal(structure, scale):
    rng = np.random.default_rng(41)
    normal = hm.Normal(4, structure)
    (mean, covariance), (mean_2, covariance_2) = (moments(structure, scale, rng) for _ in range(2))
    full, full_2 = dense.full_matrix(normal, covariance), dense.full_matrix(normal, covariance_2)
    xs = mean + rng.normal(size=(10, 4)) @ np.linalg.cholesky(full).T
    found = compute(normal_values, normal, (mean, covariance), (mean_2, covariance_2), xs)

    # From a Cholesky factor, as SciPy drops small eigenvalues otherwise.
    oracle = multivariate_normal(mean, Covariance.from_cholesky(np.linalg.cholesky(full)))
    np.testing.assert_allclose(found["densities"], oracle.logpdf(xs), rtol=RTOL)
    np.testing.assert_allclose(found["density"], oracle.logpdf(xs[0]), rtol=RTOL)
    np.testing.assert_allclose(found["mean"], mean, rtol=RTOL)
    if covariance is not None:
        np.testing.assert_allclose(found["covariance"], covariance, rtol=RTOL)

    # The negative entropy is relative to the base measure, E[log p(x) - log h(x)].
    base_measure = -2 * np.log(2 * np.pi)
    if structure == hm.Identity():
        base_measure -= 0.5 * (mean @ mean + 4)
    np.testing.assert_allclose(
        found["negative_entropy"], -oracle.entropy() - base_measure, rtol=RTOL, atol=1e-12
    )

    whitened = np.linalg.solve(full_2, full)
    shift = mean_2 - mean
    divergence = 0.5 * (
        np.trace(whitened)
        - 4
        + shift @ np.linalg.solve(full_2, shift)
        + np.linalg.slogdet(full_2)[1]
        - np.linalg.slogdet(full)[1]
    )
    np.testing.assert_allclose(found["relative_entropy"], divergence, rtol=RTOL)

    statistics = found["statistics"]
    np.testing.assert_allclose(statistics.location, mean, rtol=RTOL)
    second = full + np.outer(mean, mean)
    expected = {
        hm.PositiveDefinite(): second,
        hm.Diagonal(): np.diagonal(second),
        hm.Scale(): np.trace(second),
        hm.Identity(): np.zeros(0),
    }
    np.testing.assert_allclose(statistics.shape, expected[structure], rtol=RTOL)


@normals
def test_normal_samples(structure):
    normal = hm.Normal(4, structure)
    mean, covariance = moments(structure, SCALES["unit"], np.random.default_rng(42))

    def draw():
        point = normal.from_mean_covariance(mean, covariance)
        return normal.sample(jax.random.key(43), point, (20_000,))

    dense.assert_moments(compute(draw), mean, dense.full_matrix(normal, covariance))


def test_normal_with_a_nearly_singular_covariance():
    # Correlations of 1 - 1e-8: condition number 4e8, which costs as many digits.
    normal = hm.Normal(3)
    covariance = np.full((3, 3), 1 - 1e-8) + 1e-8 * np.eye(3)
    xs = np.random.default_rng(44).normal(size=(8, 1)) * np.ones(3)
    expected = multivariate_normal(np.zeros(3), covariance).logpdf(xs)

    def evaluate(covariance, xs):
        point = normal.from_mean_covariance(np.zeros(3), covariance)
        return normal.log_densities(point, xs)

    np.testing.assert_allclose(compute(evaluate, covariance, xs), expected, rtol=1e-6)


PROBABILITIES = {
    "two": np.array([0.3, 0.7]),
    "many": np.random.default_rng(45).dirichlet(np.ones(7)),
    "skewed": np.array([1e-12, 1 - 1e-6 - 1e-12, 1e-6]),
    "skewed-to-the-reference": np.array([1 - 3e-10, 1e-10, 2e-10]),
}


@pytest.mark.parametrize("weights", PROBABILITIES.values(), ids=PROBABILITIES.keys())
def test_categorical(weights):
    n = len(weights)
    family = hm.Categorical(n)
    others = np.random.default_rng(46).dirichlet(np.ones(n))

    def evaluate(weights, others):
        first, second = family.from_probabilities(weights), family.from_probabilities(others)
        return {
            "densities": family.log_densities(first, jnp.arange(n)),
            "density": family.log_density(first, jnp.asarray(n - 1)),
            "entropy": -family.negative_entropy(family.to_mean(first)),
            "relative_entropy": family.relative_entropy(first, second),
            "mean": family.to_mean(first).values,
            "probabilities": family.probabilities(first),
            "outside": family.log_density(first, jnp.asarray(n)),
        }

    found = compute(evaluate, weights, others)
    np.testing.assert_allclose(found["densities"], np.log(weights), rtol=RTOL, atol=1e-15)
    np.testing.assert_allclose(found["density"], np.log(weights[-1]), rtol=RTOL)
    np.testing.assert_allclose(found["entropy"], entropy(weights), rtol=1e-7)
    np.testing.assert_allclose(found["relative_entropy"], entropy(weights, others), rtol=RTOL)
    np.testing.assert_allclose(found["mean"], weights[1:], rtol=RTOL)
    np.testing.assert_allclose(found["probabilities"], weights, rtol=RTOL)
    assert found["outside"] == -np.inf


def test_categorical_with_extreme_log_odds():
    family = hm.Categorical(4)
    log_odds = np.array([700.0, -700.0, 710.0])
    found = compute(lambda v: family.log_densities(family.unravel(v), np.arange(4)), log_odds)
    expected = log_softmax(np.concatenate([[0.0], log_odds]))
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-12)


def test_categorical_samples():
    weights = PROBABILITIES["many"]
    family = hm.Categorical(7)

    def draw():
        return family.sample(jax.random.key(47), family.from_probabilities(weights), (20_000,))

    counts = np.bincount(compute(draw), minlength=7)
    error = np.sqrt(20_000 * weights * (1 - weights))
    np.testing.assert_array_less(np.abs(counts - 20_000 * weights), 5 * error)
