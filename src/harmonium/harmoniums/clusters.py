"""Clusters of observations, where mixtures start from."""

import functools
import math
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.product import Product, Replicated
from harmonium.families.normal import Normal

LLOYD_ROUNDS = 100


@functools.singledispatch
def features_of(family: Any, x: Any) -> Float[Array, " d"]:
    """A vector for one observation, whose distance to others says how alike they are.

    The sufficient statistic of most families, and real vectors themselves.
    """
    leaves = jax.tree.leaves(family.sufficient_statistic(x))
    return jnp.concatenate([leaf.reshape(-1) for leaf in leaves])


@features_of.register
def _(family: Normal, x: Any) -> Float[Array, " d"]:
    return x


@features_of.register
def _(family: Product, x: Any) -> Float[Array, " d"]:
    return jnp.concatenate([own.astype(float) for own in family.map_parts(features_of, x)])


@features_of.register
def _(family: Replicated, x: Any) -> Float[Array, " d"]:
    return family.map_parts(features_of, x).reshape(-1)


def k_means(
    key: PRNGKeyArray, xs: Float[Array, "n d"], n_clusters: int, max_rounds: int = LLOYD_ROUNDS
) -> Int[Array, " n"]:
    """Cuts vectors into clusters by k-means, from k-means++ centres.

    **Arguments:**

    - `key`: a JAX random key for the centres.
    - `xs`: (N, D), in units in which distances make sense.
    - `n_clusters`: how many; some are empty if there are fewer distinct vectors.
    - `max_rounds`: how often centres move at most; they rest when clusters don't change any more.

    **Returns:** (N,), the cluster of each vector.

    **Source:** Arthur and Vassilvitskii, k-means++: The Advantages of Careful Seeding (2007).
    """

    def assign(centres: Float[Array, "k d"]) -> Int[Array, " n"]:
        # Squared distances less those to the origin, which make no difference.
        return jnp.argmin(jnp.sum(centres**2, axis=1)[None] - 2 * xs @ centres.T, axis=1)

    def move(state: _Lloyd) -> _Lloyd:
        members = jax.nn.one_hot(state.clusters, n_clusters, dtype=xs.dtype)
        sizes = jnp.sum(members, axis=0)[:, None]
        means = members.T @ xs / jnp.maximum(sizes, 1)
        centres = jnp.where(sizes > 0, means, state.centres)
        clusters = assign(centres)
        is_done = jnp.all(clusters == state.clusters)
        return _Lloyd(centres, clusters, state.n_rounds + 1, is_done)

    def is_going(state: _Lloyd) -> Bool[Array, ""]:
        return (state.n_rounds < max_rounds) & ~state.is_done

    centres = _spread_centres(key, xs, n_clusters)
    start = _Lloyd(centres, assign(centres), jnp.asarray(0), jnp.asarray(False))
    return jax.lax.while_loop(is_going, move, start).clusters


class _Lloyd(NamedTuple):
    """Where k-means is."""

    centres: Float[Array, "k d"]
    clusters: Int[Array, " n"]
    n_rounds: Int[Array, ""]
    is_done: Bool[Array, ""]


def _spread_centres(
    key: PRNGKeyArray, xs: Float[Array, "n d"], n_clusters: int
) -> Float[Array, "k d"]:
    """Random vectors, drawn in proportion to their squared distance from those drawn before.

    Of a few such draws the one is taken that leaves all vectors nearest to some centre.
    """
    n_draws = 2 + math.floor(math.log(n_clusters))
    uniform = jax.random.uniform(key, (n_clusters, n_draws), xs.dtype)

    def distances(centre: Float[Array, " d"]) -> Float[Array, " n"]:
        return jnp.sum((xs - centre[None]) ** 2, axis=1)

    def draw(nearest: Array, uniform: Array) -> tuple[Array, Array]:
        totals = jnp.cumsum(nearest)
        before = totals[None] <= uniform[:, None] * totals[-1]
        centres = xs[jnp.minimum(jnp.sum(before, axis=1), len(xs) - 1)]
        nearest = jnp.minimum(nearest[None], jax.vmap(distances)(centres))
        best = jnp.argmin(jnp.sum(nearest, axis=1))
        return nearest[best], centres[best]

    first = xs[jnp.minimum(jnp.asarray(uniform[0, 0] * len(xs), int), len(xs) - 1)]
    _, others = jax.lax.scan(draw, distances(first), uniform[1:])
    return jnp.concatenate([first[None], others])


def scaled_columns(xs: Any) -> Any:
    """Columns (N, D) with unit variance, but constant ones; of NumPy arrays, too."""
    deviations = xs.std(axis=0)
    return xs / (deviations + (deviations == 0).astype(deviations.dtype))[None]
