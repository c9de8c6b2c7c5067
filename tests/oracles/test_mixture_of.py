"""Mixtures of factor analyses against dense Gaussian mixtures and against EM in NumPy."""

import jax
import numpy as np
import pytest
from scipy import special, stats

import harmonium as hm
from tests.compiled import compute

FACTORS = hm.factor_analysis(4, 2)
NOISE = hm.LocationEmbedding(FACTORS.obs_man)
# What components may share: nothing, the noise, the noise and the loadings.
SHARING = {
    "nothing": hm.Mixture(FACTORS, 3),
    "noise": hm.Mixture(FACTORS, 3, hm.free_parameters(FACTORS, NOISE)),
    "regression": hm.Mixture(FACTORS, 3, hm.free_parameters(FACTORS, NOISE, True)),
}


def random_parameters(rng, n_components=3):
    """Loadings, offsets, noise and normal priors of factor analyses."""
    loadings = rng.normal(size=(n_components, 4, 2))
    offsets = 3 * rng.normal(size=(n_components, 4))
    noise = rng.uniform(0.5, 1.5, (n_components, 4))
    means = rng.normal(size=(n_components, 2))
    roots = rng.normal(size=(n_components, 2, 2))
    return loadings, offsets, noise, means, np.eye(2) + roots @ roots.swapaxes(1, 2)


def analysis(loadings, offset, noise, mean, covariance):
    prior = FACTORS.prr_man.from_mean_covariance(mean, covariance)
    return FACTORS.from_loadings(loadings, offset, noise, prior)


def test_densities_and_posteriors_are_those_of_a_dense_mixture():
    rng = np.random.default_rng(0)
    loadings, offsets, noise, means, covariances = random_parameters(rng)
    weights = np.array([0.2, 0.5, 0.3])
    model = SHARING["nothing"]
    parameters = loadings, offsets, noise, means, covariances
    xs = 5 * rng.normal(size=(20, 4))

    def evaluate():
        point = model.from_components(jax.vmap(analysis)(*parameters), weights)
        own = model.components(point)
        given = jax.vmap(FACTORS.posterior_at, (0, None))
        components = jax.vmap(lambda x: given(own, x))(xs[:3])
        return {
            "weights": model.weights(point),
            "densities": model.log_observable_densities(point, xs),
            "shares": jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs[:3]),
            "means": jax.vmap(jax.vmap(FACTORS.pst_man.mean))(components),
            "covariances": jax.vmap(jax.vmap(FACTORS.pst_man.covariance))(components),
        }

    found = compute(evaluate)
    np.testing.assert_allclose(found["weights"], weights, rtol=1e-12)
    totals = offsets + np.einsum("kdl,kl->kd", loadings, means)
    spreads = loadings @ covariances @ loadings.swapaxes(1, 2) + np.stack(
        [np.diag(own) for own in noise]
    )
    logs = np.stack(
        [
            np.log(w) + stats.multivariate_normal(m, c).logpdf(xs)
            for w, m, c in zip(weights, totals, spreads, strict=True)
        ],
        axis=1,
    )
    np.testing.assert_allclose(found["densities"], special.logsumexp(logs, axis=1), rtol=1e-9)
    shares = special.softmax(logs, axis=1)
    np.testing.assert_allclose(found["shares"], shares[:3], rtol=1e-9, atol=1e-12)
    for k in range(3):
        gain = np.linalg.solve(spreads[k], loadings[k] @ covariances[k]).T
        expected = means[k] + (xs[:3] - totals[k]) @ gain.T
        np.testing.assert_allclose(found["means"][:, k], expected, rtol=1e-9)
        expected = np.tile(covariances[k] - gain @ loadings[k] @ covariances[k], (3, 1, 1))
        np.testing.assert_allclose(found["covariances"][:, k], expected, rtol=1e-9, atol=1e-12)


def numpy_step(parameters, xs, sharing):
    """One step of EM, observation by observation moments and regressions by least squares.

    Returns the new parameters and the average log density of the old ones.
    """
    n_components, n = len(parameters[-1]), len(xs)
    logs, expected, spreads = [], [], []
    for w, b, v, m, c, share in zip(*parameters, strict=True):
        spread = w @ c @ w.T + np.diag(v)
        logs.append(np.log(share) + stats.multivariate_normal(b + w @ m, spread).logpdf(xs))
        gain = np.linalg.solve(spread, w @ c).T
        expected.append(m + (xs - b - w @ m) @ gain.T)
        spreads.append(c - gain @ w @ c)
    logs = np.stack(logs)
    shares = np.exp(logs - special.logsumexp(logs, axis=0))
    likelihood = np.mean(special.logsumexp(logs, axis=0))
    # The regression of x on (z, the components' indicators), by moments of the complete data.
    masses = shares.sum(axis=1)
    mean_z = np.stack([s @ z / s.sum() for s, z in zip(shares, expected, strict=True)])
    mean_x = shares @ xs / masses[:, None]
    zz, zx, xx = [], [], []
    for k in range(n_components):
        z, x = expected[k] - mean_z[k], xs - mean_x[k]
        zz.append((z * shares[k][:, None]).T @ z + masses[k] * spreads[k])
        zx.append((z * shares[k][:, None]).T @ x)
        xx.append(shares[k] @ x**2)
    if sharing == "regression":
        slopes = [np.linalg.solve(sum(zz), sum(zx))] * n_components
    else:
        slopes = [np.linalg.solve(a, b) for a, b in zip(zz, zx, strict=True)]
    errors = [
        own - 2 * np.sum(slope * cross, axis=0) + np.einsum("ld,lm,md->d", slope, inner, slope)
        for own, slope, cross, inner in zip(xx, slopes, zx, zz, strict=True)
    ]
    noise = (
        [e / m for e, m in zip(errors, masses, strict=True)]
        if sharing == "nothing"
        else [sum(errors) / n] * n_components
    )
    new = (
        np.stack([slope.T for slope in slopes]),
        np.stack([x - z @ s for x, z, s in zip(mean_x, mean_z, slopes, strict=True)]),
        np.stack(noise),
        mean_z,
        np.stack([own / mass for own, mass in zip(zz, masses, strict=True)]),
        masses / n,
    )
    return new, likelihood


@pytest.mark.parametrize("sharing", SHARING)
def test_em_equals_numpy(sharing):
    model, rng = SHARING[sharing], np.random.default_rng(1)
    loadings, offsets, noise, means, covariances = random_parameters(rng)
    labels = rng.integers(0, 3, 300)
    z = np.stack([rng.multivariate_normal(means[k], covariances[k]) for k in labels])
    xs = offsets[labels] + np.einsum("ndl,nl->nd", loadings[labels], z)
    xs = xs + np.sqrt(noise[labels]) * rng.normal(size=xs.shape)
    start = random_parameters(rng)
    for shared in {"nothing": [], "noise": [start[2]], "regression": [start[0], start[2]]}[sharing]:
        shared[:] = shared[0]
    parameters = *start, np.array([0.2, 0.5, 0.3])

    def fit():
        def step(point, _):
            likelihood = model.average_log_observable_density(point, xs)
            return model.expectation_maximization(point, xs), likelihood

        point = model.from_components(jax.vmap(analysis)(*parameters[:-1]), parameters[-1])
        point, likelihoods = jax.lax.scan(step, point, None, 8)
        components, normal = jax.vmap(FACTORS.prior)(model.components(point)), FACTORS.prr_man
        moments = jax.vmap(normal.mean)(components), jax.vmap(normal.covariance)(components)
        return likelihoods, moments, model.to_mean(point).observable.latent

    likelihoods, (means, covariances), latents = compute(fit)
    for likelihood in likelihoods:
        parameters, expected = numpy_step(parameters, xs, sharing)
        np.testing.assert_allclose(likelihood, expected, rtol=1e-9)
    # Latents are standardised, each component's, or all alike where loadings are shared.
    if sharing == "regression":
        np.testing.assert_allclose(latents.location, np.zeros(2), atol=1e-9)
        np.testing.assert_allclose(latents.shape, np.eye(2), atol=1e-9)
    else:
        np.testing.assert_allclose(means, np.zeros((3, 2)), atol=1e-9)
        np.testing.assert_allclose(covariances, np.tile(np.eye(2), (3, 1, 1)), atol=1e-9)


def test_one_component_is_the_harmonium():
    model = hm.Mixture(FACTORS, 1)
    xs = np.random.default_rng(2).normal(size=(50, 4))

    def densities():
        own = FACTORS.initialize(jax.random.key(0))
        point = model.from_components([own], [1.0])
        step = model.expectation_maximization(point, xs)
        own_step = FACTORS.expectation_maximization(own, xs)
        first = model.log_observable_densities(point, xs), FACTORS.log_observable_densities(own, xs)
        return first, (
            model.log_observable_densities(step, xs),
            FACTORS.log_observable_densities(own_step, xs),
        )

    before, after = compute(densities)
    np.testing.assert_allclose(*before, rtol=1e-12)
    np.testing.assert_allclose(*after, rtol=1e-10)
