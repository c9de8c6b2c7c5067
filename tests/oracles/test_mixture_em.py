"""EM of Gaussian mixtures against scikit-learn, step by step from the same start."""

import warnings

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import harmonium as hm

STRUCTURES = {"full": hm.PositiveDefinite(), "diag": hm.Diagonal(), "spherical": hm.Scale()}
K = 3


def data():
    xs = load_iris().data
    return (xs - xs.mean(axis=0)) / xs.std(axis=0)


def sklearn_steps(xs, kind, means, weights, precisions, n_steps):
    """The parameters after each of several EM steps of scikit-learn, each one started afresh."""
    trace = []
    for _ in range(n_steps):
        mixture = GaussianMixture(
            len(means),
            covariance_type=kind,
            means_init=means,
            weights_init=weights,
            precisions_init=precisions,
            reg_covar=0,
            max_iter=1,
        )
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            mixture.fit(xs)
        means, weights, precisions = mixture.means_, mixture.weights_, mixture.precisions_
        trace.append((weights, means, mixture.covariances_, mixture.score(xs)))
    return trace


def start(xs):
    means, _ = kmeans_plusplus(xs, K, random_state=0)
    return means, np.array([0.2, 0.3, 0.5])


@eqx.filter_jit
def em_step(model, point, xs):
    return model.expectation_maximization(point, xs)


@eqx.filter_jit
def read(model, point, xs):
    components = model.components(point)
    return (
        model.weights(point),
        jax.vmap(model.obs_man.mean)(components),
        jax.vmap(model.obs_man.covariance)(components),
        model.average_log_observable_density(point, xs),
    )


@pytest.mark.parametrize("kind", STRUCTURES)
def test_ten_steps_are_those_of_scikit_learn(kind):
    xs = data()
    means, weights = start(xs)
    shape = {"full": (K, 4, 4), "diag": (K, 4), "spherical": (K,)}[kind]
    covariances = np.broadcast_to(np.eye(4) if kind == "full" else 1.0, shape) * 0.5
    trace = sklearn_steps(xs, kind, means, weights, 4 * covariances, 10)

    model = hm.Mixture(hm.Normal(4, STRUCTURES[kind]), K)
    components = [
        model.obs_man.from_mean_covariance(m, c) for m, c in zip(means, covariances, strict=True)
    ]
    point = model.from_components(components, weights)
    for expected in trace:
        point = em_step(model, point, jnp.asarray(xs))
        for ours, theirs in zip(read(model, point, jnp.asarray(xs)), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)


def test_weighted_steps_are_those_of_repeated_data():
    xs = data()
    counts = np.random.default_rng(51).integers(0, 4, len(xs))
    repeated = np.repeat(xs, counts, axis=0)
    means, weights = start(xs)
    precisions = np.broadcast_to(np.eye(4), (K, 4, 4))
    trace = sklearn_steps(repeated, "full", means, weights, precisions, 3)

    model = hm.Mixture(hm.Normal(4), K)
    components = [model.obs_man.from_mean_covariance(m, np.eye(4)) for m in means]
    point = model.from_components(components, weights)
    step = eqx.filter_jit(lambda m, p, xs, ws: m.expectation_maximization(p, xs, ws))
    for expected in trace:
        point = step(model, point, jnp.asarray(xs), jnp.asarray(counts, float))
        for ours, theirs in zip(read(model, point, jnp.asarray(xs))[:3], expected[:3], strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)


def test_ten_steps_of_tied_components_are_those_of_scikit_learn():
    xs = data()
    means, weights = start(xs)
    trace = sklearn_steps(xs, "tied", means, weights, np.eye(4), 10)

    model = hm.Mixture(hm.Normal(4), K, hm.LocationEmbedding(hm.Normal(4)))
    components = [model.obs_man.from_mean_covariance(m, np.eye(4)) for m in means]
    point = model.from_components(components, weights)
    for expected in trace:
        point = em_step(model, point, jnp.asarray(xs))
        weights, means, covariances, score = read(model, point, jnp.asarray(xs))
        for ours, theirs in zip((weights, means, covariances[1], score), expected, strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-9)
