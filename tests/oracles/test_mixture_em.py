"""EM of Gaussian mixtures against scikit-learn, step by step from the same start."""

import warnings

import jax
import numpy as np
import pytest
from sklearn.cluster import kmeans_plusplus
from sklearn.datasets import load_iris
from sklearn.exceptions import ConvergenceWarning
from sklearn.mixture import GaussianMixture

import harmonium as hm
from tests.compiled import compute

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


def em_trace(model, means, covariances, shares, xs, weights=None):
    """Weights, means, covariances and average log densities after each of ten steps of EM."""

    def step(point, _):
        point = model.expectation_maximization(point, xs, weights)
        components = model.components(point)
        return point, (
            model.weights(point),
            jax.vmap(model.obs_man.mean)(components),
            jax.vmap(model.obs_man.covariance)(components),
            model.average_log_observable_density(point, xs),
        )

    components = jax.vmap(model.obs_man.from_mean_covariance)(means, covariances)
    point = model.from_components(components, shares)
    return jax.lax.scan(step, point, None, 10)[1]


def assert_same(ours, trace):
    """The steps of a trace of scikit-learn are the first of ours."""
    for found, expected in zip(ours, zip(*trace, strict=True), strict=True):
        np.testing.assert_allclose(found[: len(trace)], expected, rtol=1e-8, atol=1e-9)


@pytest.mark.parametrize("kind", STRUCTURES)
def test_ten_steps_are_those_of_scikit_learn(kind):
    xs = data()
    means, weights = start(xs)
    shape = {"full": (K, 4, 4), "diag": (K, 4), "spherical": (K,)}[kind]
    covariances = np.broadcast_to(np.eye(4) if kind == "full" else 1.0, shape) * 0.5
    trace = sklearn_steps(xs, kind, means, weights, 4 * covariances, 10)
    model = hm.Mixture(hm.Normal(4, STRUCTURES[kind]), K)
    assert_same(compute(em_trace, model, means, covariances, weights, xs), trace)


def test_weighted_steps_are_those_of_repeated_data():
    xs = data()
    counts = np.random.default_rng(51).integers(0, 4, len(xs))
    repeated = np.repeat(xs, counts, axis=0)
    means, weights = start(xs)
    identities = np.broadcast_to(np.eye(4), (K, 4, 4))
    trace = sklearn_steps(repeated, "full", means, weights, identities, 3)
    model = hm.Mixture(hm.Normal(4), K)
    *ours, _ = compute(em_trace, model, means, identities, weights, xs, counts.astype(float))
    assert_same(ours, [own[:3] for own in trace])


def test_ten_steps_of_tied_components_are_those_of_scikit_learn():
    xs = data()
    means, weights = start(xs)
    trace = sklearn_steps(xs, "tied", means, weights, np.eye(4), 10)
    model = hm.Mixture(hm.Normal(4), K, hm.LocationEmbedding(hm.Normal(4)))
    identities = np.broadcast_to(np.eye(4), (K, 4, 4))
    weights, means, covariances, score = compute(em_trace, model, means, identities, weights, xs)
    assert_same((weights, means, covariances[:, 1], score), trace)
