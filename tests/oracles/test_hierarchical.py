"""Hierarchies of 2, 3 and 4 levels against the dense Gaussian mixtures that they are."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

from . import dense

RTOL = 1e-9
FULL, DIAGONAL, SCALE = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale()


def levels(dims, structures, n_components=3):
    """Linear Gaussian levels between normals of these sizes and structures; a mixture on top."""
    normals = [hm.Normal(n, s) for n, s in zip(dims, structures, strict=True)]
    pairs = itertools.pairwise(normals)
    linear = [hm.LinearGaussianModel(lower, upper) for lower, upper in pairs]
    top = [hm.Mixture(normals[-1], n_components)] if n_components else []
    return hm.stack(*linear, *top)


MODELS = {
    "2": hm.hierarchical_mixture_of_gaussians(4, 2, 3),
    "2-scale-noise": hm.hierarchical_mixture_of_gaussians(4, 2, 3, obs_covariance=SCALE),
    "2-diagonal": hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=DIAGONAL),
    "2-scale": hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=SCALE),
    "2-linear": levels((4, 3, 2), (DIAGONAL, FULL, FULL), 0),
    "2-linear-diagonal": levels((4, 3, 2), (FULL, DIAGONAL, DIAGONAL), 0),
    "2-tied": hm.Hierarchical(
        hm.factor_analysis(4, 2), hm.Mixture(hm.Normal(2), 3, hm.LocationEmbedding(hm.Normal(2)))
    ),
    "3": levels((5, 3, 2), (DIAGONAL, FULL, FULL)),
    "3-diagonal": levels((5, 3, 2), (DIAGONAL, DIAGONAL, DIAGONAL)),
    "3-scale": levels((5, 3, 2), (DIAGONAL, SCALE, SCALE)),
    "3-mixed": levels((5, 3, 2), (DIAGONAL, DIAGONAL, FULL)),
    "4": levels((5, 4, 3, 2), (DIAGONAL, FULL, FULL, FULL)),
    "4-diagonal": levels((5, 4, 3, 2), (DIAGONAL, DIAGONAL, DIAGONAL, DIAGONAL)),
    "4-scale": levels((5, 4, 3, 2), (SCALE, SCALE, SCALE, SCALE)),
}


def evaluate(model, point, xs):
    return {
        "densities": model.log_observable_densities(point, xs),
        "posteriors": jax.vmap(lambda x: model.posterior_at(point, x))(xs),
        "prior": model.prior(point),
    }


@pytest.mark.parametrize("name", MODELS)
def test_density_and_posterior_are_those_of_the_dense_mixture(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=11)
    joint = dense.gaussians(model, point)
    n = model.obs_man.data_dim
    xs = np.random.default_rng(12).normal(size=(6, n)) * 2
    found = compute(evaluate, model, point, xs)

    expected = joint.marginal(slice(0, n)).log_densities(xs)
    np.testing.assert_allclose(found["densities"], expected, rtol=RTOL)

    _assert_same(dense.gaussians(model.prr_man, found["prior"]), joint.marginal(slice(n, None)))
    for i, x in enumerate(xs):
        _assert_same(dense.gaussians(model.pst_man, found["posteriors"][i]), joint.condition(x))


def _assert_same(found, expected):
    np.testing.assert_allclose(found.weights, expected.weights, rtol=RTOL, atol=1e-13)
    np.testing.assert_allclose(found.means, expected.means, rtol=RTOL, atol=1e-11)
    np.testing.assert_allclose(found.covariances, expected.covariances, rtol=RTOL, atol=1e-11)


@pytest.mark.parametrize("name", ["2", "2-scale", "3-diagonal"])
def test_expected_latents_are_means_of_dense_posteriors(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=22)
    joint = dense.gaussians(model, point)
    xs = np.random.default_rng(23).normal(size=(6, model.obs_man.data_dim)) * 2
    found = compute(model.expected_latents, point, xs)
    size = model.lwr_hrm.pst_man.data_dim
    expected = np.stack([joint.condition(x).mean()[:size] for x in xs])
    np.testing.assert_allclose(found, expected, rtol=RTOL, atol=1e-11)


@pytest.mark.parametrize("name", ["2", "2-scale", "3-diagonal", "4"])
def test_posterior_probabilities_are_those_of_bayes_by_enumeration(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=13)
    xs = np.random.default_rng(14).normal(size=(8, model.obs_man.data_dim)) * 2

    def infer(point, xs):
        probabilities = jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs)
        return probabilities, model.assign(point, xs), hm.top_probabilities(model, point)

    probabilities, assigned, weights = compute(infer, point, xs)
    mixture = dense.observable(model, point)
    joint = np.exp(mixture.component_log_densities(xs))
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=RTOL, atol=1e-13)
    np.testing.assert_array_equal(assigned, expected.argmax(axis=1))
    np.testing.assert_allclose(weights, mixture.weights, rtol=RTOL)


@pytest.mark.parametrize("name", ["2", "3-diagonal", "4"])
def test_samples_have_the_moments_of_the_dense_mixture(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=15)
    mixture = dense.observable(model, point)
    samples = compute(lambda p: model.observable_sample(jax.random.key(16), p, (20_000,)), point)
    dense.assert_moments(samples, mixture.mean(), mixture.covariance())


def test_from_levels_gives_the_likelihood_below_and_the_joint_above():
    rng = np.random.default_rng(17)
    model = MODELS["2"]
    loadings, offset, noise = rng.normal(size=(4, 2)), rng.normal(size=4), rng.uniform(0.3, 1, 4)
    means = rng.normal(size=(3, 2)) * 2
    roots = rng.normal(size=(3, 2, 2))
    covariances = roots @ np.swapaxes(roots, 1, 2) + 0.3 * np.eye(2)
    weights = np.array([0.2, 0.5, 0.3])
    normal = model.upr_hrm.obs_man

    def join_and_read():
        components = jax.vmap(normal.from_moments)(jnp.asarray(means), jnp.asarray(covariances))
        lower = model.lwr_hrm.from_loadings(loadings, offset, noise)
        upper = model.upr_hrm.from_components(components, weights)
        point = model.from_levels(lower, upper)
        prior = model.prior(point)
        points = model.ravel(point), model.ravel(model.from_levels(lower, prior))
        priors = model.upr_hrm.ravel(prior), model.upr_hrm.ravel(upper)
        read = model.upr_hrm.components(prior)
        moments = jax.vmap(normal.mean)(read), jax.vmap(normal.covariance)(read)
        return point, points, priors, (model.upr_hrm.weights(prior), *moments)

    point, points, priors, read = compute(join_and_read)
    found = dense.observable(model, point)
    np.testing.assert_allclose(found.weights, weights, rtol=RTOL)
    np.testing.assert_allclose(found.means, means @ loadings.T + offset, rtol=RTOL)
    expected = loadings @ covariances @ loadings.T + np.diag(noise)
    np.testing.assert_allclose(found.covariances, expected, rtol=RTOL, atol=1e-12)

    np.testing.assert_allclose(*points)
    np.testing.assert_allclose(*priors, rtol=RTOL)
    for actual, wanted in zip(read, (weights, means, covariances), strict=True):
        np.testing.assert_allclose(actual, wanted, rtol=RTOL)


def test_from_levels_of_a_restricted_posterior_reads_back_and_refuses_a_misfit():
    model = MODELS["2-diagonal"]
    point = dense.random_point(model, seed=18)

    @jax.jit
    def read_back(point):
        interaction = point.interaction
        lower = model.lwr_hrm.point(point.observable, interaction, model.lwr_hrm.pst_man.zeros())
        again = model.from_levels(lower, model.prior(point))
        # Components without correlations, whose posterior would have some.
        keys = jax.random.split(jax.random.key(19), 3)
        components = jax.vmap(model.upr_hrm.obs_man.initialize)(keys)
        upper = model.upr_hrm.from_components(components, [0.2, 0.3, 0.5])
        return model.ravel(again), model.ravel(point), lower, upper

    again, expected, lower, upper = read_back(point)
    np.testing.assert_allclose(again, expected, rtol=RTOL, atol=1e-11)
    with pytest.raises(ValueError, match="cannot be joined with this likelihood"):
        model.from_levels(lower, upper)


def test_a_mixture_of_categoricals_over_a_mixture_of_normals_is_enumerated():
    lower, upper = hm.Mixture(hm.Normal(2), 3), hm.Mixture(hm.Categorical(3), 2)
    model = hm.Hierarchical(lower, upper)
    rng = np.random.default_rng(20)
    table, weights = rng.dirichlet(np.ones(3), 2), np.array([0.4, 0.6])
    below = dense.random_point(lower, seed=21)
    xs = rng.normal(size=(6, 2)) * 2

    def infer(below, xs):
        rows = [upper.obs_man.from_probabilities(p) for p in table]
        point = model.from_levels(below, upper.from_components(rows, weights))
        probabilities = jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs)
        return model.log_observable_densities(point, xs), probabilities

    densities, probabilities = compute(infer, below, xs)
    normals = dense.gaussians(hm.Mixture(hm.Normal(2), 3), below)
    mixture = dense.Gaussians(weights @ table, normals.means, normals.covariances)
    np.testing.assert_allclose(densities, mixture.log_densities(xs), rtol=RTOL)

    given_category = np.exp(mixture.component_log_densities(xs)) / mixture.weights
    joint = given_category @ (weights[:, None] * table).T
    expected = joint / joint.sum(axis=1, keepdims=True)
    np.testing.assert_allclose(probabilities, expected, rtol=RTOL)
