"""Linear Gaussian models against the dense Gaussians that they are."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm

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


@eqx.filter_jit
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
    found = evaluate(model, point, jnp.asarray(xs))

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


@eqx.filter_jit
def draw(model, point, count):
    return model.observable_sample(jax.random.key(3), point, (count,))


@pytest.mark.parametrize("name", ["full-diagonal", "scale-full"])
def test_samples_have_the_moments_of_the_dense_gaussian(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=4)
    gaussian = dense.observable(model, point)
    samples = draw(model, point, 20_000)
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


@pytest.mark.parametrize(
    "name", ["full-full", "diagonal-diagonal", "scale-scale", "identity-diagonal", "full-scale"]
)
def test_from_loadings_gives_the_gaussian_that_they_describe(name):
    model = MODELS[name]
    rng = np.random.default_rng(5)
    loadings, offset = rng.normal(size=(4, 3)), rng.normal(size=4)
    noise = _noise(model.obs_man.covariance_structure, rng)
    point = model.from_loadings(loadings, offset, noise)
    found = dense.observable(model, point)
    expected = loadings @ loadings.T + dense.full_matrix(model.obs_man, noise)
    np.testing.assert_allclose(found.means[0], offset, rtol=RTOL, atol=1e-12)
    np.testing.assert_allclose(found.covariances[0], expected, rtol=RTOL, atol=1e-12)

    read = np.asarray(model.loadings(point))
    prior = np.asarray(model.prr_man.covariance(model.prior(point)))
    np.testing.assert_allclose(read @ prior @ read.T, loadings @ loadings.T, rtol=RTOL, atol=1e-12)
    if model.is_symmetric:
        np.testing.assert_allclose(read, loadings, rtol=RTOL, atol=1e-12)


@pytest.mark.parametrize("noise", NOISE.values(), ids=NOISE.keys())
def test_from_loadings_with_a_prior_reads_back(noise):
    rng = np.random.default_rng(6)
    model = hm.LinearGaussianModel(hm.Normal(4, noise), hm.Normal(3))
    loadings, offset, root = rng.normal(size=(4, 3)), rng.normal(size=4), rng.normal(size=(3, 3))
    mean, covariance = rng.normal(size=3), root @ root.T + np.eye(3)
    covariance_of_noise = _noise(noise, rng)
    prior = model.prr_man.from_mean_covariance(mean, covariance)
    point = model.from_loadings(loadings, offset, covariance_of_noise, prior)

    np.testing.assert_allclose(model.loadings(point), loadings, rtol=RTOL)
    np.testing.assert_allclose(model.obs_man.mean(point.observable), offset, rtol=RTOL)
    np.testing.assert_allclose(
        dense.full_matrix(model.obs_man, model.obs_man.covariance(point.observable)),
        dense.full_matrix(model.obs_man, covariance_of_noise),
        rtol=RTOL,
        atol=1e-12,
    )
    read = model.prior(point)
    np.testing.assert_allclose(model.prr_man.mean(read), mean, rtol=RTOL)
    np.testing.assert_allclose(model.prr_man.covariance(read), covariance, rtol=RTOL)
    found = dense.observable(model, point)
    expected = loadings @ covariance @ loadings.T
    expected = expected + dense.full_matrix(model.obs_man, covariance_of_noise)
    np.testing.assert_allclose(found.means[0], loadings @ mean + offset, rtol=RTOL)
    np.testing.assert_allclose(found.covariances[0], expected, rtol=RTOL)


@pytest.mark.parametrize("posterior", ["diagonal", "scale"])
def test_join_conjugated_refuses_a_prior_that_the_posterior_cannot_hold(posterior):
    model = hm.LinearGaussianModel(hm.Normal(4, hm.Diagonal()), hm.Normal(2, POSTERIORS[posterior]))
    point = model.from_loadings(np.eye(4)[:, :2], np.zeros(4), np.ones(4))
    likelihood = model.likelihood_function(point)
    fitting = model.prior(point)
    np.testing.assert_allclose(
        model.ravel(model.join_conjugated(likelihood, fitting)), model.ravel(point), atol=1e-12
    )
    covariance = np.array([[1.0, 0.4], [0.4, 1.0]])
    correlated = model.prr_man.from_mean_covariance(np.zeros(2), covariance)
    with pytest.raises(ValueError, match="cannot be joined with this likelihood"):
        model.join_conjugated(likelihood, correlated)
    with pytest.raises(ValueError, match="cannot be joined with this likelihood"):
        model.from_loadings(np.eye(4)[:, :2], np.zeros(4), np.ones(4), correlated)
