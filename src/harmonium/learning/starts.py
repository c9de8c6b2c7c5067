"""Where fits start: points near the data, and the best of several after a few steps on a sample.

Clusters are found in NumPy, and a start from clusters is an M-step, so that little is compiled.
"""

import functools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import batched, compiled, is_traced, padded_length
from harmonium.exponential_family.evidence import sum_statistics
from harmonium.geometry.diagonal import Scale
from harmonium.geometry.point import Natural, stack_points
from harmonium.harmoniums.clusters import features_of
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.hierarchical import Hierarchical
from harmonium.harmoniums.labelled import Labelled
from harmonium.harmoniums.linear_gaussian import LinearGaussianModel
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.mixture_starts import SAMPLE_SIZE, WHOLE_SAMPLE
from harmonium.learning.clusters import k_means, nearest_members, random_members
from harmonium.learning.devices import repeat_evenly
from harmonium.learning.engine import Run, advance_all, begin_all
from harmonium.learning.methods import EM, Result
from harmonium.learning.prior import average_of
from harmonium.learning.problem import Problem
from harmonium.learning.scaling import Scaling, as_arrays, push_into

# How many steps of EM candidates take: few on a large sample, for their cost, more on a small one.
FEWEST_STEPS, MOST_STEPS = 5, 100
OBSERVATIONS_SEEN = 5 * SAMPLE_SIZE
# Relative differences of objectives that tell nothing about candidates.
SAME = 1e-6


def count_candidates(
    model: Any, n_candidates: int, starts: Any, observed: Any, missing: str
) -> int:
    """How many random points each start is the best of."""
    if n_candidates < 1:
        raise ValueError(f"expected at least one candidate, got n_candidates = {n_candidates}.")
    complete = observed is None and missing == "error"
    tries = starts is None and complete and not _has_one_optimum(model) and model.is_exact
    return n_candidates if tries else 1


def _has_one_optimum(model: Any) -> bool:
    """Families without latents, and probabilistic principal components.

    **Source:** Tipping and Bishop, Probabilistic Principal Component Analysis (1999), appendix A.
    """
    if isinstance(model, LinearGaussianModel):
        return model.is_symmetric and model.obs_man.covariance_structure == Scale()
    return not isinstance(model, Conjugated)


def check_starts(model: Any, key: Any, n_starts: int | None, n_candidates: int, starts: Any) -> Any:
    """A batch of given points, or random keys for all candidates for starts."""
    if starts is not None:
        if not hasattr(starts, "batch_shape"):
            return stack_points(starts)
        return starts if starts.batch_shape else stack_points([starts])
    if key is None and isinstance(model, Conjugated):
        raise ValueError("fit needs a random key for its starts: key=jax.random.key(0).")
    key = jax.random.key(0) if key is None else key  # of no matter for the only optimum
    if n_starts is None:
        n_starts = 1 if _has_one_optimum(model) else 4
    if n_starts < 1:
        raise ValueError(f"expected at least one start, got n_starts = {n_starts}.")
    return Draws(key, n_starts * n_candidates)


class Draws(NamedTuple):
    """So many random starts."""

    key: Any
    n_starts: int


def starting_points(model: Any, origin: Any, scaling: Scaling, sample: Any, dtype: Any) -> Natural:
    """A batch of points for standardised data, pushed there or near a sample."""
    if isinstance(origin, Draws):
        return as_arrays(sample_starts(model, origin.key, origin.n_starts, *sample), dtype)
    return _pushed(model, as_arrays(origin, dtype), scaling)


@compiled
def _pushed(model: Any, starts: Natural, scaling: Scaling) -> Natural:
    return jax.vmap(lambda start: push_into(scaling, model, start))(starts)


def sample_starts(model: Any, key: Any, count: int, xs: Any, weights: Any) -> Natural:
    """Random natural points near a sample, a batch of so many.

    **Arguments:**

    - `model`: what is to be fitted.
    - `key`: a JAX random key.
    - `xs`: a batch of N observations, standardised.
    - `weights`: (N,), summing to one.
    """
    if is_traced():
        return _random_starts(model, key, count, xs)
    seed = np.asarray(jax.random.key_data(key)).ravel().tolist()
    return _starts_of(model, np.random.default_rng(seed), key, range(count), (xs, weights))


@functools.singledispatch
def _starts_of(model: Any, random: Any, key: Any, numbers: range, sample: Any) -> Natural:
    """`sample_starts` of the starts with these numbers."""
    return _random_starts(model, key, len(numbers), repeat_evenly(*sample))


@_starts_of.register
def _(model: Labelled, random: Any, key: Any, numbers: range, sample: Any) -> Natural:
    (data, *_), weights = sample
    return model.wrap(_starts_of(model.hrm_man, random, key, numbers, (data, weights)))


@_starts_of.register
def _(model: Mixture, random: Any, key: Any, numbers: range, sample: Any) -> Natural:
    """From clusters, or, for every other start, from random members of the sample."""
    if not _has_cluster_starts(model):
        return _random_starts(model, key, len(numbers), repeat_evenly(*sample))
    xs, weights = sample
    arrays = np.asarray(_features(model.obs_man, xs), np.float64), np.asarray(weights)
    drawn = [_draw_clusters(model, random, *arrays, number % 2 == 0) for number in numbers]
    labels, masses = (np.stack(own) for own in zip(*drawn, strict=True))
    beyond = (0, 0), (0, padded_length(len(weights)) - len(weights))
    clusters = np.pad(labels, beyond, constant_values=-1), np.pad(masses, beyond)
    return _from_clusters(model, clusters, xs, weights)


@_starts_of.register
def _(model: Hierarchical, random: Any, key: Any, numbers: range, sample: Any) -> Natural:
    """The lower levels near the sample, mixtures above from clusters of the latents."""
    real = all(
        jnp.issubdtype(form.dtype, jnp.floating)
        for form in jax.tree.leaves(model.upr_hrm.data_man.observation)
    )
    upper = model.upr_hrm
    if not (real and isinstance(upper, Mixture) and _has_cluster_starts(upper)):
        return _random_starts(model, key, len(numbers), repeat_evenly(*sample))
    xs, weights = sample
    lower = _starts_of(model.lwr_hrm, random, key, numbers, sample)
    latents = _latents(model.lwr_hrm, lower, xs)
    uppers = [
        _starts_of(upper, random, key, numbers[n : n + 1], (_pick(latents, np.s_[:, n]), weights))
        for n in range(len(numbers))
    ]
    stacked = jax.tree.map(lambda *leaves: np.concatenate(leaves), *map(_on_host, uppers))
    return _joined(model, lower, stacked)


def _has_cluster_starts(model: Mixture) -> bool:
    """Whether components are of a family of data, and have an M-step."""
    return model.is_exact and model.obs_man.data_man == model.obs_man


def _draw_clusters(
    model: Mixture,
    random: np.random.Generator,
    features: np.ndarray,
    weights: np.ndarray,
    clustered: bool,
) -> tuple[np.ndarray, np.ndarray]:
    """The component in which each observation counts, -1 for none, and how much it does.

    What is missing to a mass of one is that of the whole sample.
    """
    k = model.n_components
    if clustered:
        return k_means(random, features, k), weights * (1 - WHOLE_SAMPLE)
    members = random_members(random, weights, k)
    if not model.shares_nothing:  # broad components that differ little only would stay so
        return nearest_members(features, members), weights * 0.9
    labels, masses = np.full(len(features), -1), np.zeros(len(features))
    labels[members] = np.arange(k)[: len(members)]
    masses[members] = 0.5 / k
    return labels, masses


@batched
def _features(family: Any, xs: Any) -> Float[Array, "n d"]:
    return jax.vmap(lambda x: features_of(family, x))(xs)


@batched
def _from_clusters(model: Mixture, clusters: Any, xs: Any, weights: Any) -> Natural:
    """Mixtures of components from parts of a sample, each with some of the whole sample.

    **Arguments:**

    - `clusters`: labels, (starts, N), and masses, (starts, N), of the padded sample.
    - `xs`, `weights`: the sample.
    """
    k, dtype = model.n_components, weights.dtype
    average = average_of(model.obs_man, xs, weights)

    def start(labels: Int[Array, " m"], masses: Float[Array, " m"]) -> Natural:
        parts = jax.nn.one_hot(labels, k, dtype=dtype) * masses.astype(dtype)[:, None]
        rest = (1 - jnp.sum(parts)) / k
        sums = jax.vmap(lambda own: sum_statistics(model.obs_man, xs, own), 1)(parts)
        sums = jax.vmap(lambda own: own + average * rest)(sums)
        mean = model.from_component_sums(sums, jnp.sum(parts, axis=0) + rest)
        return model.improve(mean, model.zeros())

    return jax.vmap(start)(*clusters)


@batched
def _latents(model: Any, points: Natural, xs: Any) -> Any:
    """What each of a batch of points expects of the latents of N observations: (N, starts, ...)."""
    return jax.vmap(lambda point: model.expected_latents(point, xs), 0, 1)(points)


@compiled
def _joined(model: Hierarchical, lower: Natural, upper: Natural) -> Natural:
    def join(low: Natural, up: Natural) -> Natural:
        return model.join_dominated(model.lwr_hrm.likelihood_function(low), up)

    return jax.vmap(join)(lower, upper)


@compiled
def _random_starts(model: Any, key: Any, count: int, xs: Any) -> Natural:
    keys = jax.random.split(key, count)
    return jax.vmap(lambda own: model.initialize_from_sample(own, xs))(keys)


def best_candidates(
    problem: Problem, candidates: Natural, n_candidates: int, max_steps: int
) -> Natural:
    """Of each group of candidates the one that EM improves most in a few steps, thus improved.

    One candidate of each group is improved at a time, by the program of the fit that follows.

    **Arguments:**

    - `problem`: that of a conjugated harmonium whose M-step has a closed form, with the data or a
        sample of them.
    - `candidates`: a batch of natural points, the groups one after the other.
    - `n_candidates`: how many make a group.
    - `max_steps`: that of the fit.

    **Source:** Biernacki, Celeux and Govaert, Choosing Starting Values for the EM Algorithm for
    Getting the Highest Likelihood in Multivariate Gaussian Mixture Models (2003): short runs of EM.
    """
    n_steps = min(MOST_STEPS, max(FEWEST_STEPS, OBSERVATIONS_SEEN // batch_length(problem.xs)))
    never = np.asarray(-1, problem.base_measure.dtype)  # a tolerance below any gain
    until, never = jax.device_put((np.asarray(n_steps), never))

    def trial(group: Natural) -> Run:
        run = begin_all(EM(), problem, group, max(max_steps, n_steps))
        return advance_all(EM(), problem, run, until, never)

    if is_traced():

        def split(leaf: Array) -> Array:
            return jnp.moveaxis(leaf.reshape(-1, n_candidates, *leaf.shape[1:]), 1, 0)

        groups = jax.tree.map(split, candidates)
        return _chosen(jax.lax.map(lambda group: _result(trial(group)), groups))
    points = _on_host(candidates)
    groups = [_pick(points, np.s_[n::n_candidates]) for n in range(n_candidates)]
    runs = [_on_host(_result(trial(jax.device_put(group)))) for group in groups]
    return _chosen(jax.tree.map(lambda *leaves: np.stack(leaves), *runs))


def _pick(tree: Any, index: Any) -> Any:
    return jax.tree.map(lambda leaf: np.asarray(leaf)[index], tree)


def _on_host(tree: Any) -> Any:
    return jax.tree.map(np.asarray, tree)


def _result(run: Run) -> tuple[Natural, Natural, Array, Array]:
    return run.params, run.best, run.value, run.code


def _chosen(results: Any) -> Natural:
    """The best of the candidates of each group, from results with axes (candidates, groups)."""
    last, best, values, codes = results
    library: Any = jnp if is_traced() else np
    # After all steps the last point, as which of them is the best may be a matter of rounding.
    took_all = (codes == int(Result.RUNNING)) | (codes == int(Result.STEP_LIMIT))
    for leaf in jax.tree.leaves(last):
        took_all &= library.isfinite(leaf).reshape(*took_all.shape, -1).all(axis=-1)
    highest = values.max(axis=0, keepdims=True)
    # Of equals the first, whatever the rounding.
    as_good = values >= highest - SAME * library.maximum(1.0, library.abs(highest))
    row, column = as_good.argmax(axis=0), np.arange(values.shape[1])

    def pick(a: Array, b: Array) -> Array:
        use = took_all.reshape(*took_all.shape, *(1,) * (a.ndim - 2))
        return library.where(use, a, b)[row, column]

    return jax.tree.map(pick, last, best)
