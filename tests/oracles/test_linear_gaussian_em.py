"""Factor analysis and probabilistic PCA, run to convergence, against scikit-learn's optimum."""

import jax
import numpy as np
import pytest
from scipy.stats import multivariate_normal
from sklearn.datasets import load_breast_cancer, load_iris, load_wine
from sklearn.decomposition import PCA, FactorAnalysis

import harmonium as hm
from tests.compiled import compute

from . import dense


def standardised(xs):
    return (xs - xs.mean(axis=0)) / xs.std(axis=0)


DATA = {
    "virginica": lambda: load_iris().data[100:],
    "iris": lambda: load_iris().data,
    "wine": lambda: standardised(load_wine().data),
    "breast_cancer": lambda: standardised(load_breast_cancer().data),
}


def fit(model, xs, max_steps=20_000):
    """EM on condensed data until the likelihood no longer rises: thousands of cheap steps.

    Returns the average log density, and the offset, the noise and the loadings.
    """
    ys, weights = hm.condense(model, xs)
    start = model.initialize_from_sample(jax.random.key(0), xs)

    def step(state):
        point, _, last, count = state
        point = model.expectation_maximization(point, ys, weights)
        return point, last, model.average_log_observable_density(point, ys, weights), count + 1

    def rises(state):
        _, before, last, count = state
        return (count < 2) | ((last - before > 1e-13) & (count < max_steps))

    point, *_ = jax.lax.while_loop(rises, step, (start, -np.inf, -np.inf, 0))
    offset, noise = model.obs_man.mean(point.observable), model.obs_man.covariance(point.observable)
    return model.average_log_observable_density(point, xs), offset, noise, model.loadings(point)


@pytest.mark.parametrize(("name", "lat_dim"), [("virginica", 1), ("wine", 3), ("breast_cancer", 2)])
def test_factor_analysis_reaches_the_optimum_of_scikit_learn(name, lat_dim):
    xs = DATA[name]()
    oracle = FactorAnalysis(lat_dim, tol=1e-7, max_iter=20_000, svd_method="lapack").fit(xs)
    model = hm.factor_analysis(xs.shape[1], lat_dim)
    likelihood, _, noise, loadings = compute(fit, model, xs)
    np.testing.assert_allclose(likelihood, oracle.score(xs), rtol=0, atol=1e-6)
    assert likelihood >= oracle.score(xs) - 1e-9
    np.testing.assert_allclose(noise, oracle.noise_variance_, rtol=0, atol=2e-3)
    found, expected = loadings @ loadings.T, oracle.components_.T @ oracle.components_
    np.testing.assert_allclose(found, expected, rtol=0, atol=2e-3)


def evaluate(model, parameters, xs):
    point = model.from_loadings(*parameters)
    return model.log_observable_densities(point, xs), model.expected_latents(point, xs)


def test_factor_analysis_density_is_that_of_scikit_learn_at_its_own_parameters():
    xs = DATA["wine"]()
    oracle = FactorAnalysis(3, svd_method="lapack").fit(xs)
    model = hm.factor_analysis(13, 3)
    parameters = oracle.components_.T, oracle.mean_, oracle.noise_variance_
    densities, latents = compute(evaluate, model, parameters, xs)
    np.testing.assert_allclose(densities, oracle.score_samples(xs), rtol=1e-9)
    np.testing.assert_allclose(latents, oracle.transform(xs), rtol=1e-9, atol=1e-11)


def test_principal_components_density_is_that_of_scikit_learn_at_its_own_parameters():
    xs = DATA["wine"]()
    oracle = PCA(3).fit(xs)
    spread = np.sqrt(oracle.explained_variance_ - oracle.noise_variance_)
    model = hm.principal_component_analysis(13, 3)
    parameters = oracle.components_.T * spread, oracle.mean_, oracle.noise_variance_
    densities, _ = compute(evaluate, model, parameters, xs)
    np.testing.assert_allclose(densities, oracle.score_samples(xs), rtol=1e-9)


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
    likelihood, offset, noise, _ = compute(fit, model, xs)
    np.testing.assert_allclose(likelihood, optimum, rtol=0, atol=1e-9)
    assert likelihood >= oracle.score(xs)
    np.testing.assert_allclose(noise, oracle.noise_variance_ * shrinkage, rtol=1e-5)
    np.testing.assert_allclose(offset, oracle.mean_, atol=1e-9)


@pytest.mark.parametrize("posterior", [hm.Diagonal(), hm.Scale()], ids=["diagonal", "scale"])
def test_restricted_posteriors_reach_the_same_optimum(posterior):
    # Their latents are those of the full posterior, rotated: the observables have one optimum.
    xs = DATA["wine"]()
    oracle = FactorAnalysis(2, tol=1e-7, max_iter=20_000, svd_method="lapack").fit(xs)
    model = hm.LinearGaussianModel(hm.Normal(13, hm.Diagonal()), hm.Normal(2, posterior))
    likelihood, *_ = compute(fit, model, xs)
    np.testing.assert_allclose(likelihood, oracle.score(xs), rtol=0, atol=1e-6)


def test_condensed_steps_are_steps_on_the_data():
    xs = DATA["wine"]()
    weights = np.random.default_rng(61).uniform(0, 2, len(xs))
    model = hm.factor_analysis(13, 3)
    point = dense.random_point(model, seed=62)

    def both(point, xs, weights):
        ys, ws = hm.condense(model, xs, weights)
        steps, likelihoods = (
            [f(point, data, w) for data, w in ((xs, weights), (ys, ws))]
            for f in (model.expectation_maximization, model.average_log_observable_density)
        )
        return ys, [model.ravel(step) for step in steps], likelihoods

    ys, steps, likelihoods = compute(both, point, xs, weights)
    assert ys.shape == (26, 13)
    np.testing.assert_allclose(steps[1], steps[0], rtol=1e-9, atol=1e-10)
    np.testing.assert_allclose(likelihoods[1], likelihoods[0], rtol=1e-11)
