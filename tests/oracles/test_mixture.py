"""Mixtures against sums over their components, and Bayes by enumeration."""

import jax
import numpy as np
import pytest
from scipy.special import logsumexp
from scipy.stats import multivariate_normal

import harmonium as hm
from tests.compiled import compute

from . import dense

RTOL = 1e-9
NORMALS = {
    "full": hm.Mixture(hm.Normal(3), 4),
    "diagonal": hm.Mixture(hm.Normal(3, hm.Diagonal()), 4),
    "scale": hm.Mixture(hm.Normal(3, hm.Scale()), 4),
    "identity": hm.Mixture(hm.Normal(3, hm.Identity()), 4),
    "tied": hm.Mixture(hm.Normal(3), 4, hm.LocationEmbedding(hm.Normal(3))),
    "tied-diagonal": hm.Mixture(
        hm.Normal(3, hm.Diagonal()), 4, hm.LocationEmbedding(hm.Normal(3, hm.Diagonal()))
    ),
    "restricted": hm.Mixture(
        hm.Normal(3),
        4,
        hm.families.NormalCovarianceEmbedding(hm.Normal(3, hm.Diagonal()), hm.Normal(3)),
    ),
    "one-component": hm.Mixture(hm.Normal(2), 1),
}
cases = pytest.mark.parametrize("model", NORMALS.values(), ids=NORMALS.keys())


def evaluate(model, point, xs):
    return {
        "densities": model.log_observable_densities(point, xs),
        "posteriors": jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs),
        "latents": model.expected_latents(point, xs),
        "weights": model.weights(point),
        "components": model.components(point),
    }


@cases
def test_density_and_posterior_of_a_gaussian_mixture(model):
    point = dense.random_point(model, seed=31)
    mixture = dense.gaussians(model, point)
    xs = np.random.default_rng(32).normal(size=(10, model.obs_man.data_dim)) * 2
    found = compute(evaluate, model, point, xs)

    np.testing.assert_allclose(found["densities"], mixture.log_densities(xs), rtol=RTOL)
    np.testing.assert_allclose(found["weights"], mixture.weights, rtol=RTOL)
    joint = np.exp(mixture.component_log_densities(xs))
    posteriors = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(found["posteriors"], posteriors, rtol=RTOL, atol=1e-14)
    np.testing.assert_allclose(found["latents"], posteriors[:, 1:], rtol=RTOL, atol=1e-14)

    for k, component in enumerate(found["components"]):
        gaussian = dense.gaussians(model.obs_man, component)
        np.testing.assert_allclose(gaussian.means[0], mixture.means[k], rtol=RTOL, atol=1e-12)
        np.testing.assert_allclose(
            gaussian.covariances[0], mixture.covariances[k], rtol=RTOL, atol=1e-12
        )


@pytest.mark.parametrize("name", ["full", "tied"])
def test_samples_have_the_moments_of_the_dense_mixture(name):
    model = NORMALS[name]
    point = dense.random_point(model, seed=33)
    mixture = dense.gaussians(model, point)
    samples = compute(lambda p: model.sample(jax.random.key(34), p, (20_000,)), point)
    dense.assert_moments(samples.observable, mixture.mean(), mixture.covariance())
    counts = np.bincount(samples.latent, minlength=4)
    error = np.sqrt(20_000 * mixture.weights * (1 - mixture.weights))
    np.testing.assert_array_less(np.abs(counts - 20_000 * mixture.weights), 5 * error)


@pytest.mark.parametrize("structure", ["full", "diagonal", "scale", "tied"])
def test_from_components_reads_back(structure):
    model = NORMALS[structure]
    rng = np.random.default_rng(35)
    means, weights = rng.normal(size=(4, 3)) * 3, rng.dirichlet(np.ones(4))
    shape = model.obs_man.covariance_structure.leaf_shape(3)
    covariances = rng.uniform(0.5, 2, (4, *shape))
    if len(shape) == 2:
        covariances = covariances @ np.swapaxes(covariances, 1, 2) + 0.2 * np.eye(3)
    if structure == "tied":
        covariances[1:] = covariances[0]

    def read_back():
        components = map(model.obs_man.from_mean_covariance, means, covariances)
        point = model.from_components(components, weights)
        read = model.components(point)
        moments = jax.vmap(model.obs_man.mean)(read), jax.vmap(model.obs_man.covariance)(read)
        return point, (model.weights(point), *moments)

    point, read = compute(read_back)
    for actual, expected in zip(read, (weights, means, covariances), strict=True):
        np.testing.assert_allclose(actual, expected, rtol=RTOL)

    found = dense.gaussians(model, point)
    np.testing.assert_allclose(found.weights, weights, rtol=RTOL)
    np.testing.assert_allclose(found.means, means, rtol=RTOL)


def test_from_components_refuses_components_that_differ_elsewhere():
    model, normal = NORMALS["tied"], hm.Normal(3)
    scales = np.array([1.0, 1.0, 1.0, 2.0])[:, None, None]
    build = jax.jit(jax.vmap(normal.from_mean_covariance))
    components = build(np.zeros((4, 3)), scales * np.eye(3))
    with pytest.raises(ValueError, match="parameters that obs_emb embeds only"):
        model.from_components(components, np.full(4, 0.25))


def test_a_mixture_of_categoricals_is_enumerated():
    model = hm.Mixture(hm.Categorical(5), 3)
    rng = np.random.default_rng(36)
    table, weights = rng.dirichlet(np.ones(5), 3), rng.dirichlet(np.ones(3))

    def build_and_evaluate():
        rows = [model.obs_man.from_probabilities(p) for p in table]
        found = evaluate(model, model.from_components(rows, weights), np.arange(5))
        return found, jax.vmap(model.obs_man.probabilities)(found["components"])

    found, probabilities = compute(build_and_evaluate)
    joint = (weights[:, None] * table).T
    np.testing.assert_allclose(found["densities"], np.log(joint.sum(axis=1)), rtol=RTOL)
    np.testing.assert_allclose(
        found["posteriors"], joint / joint.sum(axis=1, keepdims=True), rtol=RTOL
    )
    np.testing.assert_allclose(found["weights"], weights, rtol=RTOL)
    np.testing.assert_allclose(probabilities, table, rtol=RTOL)


def test_a_mixture_of_products_multiplies_their_densities():
    family = hm.Product(hm.Normal(2), hm.Categorical(3))
    model = hm.Mixture(family, 2)
    rng = np.random.default_rng(37)
    table, weights = rng.dirichlet(np.ones(3), 2), np.array([0.3, 0.7])
    means, roots = rng.normal(size=(2, 2)), rng.normal(size=(2, 2, 2))
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(2)
    vectors, categories = rng.normal(size=(9, 2)), rng.integers(0, 3, 9)

    def component(k):
        parts = (
            family.parts[0].from_mean_covariance(means[k], covariances[k]),
            family.parts[1].from_probabilities(table[k]),
        )
        return hm.geometry.ProductPoint(parts, family, hm.Coordinates.NATURAL)

    def build_and_evaluate(xs):
        point = model.from_components([component(0), component(1)], weights)
        return evaluate(model, point, xs)

    found = compute(build_and_evaluate, (vectors, categories))

    logs = [
        np.log(weights[k])
        + multivariate_normal(means[k], covariances[k]).logpdf(vectors)
        + np.log(table[k][categories])
        for k in range(2)
    ]
    joint = np.stack(logs, axis=1)
    np.testing.assert_allclose(found["densities"], logsumexp(joint, axis=1), rtol=RTOL)
    expected = np.exp(joint - logsumexp(joint, axis=1, keepdims=True))
    np.testing.assert_allclose(found["posteriors"], expected, rtol=RTOL)


def test_a_mixture_of_factor_analysers_is_a_mixture_of_joint_gaussians():
    model = hm.Mixture(hm.factor_analysis(3, 2), 2)
    point = dense.random_point(model, seed=38)
    mixture = dense.gaussians(model, point)
    joints = np.random.default_rng(39).normal(size=(7, 5))

    def density(point, joint):
        x = hm.Joint(joint[:3], joint[3:])
        evidence = model.evidence(point, hm.Joint(x, None)) - model.evidence(point)
        return evidence + model.obs_man.log_base_measure(x)

    found = compute(jax.vmap(density, (None, 0)), point, joints)
    np.testing.assert_allclose(found, mixture.log_densities(joints), rtol=RTOL)
