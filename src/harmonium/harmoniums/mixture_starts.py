"""Where mixtures start from: random components, and components from clusters of a sample."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.evidence import sum_statistics
from harmonium.exponential_family.form import float_dtype
from harmonium.geometry.cholesky import solve_positive_definite
from harmonium.geometry.embedding import zeros_like
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.clusters import features_of, k_means, scaled_columns
from harmonium.harmoniums.conjugated import Conjugated

# How many observations starts are made from, at most: more cost time and find no better ones. And
# how much of each component is the whole sample.
SAMPLE_SIZE = 16_384
WHOLE_SAMPLE = 0.05
# By how much of random differences components differ that share parameters, for all to be valid.
CLOSENESS = 0.1


def random_mixture(mixture: Any, key: PRNGKeyArray) -> Natural:
    """Random components with random weights, near the first one where they share parameters."""
    component_key, weight_key = jax.random.split(key)
    keys = jax.random.split(component_key, mixture.n_components)
    components = jax.vmap(mixture.obs_man.initialize)(keys)
    return _joined(mixture, components, mixture.pst_man.initialize(weight_key))


def _joined(mixture: Any, components: Natural, prior: Natural) -> Natural:
    """A mixture of components like these, which share what they have to."""
    if not mixture.shares_nothing:
        components = jax.tree.map(
            lambda leaf: (1 - CLOSENESS) * leaf[:1] + CLOSENESS * leaf, components
        )
    return mixture.join_conjugated(mixture.join_components(components), prior)


@functools.singledispatch
def start_mixture(family: Any, mixture: Any, key: PRNGKeyArray, xs: Any) -> Natural:
    """`initialize_from_sample` of a mixture of this family, for checked data."""
    member_key, observable_key, cluster_key, part_key, coin_key = jax.random.split(key, 5)
    overall = family.initialize_from_sample(observable_key, xs)
    average = family.to_mean(overall)
    n = batch_length(xs)
    if n > SAMPLE_SIZE:
        rows = jax.random.randint(part_key, (SAMPLE_SIZE,), 0, n)
        xs = jax.tree.map(lambda leaf: leaf[rows], xs)
    if mixture.shares_nothing:
        base, broad = overall, _broad_components(mixture, member_key, xs, average)
    else:
        base = _shared_components(mixture, member_key, xs, overall, average)
        broad = _narrowed(mixture, base, xs)
    clustered = _clusters(mixture, cluster_key, xs, average)
    clusters = jax.random.bernoulli(coin_key)
    mean = jax.tree.map(lambda a, b: jnp.where(clusters, a, b), clustered, broad)
    if not mixture.shares_nothing:
        return mixture.improve(mean, base)
    parts, weights = mixture.component_sums(mean)
    means = jax.vmap(lambda part, weight: part / weight)(parts, weights)
    components = jax.vmap(family.improve, (0, None))(means, overall)
    prior = mixture.pst_man.to_natural(mean.latent)
    return mixture.join_conjugated(mixture.join_components(components), prior)


@start_mixture.register
def _(family: Conjugated, mixture: Any, key: PRNGKeyArray, xs: Any) -> Natural:
    """Harmoniums from the parts into which a mixture of families of the data cuts the sample.

    That mixture is a random start itself. A tenth of what each component starts from comes from
    the whole sample, so that none is without data.
    """
    cut_key, draw_key, start_key = jax.random.split(key, 3)
    cut = type(mixture)(family.data_man, mixture.n_components)
    parts = cut.assign(cut.initialize_from_sample(cut_key, xs), xs)
    length, k = len(parts), mixture.n_components

    def start(draw_key: PRNGKeyArray, start_key: PRNGKeyArray, part: Array) -> Natural:
        members = (parts == part).astype(float)
        share = members / jnp.maximum(jnp.sum(members), 1)
        rows = jax.random.choice(draw_key, length, (length,), p=0.9 * share + 0.1 / length)
        own = jax.tree.map(lambda leaf: leaf[rows], xs)
        return family.initialize_from_sample(start_key, own)

    keys = jax.random.split(draw_key, k), jax.random.split(start_key, k)
    components = jax.vmap(start)(*keys, jnp.arange(k))
    uniform = zeros_like(mixture.pst_man, components)
    if mixture.shares_nothing or not mixture.is_exact:
        return _joined(mixture, components, uniform)
    means = jax.vmap(family.to_mean)(components) / k
    dtype = float_dtype(components)
    return mixture.to_natural(mixture.from_component_sums(means, jnp.full(k, 1 / k, dtype)))


def _members(mixture: Any, key: PRNGKeyArray, xs: Any) -> Mean:
    """The statistics of random members of a sample, one for each component."""
    n, k = batch_length(xs), mixture.n_components
    chosen = jnp.resize(jax.lax.top_k(jax.random.uniform(key, (n,)), min(n, k))[1], (k,))
    members = jax.tree.map(lambda leaf: leaf[chosen], xs)
    return jax.vmap(mixture.obs_man.sufficient_statistic)(members)


def _broad_components(mixture: Any, key: PRNGKeyArray, xs: Any, average: Mean) -> Mean:
    """Components half way between the average and members of the sample."""
    k = mixture.n_components
    members = _members(mixture, key, xs)
    sums = jax.vmap(lambda member: (member * 0.5 + average * 0.5) / k)(members)
    return mixture.from_component_sums(sums, jnp.full(k, 1 / k, float_dtype(average)))


def _shared_components(
    mixture: Any, key: PRNGKeyArray, xs: Any, overall: Natural, average: Mean
) -> Natural:
    """As `_broad_components`, of components that share parameters."""
    members = _members(mixture, key, xs)
    means = jax.vmap(lambda member: member * 0.5 + average * 0.5)(members)
    differences = _differences_towards(mixture, overall, means)
    moved = jax.vmap(lambda own: mixture.obs_emb.translate(overall, own))(differences)
    prior = zeros_like(mixture.pst_man, moved)
    return mixture.join_conjugated(mixture.join_components(moved), prior)


def _clusters(mixture: Any, key: PRNGKeyArray, xs: Any, average: Mean) -> Mean:
    """The statistics of clusters of the sample, each with some of the whole sample."""
    k, dtype = mixture.n_components, float_dtype(average)
    features = jax.vmap(lambda x: features_of(mixture.obs_man, x))(xs).astype(dtype)
    clusters = k_means(key, scaled_columns(features), k)
    shares = jax.nn.one_hot(clusters, k, dtype=dtype) * (1 - WHOLE_SAMPLE) / len(features)
    sums = _sums(mixture, xs, shares)
    sums = jax.vmap(lambda own: own + average * (WHOLE_SAMPLE / k))(sums)
    return mixture.from_component_sums(sums, jnp.sum(shares, axis=0) + WHOLE_SAMPLE / k)


def _narrowed(mixture: Any, point: Natural, xs: Any) -> Mean:
    """The statistics if observations belonged to their likeliest component.

    A tenth of those of the point itself is mixed in, so that no component is empty. Components
    that share parameters start as broad as the sample, and soft assignments would leave them so.
    """
    dtype = float_dtype(point)
    members = jax.nn.one_hot(mixture.assign(point, xs), mixture.n_components, dtype=dtype)
    shares = members / len(members)
    hard = mixture.from_component_sums(_sums(mixture, xs, shares), jnp.sum(shares, axis=0))
    return hard * 0.9 + mixture.to_mean(point) * 0.1


def _sums(mixture: Any, xs: Any, shares: Float[Array, "n k"]) -> Mean:
    """Sums of the statistics of observations, with the weights that these have in clusters."""
    return jax.vmap(lambda own: sum_statistics(mixture.obs_man, xs, own), 1)(shares)


def _differences_towards(mixture: Any, base: Natural, means: Mean) -> Natural:
    """Differences from one component that move its interacting mean to others, to first order.

    Each is halved until the result is inside the natural domain.
    """
    embedding, family = mixture.obs_emb, mixture.obs_man
    sub: Any = embedding.sub_man

    def interacting_mean(vector: Array) -> Array:
        moved = embedding.translate(base, sub.unravel(vector))
        return sub.ravel(embedding.project(family.to_mean(moved)))

    zero = jnp.zeros(sub.dim, jax.tree.leaves(base)[0].dtype)
    fisher, current = jax.jacfwd(interacting_mean)(zero), interacting_mean(zero)

    def difference(mean: Mean) -> Natural:
        full = solve_positive_definite(fisher, sub.ravel(embedding.project(mean)) - current)

        def outside(step: Array) -> Array:
            moved = embedding.translate(base, sub.unravel(step))
            return ~family.in_domain(moved) & jnp.any(step != 0)

        return sub.unravel(jax.lax.while_loop(outside, lambda step: step / 2, full))

    return jax.vmap(difference)(means)
