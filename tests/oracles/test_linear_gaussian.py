"""Linear Gaussian models against the dense Gaussians that they are."""

import jax
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

from . import dense

RTOL = 1e-9
NOISE = {
    "full": hm.PositiveDefinite(),
    "diagonal": hm.Diagonal(),
    "scale": hm.Scale(),
    "identity": hm.Identity(),
}
POSTERIORS = {name: NOISE[name] for name in ("full", "diagonal", "scale")}
MODELS = {
    f"{noise}-{posterior}": hm.LinearGaussianModel(
        hm.Normal(4, NOISE[noise]), hm.Normal(3, POSTERIORS[posterior])
    )
    for noise in NOISE
    for posterior in POSTERIORS
}
cases = pytest.mark.parametrize("model", MODELS.values(), ids=MODELS.keys())


def evaluate(model, point, xs):
    posteriors = jax.vmap(lambda x: model.posterior_at(point, x))(xs)
    prior = model.prior(point)
    return {
        "densities": model.log_observable_densities(point, xs),
        "density": model.log_observable_density(point, xs[0]),
        "average": model.average_log_observable_density(point, xs),
        "prior": (model.prr_man.mean(prior), model.prr_man.covariance(prior)),
        "means": jax.vmap(model.pst_man.mean)(posteriors),
        "covariances": jax.vmap(model.pst_man.covariance)(posteriors),
        "expected": model.expected_latents(point, xs),
        "loadings": model.loadings(point),
    }


@cases
def test_density_and_posterior_are_those_of_the_dense_gaussian(model):
    point = dense.random_point(model, seed=1)
    joint = dense.gaussians(model, point)
    n = model.obs_man.data_dim
    xs = np.random.default_rng(2).normal(size=(20, n)) * 2
    found = compute(evaluate, model, point, xs)

    expected = joint.marginal(slice(0, n)).log_densities(xs)
    np.testing.assert_allclose(found["densities"], expected, rtol=RTOL)
    np.testing.assert_allclose(found["density"], expected[0], rtol=RTOL)
    np.testing.assert_allclose(found["average"], expected.mean(), rtol=RTOL)

    prior = joint.marginal(slice(n, None))
    np.testing.assert_allclose(found["prior"][0], prior.means[0], rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(found["prior"][1], prior.covariances[0], rtol=RTOL, atol=1e-12)

    for i, x in enumerate(xs):
        posterior = joint.condition(x)
        covariance = dense.full_matrix(model.pst_man, found["covariances"][i])
        np.testing.assert_allclose(found["means"][i], posterior.means[0], rtol=RTOL, atol=1e-12)
        np.testing.assert_allclose(found["expected"][i], posterior.means[0], rtol=RTOL, atol=1e-12)
        np.testing.assert_allclose(covariance, posterior.covariances[0], rtol=RTOL, atol=1e-12)

    gain = np.linalg.solve(joint.covariances[0][n:, n:], joint.covariances[0][n:, :n]).T
    np.testing.assert_allclose(found["loadings"], gain, rtol=RTOL, atol=1e-12)


def draw(model, point):
    return model.observable_sample(jax.random.key(3), point, (20_000,))


@pytest.mark.parametrize("name", ["full-diagonal", "scale-full"])
def test_samples_have_the_moments_of_the_dense_gaussian(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=4)
    gaussian = dense.observable(model, point)
    samples = compute(draw, model, point)
    dense.assert_moments(samples, gaussian.means[0], gaussian.covariances[0])


def _noise(structure, rng):
    root = rng.normal(size=(4, 4))
    options = {
        hm.PositiveDefinite(): root @ root.T + 0.5 * np.eye(4),
        hm.Diagonal(): rng.uniform(0.2, 2.0, 4),
        hm.Scale(): 0.7,
        hm.Identity(): None,
    }
    return options[structure]


def from_loadings(model, loadings, offset, noise, moments=None):
    """The point with these parameters, and what is read from it."""
    prior = None if moments is None else model.prr_man.from_mean_covariance(*moments)
    point = model.from_loadings(loadings, offset, noise, prior)
    read = model.prior(point)
    return point, {
        "loadings": model.loadings(point),
        "offset": model.obs_man.mean(point.observable),
        "noise": model.obs_man.covariance(point.observable),
        "prior mean": model.prr_man.mean(read),
        "prior covariance": model.prr_man.covariance(read),
    }


@pytest.mark.parametrize(
    "name", ["full-full", "diagonal-diagonal", "scale-scale", "identity-diagonal", "full-scale"]
)
def test_from_loadings_gives_the_gaussian_that_they_describe(name):
    model = MODELS[name]
    rng = np.random.default_rng(5)
    loadings, offset = rng.normal(size=(4, 3)), rng.normal(size=4)
    noise = _noise(model.obs_man.covariance_structure, rng)
    point, read = compute(from_loadings, model, loadings, offset, noise)
    found = dense.observable(model, point)
    expected = loadings @ loadings.T + dense.full_matrix(model.obs_man, noise)
    np.testing.assert_allclose(found.means[0], offset, rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(found.covariances[0], expected, rtol=RTOL, atol=1e-12)

    explained = read["loadings"] @ read["prior covariance"] @ read["loadings"].T
    np.testing.assert_allclose(explained, loadings @ loadings.T, rtol=RTOL, atol=1e-12)
    if model.is_symmetric:
        np.testing.assert_allclose(read["loadings"], loadings, rtol=RTOL, atol=1e-12)


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_from_loadings_with_a_prior_reads_back(noise):
    rng = np.random.default_rng(6)
    model = hm.LinearGaussianModel(hm.Normal(4, noise), hm.Normal(3))
    loadings, offset, root = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(3, 3))
    mean, covariance = rng.normal(size=3), root @ root.T + np.eye(3)
    noise = _noise(noise, rng)
    point, read = compute(from_loadings, model, loadings, offset, noise, (mean, covariance))

    np.testing.assert_allclose(read["loadings"], loadings, rtol=RTOL)
    np.testing.assert_allclose(read["offset"], offset, rtol=RTOL)
    full_noise = dense.full_matrix(model.obs_man, noise)
    read_noise = dense.full_matrix(model.obs_man, read["noise"])
    np.testing.assert_allclose(read_noise, full_noise, rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(read["prior mean"], mean, rtol=RTOL)
    np.testing.assert_allclose(read["prior covariance"], covariance, rtol=RTOL)
    found = dense.observable(model, point)
    expected = loadings @ covariance @ loadings.T + full_noise
    np.testing.assert_allclose(found.means[0], loadings @ mean + offset, rtol=RTOL)
    np.testing.assert_allclose(found.covariances[0], expected, rtol=RTOL)


@pytest.mark.parametrize("posterior", ["diagonal", "scale"])
def test_join_conjugated_refuses_a_prior_that_the_posterior_cannot_hold(posterior):
    model = hm.LinearGaussianModel(hm.Normal(4, hm.Diagonal()), hm.Normal(2, POSTERIORS[posterior]))
    parameters = np.eye(4)[:, :2], np.zeros(4), np.ones(4)
    covariance = np.array([[1.0, 0.4], [0.4, 1.0]])

    @jax.jit
    def join():
        point = model.from_loadings(*parameters)
        likelihood = model.likelihood_function(point)
        again = model.join_conjugated(likelihood, model.prior(point))
        correlated = model.prr_man.from_mean_covariance(np.zeros(2), covariance)
        return model.ravel(point), model.ravel(again), likelihood, correlated

    point, again, likelihood, correlated = join()
    np.testing.assert_allclose(again, point, atol=1e-12)
    with pytest.raises(ValueError, match="cannot be joined with this likelihood"):
        model.join_conjugated(likelihood, correlated)
    with pytest.raises(ValueError, match="cannot be joined with this likelihood"):
        model.from_loadings(*parameters, correlated)
