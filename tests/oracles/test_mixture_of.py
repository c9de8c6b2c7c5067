"""Mixtures of factor analyses against dense Gaussian mixtures and against EM in NumPy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import special, stats

import harmonium as hm

FACTORS = hm.factor_analysis(4, 2)
NOISE = hm.LocationEmbedding(FACTORS.obs_man)
# What components may share: nothing, the noise, the noise and the loadings.
SHARING = {
    "nothing": hm.MixtureOf(FACTORS, 3),
    "noise": hm.MixtureOf(FACTORS, 3, NOISE),
    "regression": hm.MixtureOf(FACTORS, 3, NOISE, shares_interaction=True),
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
    parameters = zip(loadings, offsets, noise, means, covariances, strict=True)
    point = model.from_components([analysis(*own) for own in parameters], weights)
    np.testing.assert_allclose(model.weights(point), weights, rtol=1e-12)
    xs = np.asarray(model.observable_sample(jax.random.key(0), point, (20,)))
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
    ours = model.log_observable_densities(point, xs)
    np.testing.assert_allclose(ours, special.logsumexp(logs, axis=1), rtol=1e-9)
    shares = special.softmax(logs, axis=1)
    for x, share in zip(xs[:3], shares[:3], strict=True):
        np.testing.assert_allclose(
            model.posterior_probabilities(point, x), share, rtol=1e-9, atol=1e-12
        )
        posterior = model.posterior_at(point, x)
        for k, component in enumerate(model.pst_man.components(posterior)):
            gain = np.linalg.solve(spreads[k], loadings[k] @ covariances[k]).T
            np.testing.assert_allclose(
                FACTORS.pst_man.mean(component), means[k] + gain @ (x - totals[k]), rtol=1e-9
            )
            np.testing.assert_allclose(
                FACTORS.pst_man.covariance(component),
                covariances[k] - gain @ loadings[k] @ covariances[k],
                rtol=1e-9,
                atol=1e-12,
            )


def read(model, point):
    """The parameters of a point, as `random_parameters` has them, and the weights."""
    components = list(model.components(point))
    priors = [FACTORS.prior(c) for c in components]
    offsets = [FACTORS.obs_man.mean(FACTORS.likelihood_at(c, jnp.zeros(2))) for c in components]
    return (
        np.stack([FACTORS.loadings(c) for c in components]),
        np.stack(offsets),
        np.stack([FACTORS.obs_man.covariance(c.observable) for c in components]),
        np.stack([FACTORS.prr_man.mean(p) for p in priors]),
        np.stack([FACTORS.prr_man.covariance(p) for p in priors]),
        np.asarray(model.weights(point)),
    )


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
    point = model.initialize_from_sample(jax.random.key(0), xs)
    parameters = read(model, point)
    step = jax.jit(model.expectation_maximization)
    for _ in range(8):
        likelihood = model.average_log_observable_density(point, xs)
        parameters, expected = numpy_step(parameters, xs, sharing)
        np.testing.assert_allclose(likelihood, expected, rtol=1e-9)
        point = step(point, xs)
    # Latents are standardised, each component's, or all alike where loadings are shared.
    prior = model.prior(point)
    if sharing == "regression":
        mean = model.prr_man.to_mean(prior).observable
        np.testing.assert_allclose(mean.location, np.zeros(2), atol=1e-9)
        np.testing.assert_allclose(mean.shape, np.eye(2), atol=1e-9)
    else:
        for component in model.prr_man.components(prior):
            np.testing.assert_allclose(FACTORS.prr_man.mean(component), np.zeros(2), atol=1e-9)
            np.testing.assert_allclose(FACTORS.prr_man.covariance(component), np.eye(2), atol=1e-9)


def test_one_component_is_the_harmonium():
    model = hm.MixtureOf(FACTORS, 1)
    own = FACTORS.initialize(jax.random.key(0))
    point = model.from_components([own], [1.0])
    xs = FACTORS.observable_sample(jax.random.key(1), own, (50,))
    np.testing.assert_allclose(
        model.log_observable_densities(point, xs),
        FACTORS.log_observable_densities(own, xs),
        rtol=1e-12,
    )
    step = model.expectation_maximization(point, xs)
    np.testing.assert_allclose(
        model.log_observable_densities(step, xs),
        FACTORS.log_observable_densities(FACTORS.expectation_maximization(own, xs), xs),
        rtol=1e-10,
    )
