"""Clusters beside those of scikit-learn."""

import functools

import jax
import numpy as np
import sklearn.cluster
import sklearn.datasets
import threadpoolctl

from harmonium.harmoniums.clusters import k_means
from tests.compiled import compute

DIGITS = sklearn.datasets.load_digits().data[:600, 16:40]
N_STARTS = 100


def within(xs, clusters):
    """The average squared distance from the mean of the own cluster."""
    parts = [xs[clusters == k] for k in np.unique(clusters)]
    return sum(((part - part.mean(axis=0)) ** 2).sum() for part in parts) / len(xs)


@functools.cache
def clusters(max_rounds):
    """Those from each of the starts."""

    def cut(xs):
        keys = jax.random.split(jax.random.key(0), N_STARTS)
        return jax.vmap(lambda key: k_means(key, xs, 10, max_rounds))(keys)

    return compute(cut, DIGITS)


def test_clusters_are_as_tight_as_those_of_scikit_learn():
    ours = [within(DIGITS, own) for own in clusters(100)]
    # Its threads would mostly wait for each other.
    with threadpoolctl.threadpool_limits(1):
        theirs = [
            sklearn.cluster.KMeans(10, random_state=seed).fit(DIGITS).inertia_ / len(DIGITS)
            for seed in range(N_STARTS)
        ]
    assert np.mean(ours) < 1.01 * np.mean(theirs)


def test_centres_move_until_everything_is_nearest_to_its_own():
    for own in clusters(100):
        centres = np.array([DIGITS[own == k].mean(axis=0) for k in range(10)])
        distances = ((DIGITS[:, None] - centres) ** 2).sum(axis=2)
        assert np.all(distances.min(axis=1) >= distances[np.arange(len(own)), own] - 1e-3)


def test_first_centres_are_spread_as_those_of_scikit_learn():
    ours = [within(DIGITS, own) for own in clusters(0)]
    theirs = []
    for seed in range(N_STARTS):
        centres, _ = sklearn.cluster.kmeans_plusplus(DIGITS, 10, random_state=seed)
        nearest = ((DIGITS[:, None] - centres) ** 2).sum(axis=2).argmin(axis=1)
        theirs.append(within(DIGITS, nearest))
    assert np.mean(ours) < 1.01 * np.mean(theirs)


def test_fewer_distinct_vectors_than_clusters_are_told_apart():
    distinct = np.array([[1.0, 0.0], [0.0, 1e3], [-1e3, 0.0]])
    kinds = np.arange(12) % 3
    found = compute(lambda key, xs: k_means(key, xs, 5), jax.random.key(1), distinct[kinds])
    assert len(set(zip(kinds.tolist(), found.tolist(), strict=True))) == 3
