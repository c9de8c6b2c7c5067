"""Clusters of observations, where mixtures start from."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

LLOYD_ROUNDS = 10


def k_means(
    key: PRNGKeyArray, xs: Float[Array, "n d"], n_clusters: int, rounds: int = LLOYD_ROUNDS
) -> Int[Array, " n"]:
    """Cuts vectors into clusters by a few rounds of k-means, from k-means++ centres.

    **Arguments:**

    - `key`: a JAX random key for the centres.
    - `xs`: (N, D), in units in which distances make sense.
    - `n_clusters`: how many; some are empty if there are fewer distinct vectors.
    - `rounds`: how often centres move.

    **Returns:** (N,), the cluster of each vector.

    **Source:** Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding (2007).
    """

    def assign(centres: Float[Array, "k d"]) -> Int[Array, " n"]:
        # Squared distances less those to the origin, which make no difference.
        return jnp.argmin(jnp.sum(centres**2, axis=1)[None] - 2 * xs @ centres.T, axis=1)

    def move(_: Any, centres: Float[Array, "k d"]) -> Float[Array, "k d"]:
        members = jax.nn.one_hot(assign(centres), n_clusters, dtype=xs.dtype)
        sizes = jnp.sum(members, axis=0)[:, None]
        return jnp.where(sizes > 0, members.T @ xs / jnp.maximum(sizes, 1), centres)

    return assign(jax.lax.fori_loop(0, rounds, move, _spread_centres(key, xs, n_clusters)))


def _spread_centres(
    key: PRNGKeyArray, xs: Float[Array, "n d"], n_clusters: int
) -> Float[Array, "k d"]:
    """Random vectors, drawn in proportion to their squared distance from those drawn before."""

    def draw(squared_distances: Array, key: PRNGKeyArray) -> tuple[Array, Array]:
        centre = xs[jax.random.categorical(key, jnp.log(squared_distances))]
        distances = jnp.sum((xs - centre[None]) ** 2, axis=1)
        return jnp.minimum(squared_distances, distances), centre

    keys = jax.random.split(key, n_clusters)
    first = xs[jax.random.randint(keys[0], (), 0, len(xs))]
    _, others = jax.lax.scan(draw, jnp.sum((xs - first[None]) ** 2, axis=1), keys[1:])
    return jnp.concatenate([first[None], others])


def scaled_columns(xs: Float[Array, "n d"]) -> Float[Array, "n d"]:
    """Columns with unit variance, but constant ones."""
    deviations = jnp.std(xs, axis=0)
    return xs / jnp.where(deviations > 0, deviations, 1)[None]
