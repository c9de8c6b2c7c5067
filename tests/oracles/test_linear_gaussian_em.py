"""Factor analysis and probabilistic PCA, run to convergence, against scikit-learn's optimum."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

import harmonium as hm

from . import dense


def standardised(xs):
    return (xs - xs.mean(axis=0)) / xs.std(axis=0)


DATA = {
    "virginica": lambda: load_iris().data[100:],
    "iris": lambda: load_iris().data,
    "wine": lambda: standardised(load_wine().data),
    "breast_cancer": lambda: standardised(load_breast_cancer().data),
}


@eqx.filter_jit
def fit(model, key, xs, max_steps=20_000):
    """EM on condensed data until the likelihood no longer rises: thousands of cheap steps."""
    ys, weights = model.condense(xs)
    start = model.initialize_from_sample(key, xs)

    def step(state):
        point, _, last, count = state
        point = model.expectation_maximization(point, ys, weights)
        return point, last, model.average_log_observable_density(point, ys, weights), count + 1

    def rises(state):
        _, before, last, count = state
        return (last - before > 1e-13) & (count < max_steps)

    first = model.average_log_observable_density(start, ys, weights)
    point, _, _, _ = jax.lax.while_loop(rises, step, (start, first - 1, first, 0))
    return point, model.average_log_observable_density(point, xs)


def fitted(model, xs):
    return fit(model, jax.random.key(0), jnp.asarray(xs))


@pytest.mark.parametrize(("name", "lat_dim"), [("virginica", 1), ("wine", 3), ("breast_cancer", 2)])
def test_factor_analysis_reaches_the_optimum_of_scikit_learn(name, lat_dim):
    xs = DATA[name]()
    oracle = FactorAnalysis(lat_dim, tol=1e-7, max_iter=20_000, svd_method="lapack").fit(xs)
    model = hm.factor_analysis(xs.shape[1], lat_dim)
    point, likelihood = fitted(model, xs)
    np.testing.assert_allclose(likelihood, oracle.score(xs), rtol=0, atol=1e-6)
    assert likelihood >= oracle.score(xs) - 1e-9
    np.testing.assert_allclose(
        model.obs_man.covariance(point.observable), oracle.noise_variance_, rtol=0, atol=2e-3
    )
    loadings = np.asarray(model.loadings(point))
    found, expected = loadings @ loadings.T, oracle.components_.T @ oracle.components_
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def test_factor_analysis_density_is_that_of_scikit_learn_at_its_own_parameters():
    xs = DATA["wine"]()
    oracle = FactorAnalysis(3, svd_method="lapack").fit(xs)
    model = hm.factor_analysis(13, 3)
    point = model.from_loadings(oracle.components_.T, oracle.mean_, oracle.noise_variance_)
    found = model.log_observable_densities(point, jnp.asarray(xs))
    np.testing.assert_allclose(found, oracle.score_samples(xs), rtol=1e-9)
    expected = oracle.transform(xs)
    latents = model.expected_latents(point, jnp.asarray(xs))
    np.testing.assert_allclose(latents, expected, rtol=1e-9, atol=1e-11)


def test_principal_components_density_is_that_of_scikit_learn_at_its_own_parameters():
    xs = DATA["wine"]()
    oracle = PCA(3).fit(xs)
    spread = np.sqrt(oracle.explained_variance_ - oracle.noise_variance_)
    model = hm.principal_component_analysis(13, 3)
    loadings = oracle.components_.T * spread
    point = model.from_loadings(loadings, oracle.mean_, oracle.noise_variance_)
    found = model.log_observable_densities(point, jnp.asarray(xs))
    np.testing.assert_allclose(found, oracle.score_samples(xs), rtol=1e-9)


@pytest.mark.parametrize(("name", "lat_dim"), [("iris", 2), ("breast_cancer", 3)])
def test_principal_components_reach_the_optimum_of_scikit_learn(name, lat_dim):
    # scikit-learn divides sums of squares by N - 1, maximum likelihood by N; both of its parameters
    # are proportional to them.
    xs = DATA[name]()
    oracle = PCA(lat_dim, svd_solver="full").fit(xs)
    shrinkage = (len(xs) - 1) / len(xs)
    covariance = oracle.get_covariance() * shrinkage
    optimum = multivariate_normal(oracle.mean_, covariance).logpdf(xs).mean()
    model = hm.principal_component_analysis(xs.shape[1], lat_dim)
    point, likelihood = fitted(model, xs)
    np.testing.assert_allclose(likelihood, optimum, rtol=0, atol=1e-9)
    assert likelihood >= oracle.score(xs)
    noise = model.obs_man.covariance(point.observable)
    np.testing.assert_allclose(noise, oracle.noise_variance_ * shrinkage, rtol=1e-5)
    np.testing.assert_allclose(model.obs_man.mean(point.observable), oracle.mean_, atol=1e-9)


@pytest.mark.parametrize("posterior", [hm.Diagonal(), hm.Scale()], ids=["diagonal", "scale"])
def test_restricted_posteriors_reach_the_same_optimum(posterior):
    # Their latents are those of the full posterior, rotated: the observables have one optimum.
    xs = DATA["wine"]()
    oracle = FactorAnalysis(2, tol=1e-7, max_iter=20_000, svd_method="lapack").fit(xs)
    model = hm.LinearGaussianModel(hm.Normal(13, hm.Diagonal()), hm.Normal(2, posterior))
    _, likelihood = fitted(model, xs)
    np.testing.assert_allclose(likelihood, oracle.score(xs), rtol=0, atol=1e-6)


def test_condensed_steps_are_steps_on_the_data():
    xs = DATA["wine"]()
    weights = np.random.default_rng(61).uniform(0, 2, len(xs))
    model = hm.factor_analysis(13, 3)
    point = dense.random_point(model, seed=62)

    @eqx.filter_jit
    def both(model, point, xs, weights):
        ys, ws = model.condense(xs, weights)
        pairs = [
            [f(point, data, w) for data, w in ((xs, weights), (ys, ws))]
            for f in (model.expectation_maximization, model.average_log_observable_density)
        ]
        return pairs, ys.shape

    (steps, likelihoods), shape = both(model, point, jnp.asarray(xs), jnp.asarray(weights))
    assert shape == (26, 13)
    np.testing.assert_allclose(model.ravel(steps[1]), model.ravel(steps[0]), rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(likelihoods[1], likelihoods[0], rtol=1e-11)
