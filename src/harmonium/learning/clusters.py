"""Clusters of vectors in NumPy, where fits start."""

import math

import numpy as np

from harmonium.harmoniums.clusters import scaled_columns

# Centres move at most so often: EM goes on from there.
LLOYD_ROUNDS = 20


def k_means(
    random: np.random.Generator, xs: np.ndarray, n_clusters: int, max_rounds: int = LLOYD_ROUNDS
) -> np.ndarray:
    """The cluster of each vector by k-means, from k-means++ centres.

    **Arguments:**

    - `random`: for the centres.
    - `xs`: (N, D); columns are scaled to unit variance.
    - `n_clusters`: how many; some are empty if there are fewer distinct vectors.
    - `max_rounds`: how often centres move at most; they rest when clusters don't change any more.

    **Source:** Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding (2007).
    """
    xs = scaled_columns(xs)
    centres = _spread_centres(random, xs, n_clusters)
    labels = _nearest(xs, centres)
    for _ in range(max_rounds):
        members = np.equal.outer(np.arange(n_clusters), labels).astype(xs.dtype)
        sizes = members.sum(axis=1)[:, None]
        centres = np.where(sizes > 0, members @ xs / np.maximum(sizes, 1), centres)
        before, labels = labels, _nearest(xs, centres)
        if np.array_equal(before, labels):
            break
    return labels


def random_members(random: np.random.Generator, weights: np.ndarray, count: int) -> np.ndarray:
    """Rows drawn without replacement in proportion to their weights; all, if there are no more."""
    eligible = np.flatnonzero(weights > 0)
    count = min(count, len(eligible))
    return random.choice(eligible, count, replace=False, p=weights[eligible] / weights.sum())


def nearest_members(xs: np.ndarray, members: np.ndarray) -> np.ndarray:
    """Which of some rows each row is nearest to, columns scaled to unit variance."""
    xs = scaled_columns(xs)
    return _nearest(xs, xs[members])


def _nearest(xs: np.ndarray, centres: np.ndarray) -> np.ndarray:
    # Squared distances less those to the origin, which make no difference.
    return np.argmin((centres**2).sum(axis=1) - 2 * xs @ centres.T, axis=1)


def _spread_centres(random: np.random.Generator, xs: np.ndarray, n_clusters: int) -> np.ndarray:
    """Random vectors, drawn in proportion to their squared distance from those drawn before.

    Of a few such draws the one is taken that leaves all vectors nearest to some centre.
    """
    n_draws = 2 + math.floor(math.log(n_clusters))
    squares = (xs**2).sum(axis=1)
    centres = xs[random.integers(len(xs))][None]
    nearest = squares - 2 * xs @ centres[0] + centres[0] @ centres[0]
    while len(centres) < n_clusters:
        ends = np.cumsum(np.maximum(nearest, 0))
        drawn = np.searchsorted(ends, random.random(n_draws) * ends[-1], side="right")
        options = xs[np.minimum(drawn, len(xs) - 1)]
        distances = squares[:, None] - 2 * xs @ options.T + (options**2).sum(axis=1)
        distances = np.minimum(nearest[:, None], distances)
        best = np.argmin(distances.sum(axis=0))
        nearest, centres = distances[:, best], np.concatenate([centres, options[best][None]])
    return centres
