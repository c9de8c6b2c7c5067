"""Data and starting parameters of every benchmark, from a seed: arrays that suit all peers."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax import Array

from benchmarks.references import Analysers, Factors, Hierarchy


class Mixture(NamedTuple):
    """A mixture of K Gaussians: `weights` (K,), `means` (K, D), `covariances` (K, D, D)."""

    weights: Array
    means: Array
    covariances: Array


class MixtureProblem(NamedTuple):
    """Observations `xs` (N, D), where EM starts, and some `responsibilities` (N, K)."""

    xs: Array
    start: Mixture
    responsibilities: Array


class FactorProblem(NamedTuple):
    """Observations `xs` (N, D) and where EM starts."""

    xs: Array
    start: Factors


class HierarchyProblem(NamedTuple):
    """Observations `xs` (N, D) and where EM starts."""

    xs: Array
    start: Hierarchy


class AnalysersProblem(NamedTuple):
    """Observations `xs` (N, D) and where EM starts."""

    xs: Array
    start: Analysers


class MissingProblem(NamedTuple):
    """Observations with holes.

    **Fields:** `complete`, the problem without holes; `each` (N, D), masks of what is observed that
    all differ, and `few` (N, D), masks among which are only a few different ones.
    """

    complete: HierarchyProblem
    each: np.ndarray
    few: np.ndarray


class PoissonsProblem(NamedTuple):
    """Counts of independent columns, and where EM of a mixture starts.

    **Fields:** `weights` (K,) and `rates` (K, D), the start, and the counts `xs` (N, D).
    """

    weights: Array
    rates: Array
    xs: Array


class MixedProblem(NamedTuple):
    """Records of mixed types, and where EM of a mixture starts.

    **Fields:** `reals` (N, D), `categories` (N, C) from 0 to `n_categories` - 1, `counts` (N, M),
    and `responsibilities` (N, K): EM starts from what they make of the components, with equal
    weights.
    """

    reals: Array
    categories: Array
    counts: Array
    responsibilities: Array
    n_categories: int


def _covariances(random: np.random.Generator, n_components: int, dim: int) -> np.ndarray:
    """Random well-conditioned covariances (K, dim, dim) with average variance near one."""
    roots = random.normal(size=(n_components, dim, dim)) / np.sqrt(2.0 * dim)
    return roots @ np.swapaxes(roots, 1, 2) + 0.5 * np.eye(dim)


def draw_mixed(
    random: np.random.Generator, n_observations: int, means: np.ndarray, covariances: np.ndarray
) -> np.ndarray:
    """Draws (N, n) from an even mixture with means (K, n) and covariances (K, n, n)."""
    labels = random.integers(len(means), size=n_observations)
    noise = random.normal(size=(n_observations, means.shape[1]))
    roots = np.linalg.cholesky(covariances)
    draws = np.empty_like(noise)
    for k, (mean, root) in enumerate(zip(means, roots, strict=True)):
        draws[labels == k] = mean + noise[labels == k] @ root.T
    return draws


def mixture(n_observations: int, obs_dim: int, n_components: int, seed: int) -> MixtureProblem:
    """Overlapping clusters; EM starts at some of the observations with the covariance of all."""
    random = np.random.default_rng(seed)
    centres = 1.5 * random.normal(size=(n_components, obs_dim))
    xs = draw_mixed(random, n_observations, centres, _covariances(random, n_components, obs_dim))
    start = Mixture(
        weights=np.full(n_components, 1.0 / n_components),
        means=xs[random.choice(n_observations, n_components, replace=False)],
        covariances=np.tile(np.cov(xs.T), (n_components, 1, 1)),
    )
    responsibilities = random.dirichlet(np.ones(n_components), size=n_observations)
    return jax.tree.map(jnp.asarray, MixtureProblem(xs, start, responsibilities))


def factors(n_observations: int, obs_dim: int, lat_dim: int, seed: int) -> FactorProblem:
    """Data with a few common factors; EM starts from random loadings."""
    random = np.random.default_rng(seed)
    loadings = random.normal(size=(obs_dim, lat_dim))
    noise = random.uniform(0.5, 2.0, size=obs_dim)
    latents = random.normal(size=(n_observations, lat_dim))
    errors = random.normal(size=(n_observations, obs_dim)) * np.sqrt(noise)
    xs = latents @ loadings.T + random.normal(size=obs_dim) + errors
    start = Factors(random.normal(size=(obs_dim, lat_dim)), xs.mean(axis=0), xs.var(axis=0))
    return jax.tree.map(jnp.asarray, FactorProblem(xs, start))


def hierarchy(
    n_observations: int, obs_dim: int, lat_dim: int, n_components: int, seed: int
) -> HierarchyProblem:
    """Clusters in a few latent dimensions seen through noise; EM starts near the true ones."""
    random = np.random.default_rng(seed)
    loadings = random.normal(size=(obs_dim, lat_dim))
    offset = random.normal(size=obs_dim)
    noise = random.uniform(0.5, 2.0, size=obs_dim)
    centres = 2.0 * random.normal(size=(n_components, lat_dim))
    covariances = 0.5 * _covariances(random, n_components, lat_dim)
    latents = draw_mixed(random, n_observations, centres, covariances)
    xs = (
        latents @ loadings.T
        + offset
        + random.normal(size=(n_observations, obs_dim)) * np.sqrt(noise)
    )
    start = Hierarchy(
        loadings=loadings + 0.3 * random.normal(size=loadings.shape),
        offset=xs.mean(axis=0),
        noise=2.0 * noise,
        weights=np.full(n_components, 1.0 / n_components),
        means=centres + 0.5 * random.normal(size=centres.shape),
        covariances=np.tile(np.eye(lat_dim), (n_components, 1, 1)),
    )
    return jax.tree.map(jnp.asarray, HierarchyProblem(xs, start))


def analysers(
    n_observations: int, obs_dim: int, lat_dim: int, n_components: int, seed: int
) -> AnalysersProblem:
    """Overlapping clusters, each with common factors of its own; EM starts near the true ones."""
    random = np.random.default_rng(seed)
    loadings = random.normal(size=(n_components, obs_dim, lat_dim))
    offsets = random.normal(size=(n_components, obs_dim))
    noise = random.uniform(0.5, 2.0, size=(n_components, obs_dim))
    labels = random.integers(n_components, size=n_observations)
    latents = random.normal(size=(n_observations, lat_dim))
    errors = random.normal(size=(n_observations, obs_dim)) * np.sqrt(noise[labels])
    xs = np.einsum("ndl,nl->nd", loadings[labels], latents) + offsets[labels] + errors
    near = Factors(
        loadings + 0.3 * random.normal(size=loadings.shape),
        offsets + 0.3 * random.normal(size=offsets.shape),
        2.0 * noise,
    )
    start = Analysers(np.full(n_components, 1.0 / n_components), near)
    return jax.tree.map(jnp.asarray, AnalysersProblem(xs, start))


def missing(complete: HierarchyProblem, share: float, n_patterns: int, seed: int) -> MissingProblem:
    """Entries hidden at random with this probability, one by one and by a few patterns."""
    random = np.random.default_rng(seed)
    each = random.random(complete.xs.shape) >= share
    patterns = random.random((n_patterns, complete.xs.shape[1])) >= share
    return MissingProblem(complete, each, patterns[random.integers(n_patterns, size=len(each))])


def poissons(n_observations: int, obs_dim: int, n_components: int, seed: int) -> PoissonsProblem:
    """Counts with rates around four; EM starts near the true ones."""
    random = np.random.default_rng(seed)
    rates = random.gamma(2.0, 2.0, size=(n_components, obs_dim)) + 0.1
    xs = random.poisson(rates[random.integers(n_components, size=n_observations)])
    near = rates * np.exp(0.3 * random.normal(size=rates.shape))
    weights = np.full(n_components, 1.0 / n_components)
    return jax.tree.map(jnp.asarray, PoissonsProblem(weights, near, xs))


def mixed(
    n_observations: int, n_columns: int, n_categories: int, n_components: int, seed: int
) -> MixedProblem:
    """As many columns of each type, which overlapping clusters explain."""
    random = np.random.default_rng(seed)
    labels = random.integers(n_components, size=n_observations)
    means = random.normal(size=(n_components, n_columns))
    reals = means[labels] + random.normal(size=(n_observations, n_columns))
    shares = random.dirichlet(np.ones(n_categories), size=(n_components, n_columns))
    below = random.random((n_observations, n_columns, 1)) > np.cumsum(shares, axis=2)[labels]
    categories = np.minimum(below.sum(axis=2), n_categories - 1)
    rates = random.gamma(2.0, 2.0, size=(n_components, n_columns)) + 0.1
    counts = random.poisson(rates[labels])
    noise = random.dirichlet(np.ones(n_components), size=n_observations)
    responsibilities = 0.5 * np.eye(n_components)[labels] + 0.5 * noise
    arrays = map(jnp.asarray, (reals, categories, counts, responsibilities))
    return MixedProblem(*arrays, n_categories)
