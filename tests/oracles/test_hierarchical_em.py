"""EM of hierarchical mixtures of Gaussians against an implementation in NumPy."""

import itertools

import jax
import numpy as np
import pytest
from scipy.special import logsumexp

import harmonium as hm
from tests.compiled import compute

from . import dense


def em_step(chain, structures, xs):
    """One step of EM, each level regressed on the one above with expected moments."""
    joint, n = chain.joint(), xs.shape[1]
    logs = joint.marginal(slice(0, n)).component_log_densities(xs)
    shares = np.exp(logs - logsumexp(logs, axis=1, keepdims=True)) / len(xs)
    weights = shares.sum(axis=0)
    means, moments = [], []
    for k, (mean, covariance) in enumerate(zip(joint.means, joint.covariances, strict=True)):
        gain = np.linalg.solve(covariance[:n, :n], covariance[:n]).T
        complete = mean + (xs - mean[:n]) @ gain.T
        means.append(shares[:, k] @ complete)
        spread = covariance - gain @ covariance[:n]
        moments.append((complete.T * shares[:, k]) @ complete + weights[k] * spread)
    mean, moment = np.sum(means, axis=0), np.sum(moments, axis=0)
    covariance = moment - np.outer(mean, mean)

    sizes = [len(offset) for _, offset, _ in chain.levels] + [chain.top.means.shape[1]]
    bounds = np.cumsum([0, *sizes])
    places = [slice(*pair) for pair in itertools.pairwise(bounds)]
    levels = []
    for below, above, structure in zip(places[:-1], places[1:], structures, strict=True):
        loadings = np.linalg.solve(covariance[above, above], covariance[above, below]).T
        residual = covariance[below, below] - loadings @ covariance[above, below]
        offset = mean[below] - loadings @ mean[above]
        levels.append((loadings, offset, structured(residual, structure)))
    top = places[-1]
    centres = np.stack([m[top] for m in means]) / weights[:, None]
    seconds = np.stack([m[top, top] for m in moments]) / weights[:, None, None]
    spreads = seconds - np.einsum("ki,kj->kij", centres, centres)
    return dense.Chain(levels, dense.Gaussians(weights, centres, spreads))


def structured(residual, structure):
    if structure == hm.PositiveDefinite():
        return residual
    diagonal = np.diag(residual)
    return np.diag(
        diagonal if structure == hm.Diagonal() else np.full_like(diagonal, diagonal.mean())
    )


MODELS = {
    "diagonal": hm.hierarchical_mixture_of_gaussians(4, 2, 3),
    "scale": hm.hierarchical_mixture_of_gaussians(4, 2, 3, obs_covariance=hm.Scale()),
    "three-levels": hm.stack(
        hm.factor_analysis(5, 3),
        hm.LinearGaussianModel(hm.Normal(3), hm.Normal(2)),
        hm.Mixture(hm.Normal(2), 3),
    ),
}
STRUCTURES = {
    "diagonal": [hm.Diagonal()],
    "scale": [hm.Scale()],
    "three-levels": [hm.Diagonal(), hm.PositiveDefinite()],
}


def data(n, seed=71):
    """Three clusters in a plane, turned and seen with noise."""
    rng = np.random.default_rng(seed)
    centres = rng.normal(size=(3, 2)) * 3
    latents = centres[rng.integers(0, 3, 60)] + rng.normal(size=(60, 2))
    return latents @ rng.normal(size=(2, n)) + rng.normal(size=(60, n)) * 0.5 + rng.normal(size=n)


@pytest.mark.parametrize("name", MODELS)
def test_a_step_is_that_of_a_plain_implementation(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=72)
    xs = data(model.obs_man.data_dim)
    chain = dense.read_chain(model, point)
    start = dense.observable(model, point)
    np.testing.assert_allclose(
        chain.joint().marginal(slice(0, xs.shape[1])).means, start.means, rtol=1e-9, atol=1e-11
    )

    def step(point, xs):
        point = model.expectation_maximization(point, xs)
        return point, model.obs_man.covariance(point.observable)

    for _ in range(2):
        chain = em_step(chain, STRUCTURES[name], xs)
        point, noise = compute(step, point, xs)
        expected = chain.joint().marginal(slice(0, xs.shape[1]))
        found = dense.observable(model, point)
        np.testing.assert_allclose(found.weights, expected.weights, rtol=1e-8)
        np.testing.assert_allclose(found.means, expected.means, rtol=1e-8, atol=1e-9)
        np.testing.assert_allclose(found.covariances, expected.covariances, rtol=1e-8, atol=1e-9)
        # Noise is not touched by affine maps of the latents.
        noise = dense.full_matrix(model.obs_man, noise)
        np.testing.assert_allclose(noise, chain.levels[0][2], rtol=1e-8)

    # The library returns standard latents: those of the lowest level in particular.
    prior = dense.gaussians(model.prr_man, compute(model.prior, point))
    lowest = prior.marginal(slice(0, chain.levels[0][0].shape[1]))
    np.testing.assert_allclose(lowest.mean(), 0, atol=1e-9)
    np.testing.assert_allclose(lowest.covariance(), np.eye(len(lowest.mean())), atol=1e-9)


def test_expectations_of_a_step_are_posterior_moments():
    model = MODELS["three-levels"]
    point = dense.random_point(model, seed=73)
    xs = data(5)[:7]
    weights = np.random.default_rng(74).uniform(0.5, 2, 7)
    found = compute(model.mean_posterior_statistics, point, xs, weights)

    joint = dense.gaussians(model, point)
    ws = weights / weights.sum()
    posteriors = [joint.condition(x) for x in xs]
    latent = found.latent
    means = np.stack([p.mean()[:3] for p in posteriors])
    np.testing.assert_allclose(latent.observable.location, ws @ means, rtol=1e-9)
    seconds = [p.covariance() + np.outer(p.mean(), p.mean()) for p in posteriors]
    second = np.tensordot(ws, np.stack(seconds), axes=1)
    np.testing.assert_allclose(latent.observable.shape, second[:3, :3], rtol=1e-9, atol=1e-12)
    rows = latent.interaction.rows[0].values
    np.testing.assert_allclose(rows, second[3:, :3], rtol=1e-9, atol=1e-12)
    weights_of_components = ws @ np.stack([p.weights for p in posteriors])
    top = latent.latent.latent.values
    np.testing.assert_allclose(top, weights_of_components[1:], rtol=1e-9, atol=1e-14)
    cross = np.einsum("n,ni,nj->ij", ws, means, xs)
    np.testing.assert_allclose(found.interaction.rows[0].values, cross, rtol=1e-9)
    np.testing.assert_allclose(found.observable.shape, ws @ xs**2, rtol=1e-9)
    assert jax.tree.leaves(found)[0].dtype == np.float64
