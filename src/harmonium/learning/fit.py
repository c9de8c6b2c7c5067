"""Fitting models to data."""

import os
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.chunks import BATCH_SIZE
from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.point import Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.labelled import Labelled
from harmonium.learning.batches import Batches, array_batches, as_batches, read_blocks
from harmonium.learning.checkpoint import Checkpoint
from harmonium.learning.devices import spread_data
from harmonium.learning.engine import Run, advance_all, run_fit
from harmonium.learning.fingerprint import describe
from harmonium.learning.labels import (
    convert_points,
    join_labels,
    known_rows,
    monitor_of,
    start_from_labels,
)
from harmonium.learning.methods import EM, Method
from harmonium.learning.missing import mark_missing
from harmonium.learning.online import Learner, OnlineEM, first_block
from harmonium.learning.outcome import Fit, best_point, finish
from harmonium.learning.prior import default_prior
from harmonium.learning.problem import ConjugatePrior, relative_prior
from harmonium.learning.scaling import (
    Scaling,
    as_arrays,
    push_into,
)
from harmonium.learning.source import Arrays, Prepared, Source
from harmonium.learning.starts import (
    Draws,
    best_candidates,
    check_starts,
    count_candidates,
    starting_points,
)
from harmonium.learning.streams import Stream, prepare, progress_bar
from harmonium.learning.survey import sample_size, survey


def fit(
    model: Differentiable,
    data: Any,
    *,
    key: PRNGKeyArray | None = None,
    method: Method = EM(),  # noqa: B008 (it has no state)
    n_starts: int | None = None,
    n_candidates: int = 8,
    starts: Any = None,
    weights: Any = None,
    labels: Any = None,
    labelled: Any = None,
    observed: Any = None,
    missing: str = "error",
    prior: ConjugatePrior | str | None = "default",
    scale: bool = True,
    max_steps: int = 1000,
    tolerance: float | int = 1e-6,
    progress: bool | None = None,
    callback: Callable[[int, float], None] | None = None,
    monitor: Callable[[int, Natural], None] | None = None,
    batch_size: int = BATCH_SIZE,
    checkpoint: str | os.PathLike | None = None,
    every: float | int = 60,
    mesh: Any = None,
) -> Fit:
    r"""Fits a model to data, from several starts at once, and returns the best.

    Maximises the average log density of the data, plus $\frac{\kappa}{N} (\theta \cdot \eta_0 -
    \psi(\theta))$ if there is a prior. Inside, real vectors are centred and scaled, and the result
    is pushed back, so that data may lie anywhere.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family without latents.
    - `data`: a batch of N observations of the model's observable. A NumPy memory map, or
        `Batches`, is read batch by batch, once a step, and never is in memory as a whole.
    - `key`: a JAX random key for the starts; not needed where `starts` are given, nor for families
        without latents.
    - `method`: `EM()`, `EM("squarem")`, `Gradient(optimiser)`, `NaturalGradient(learning_rate)`,
        or `OnlineEM()`, which takes a small step for each of many minibatches.
    - `n_starts`: how many random starts near the data; by default 4, as the likelihood of models
        with latents has several optima; one for families without and for principal components.
    - `n_candidates`: how many random points each of them is the best of, after some steps of EM on
        a sample of at most 16,384 observations: from 5 on that many to 100 on few. Only where there
        are several optima, EM has a closed form and everything is observed; else each start is one
        random point.
    - `starts`: natural points to start from instead: one, a batch, or a sequence of them.
    - `weights`: (N,), not negative; weight 2 is the same as an observation repeated.
    - `labels`: (N,), integers: the categories at the top of the model where they are known, -1
        where they are not. Or a tuple with an entry for each latent, the lowest first, `None` for
        those without labels; of real latents NaN is unknown.
    - `labelled`: (N,), whether labels are known, where -1 or NaN don't say it; or a tuple.
    - `observed`: N masks of what is observed, see `posterior_at`.
    - `missing`: `"error"`, or `"nan"` to take NaN among reals for not observed.
    - `prior`: `"default"` for a weak one of mixtures that keeps components from collapsing, see
        `default_prior`; a `ConjugatePrior`; or `None` for maximum likelihood.
    - `scale`: whether to centre and scale real vectors inside.
    - `max_steps`: the largest number of steps.
    - `tolerance`: a start has converged when a step gains less than this, relative to the objective
        or to 1, whichever is larger.
    - `progress`: whether to show a progress bar; by default at a terminal, after a second.
    - `callback`: called now and then with the number of steps taken and the best objective.
    - `monitor`: called then with the number of steps taken and the best parameters so far.
    - `batch_size`: how many observations are processed at once at most, on each device.
    - `checkpoint`: a file in which the run is kept. Called again with the same arguments, after
        whatever ended the process, the fit goes on from there, and ends with the same numbers to
        the last bit as if nothing had happened; one that was complete is returned at once. With a
        smaller `tolerance` or more `max_steps`, a complete one goes on.
    - `every`: how many seconds there are at least between two writes of it. What is lost in the
        worst case is that time, and what a few steps take.
    - `mesh`: a `jax.sharding.Mesh` over all of whose devices the data are to be spread. Data that
        are sharded along their first axis stay as they are, and need none.

    **Returns:** a `Fit`; its `message` says whether it converged and what to do otherwise.

    **Raises:** `TypeError` or `ValueError` for data of another form or outside the support, for bad
    weights, and if every start fails at once; `FileError` for a checkpoint of another fit.
    """
    if not isinstance(model, Differentiable):
        raise TypeError(f"fit takes a model, got {type(model).__name__}.")
    given = model
    if labels is not None or labelled is not None:
        data, observed = mark_missing(model, data, observed, missing)
        model, data, observed = join_labels(model, data, labels, labelled, observed)
        starts, prior = convert_points(given, model, (starts, prior))
        monitor, missing = monitor_of(given, model, monitor), "error"
    _check_steps(max_steps, tolerance)
    arguments = {"model": model, "method": method, "starts": (key, n_starts, n_candidates, starts)}
    arguments |= {"prior": prior, "scale": scale, "batch_size": batch_size}
    store = _checkpoint(checkpoint, every, arguments)
    family: Any = model.data_man
    prior = _check_prior(model, prior)
    trials = count_candidates(model, n_candidates, starts, observed, missing)
    origin = check_starts(model, key, n_starts, trials, starts)
    data, weights, observed, devices = spread_data(family, data, weights, observed, mesh)
    if devices is not None:
        progress = _check_spread(method, progress)
    batches = as_batches(data, weights) if devices is None else None
    if batches is not None or isinstance(method, OnlineEM):
        _refuse_masks(observed, missing)
        batches = array_batches(family, data, weights) if batches is None else batches
        if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(origin)):
            raise TypeError("data can't be read batch by batch inside of compiled functions.")
        source = _opened(model, batches, key, method, scale, progress, batch_size, store)
    else:
        _identify(store, data=data, weights=weights, observed=(observed, missing))
        data, observed = mark_missing(model, data, observed, missing)
        source = Arrays(model, data, weights, observed, devices, scale, batch_size)
    prepared = source.prepared
    scaling, volume, dtype = prepared.scaling, prepared.volume, prepared.dtype
    starting = starting_points(model, origin, scaling, prepared.sample, dtype)
    one = np.ones((), dtype)
    standard: Any = _standard_prior(model, prior, scaling, *prepared.typical, one)
    problem, take_steps = source.problem(model, standard)
    if trials > 1:
        starting = best_candidates(source.trial(problem, standard), starting, trials, max_steps)
    if isinstance(model, Labelled) and observed is not None and isinstance(origin, Draws):
        starting = start_from_labels(problem, starting, known_rows(observed))
    run = run_fit(
        method,
        problem,
        starting,
        max_steps,
        tolerance,
        progress,
        _reporter(model, prepared, callback, monitor),
        take_steps,
        one_by_one=take_steps is not advance_all,
        checkpoint=store,
    )
    standard = relative_prior(standard, source.total)
    problem = eqx.tree_at(lambda p: p.prior, problem, standard, is_leaf=lambda node: node is None)
    result = finish(model, problem, run, scaling, volume, jnp.asarray(source.total, dtype))
    return convert_points(model, given, result)


def _opened(
    model: Any,
    batches: Batches,
    key: Any,
    method: Method,
    scale: bool,
    progress: bool | None,
    batch_size: int,
    store: Checkpoint | None,
) -> Source:
    """Data that are read batch by batch, after one pass over them, or a look at the first."""
    family = model.data_man
    seed = 0 if key is None else int(jax.random.bits(key))
    size = min(batch_size, batches.length or batch_size)
    if isinstance(method, OnlineEM) and not batches.in_memory:
        blocks = first_block(family, batches, size, seed)
    else:
        blocks = read_blocks(family, batches, size)
    whole = isinstance(model, Conjugated) and model.is_jointly_gaussian
    blocks = progress_bar(blocks, "moments", progress)
    surveyed = survey(family, blocks, whole, seed, sample_size(family, batch_size))
    _identify(store, data=(repr(batches), tuple(surveyed)))
    prepared = prepare(model, surveyed, scale)
    if not isinstance(method, OnlineEM):
        return Stream(family, batches, surveyed, prepared, size, progress)
    learner = Learner(family, batches, surveyed, prepared, method, size, seed, progress)
    if store is not None:
        store.reader = learner
    return learner


def _reporter(model: Any, prepared: Prepared, callback: Any, monitor: Any) -> Callable[[Run], str]:
    """What tells a user about steps, and the progress bar what to show."""

    def report(run: Run) -> str:
        best = float(np.nanmax(np.asarray(run.value)) - np.asarray(prepared.volume))
        n_steps = int(np.max(np.asarray(run.n_steps)))
        if callback is not None:
            callback(n_steps, best)
        if monitor is not None:
            monitor(n_steps, best_point(model, prepared.scaling, run))
        return f"{best:.6g} nats"

    return report


def _check_steps(max_steps: int, tolerance: float | int) -> None:
    if max_steps < 1 or not tolerance >= 0:
        raise ValueError(
            "fit takes at least one step and a tolerance that is not negative, got max_steps = "
            f"{max_steps}, tolerance = {tolerance}."
        )


def _check_spread(method: Method, progress: bool | None) -> bool | None:
    """Whether to show the progress of a fit on many devices: the first process does."""
    if isinstance(method, OnlineEM):
        raise TypeError(
            "OnlineEM reads its data batch by batch, on one device. Fit data on many devices by "
            "another method, as EM('squarem')."
        )
    return progress if jax.process_index() == 0 else False


def _refuse_masks(observed: Any, missing: str) -> None:
    if observed is not None or missing != "error":
        raise TypeError(
            "missing values are not taken in data that are read batch by batch, or by OnlineEM. "
            "Fit the array as a whole by another method, or impute them first."
        )


def _checkpoint(path: Any, every: float | int, arguments: dict[str, Any]) -> Checkpoint | None:
    return None if path is None else Checkpoint(path, every, _describe_all(arguments))


def _identify(store: Checkpoint | None, **data: Any) -> None:
    """Adds to the fingerprint of a checkpoint what tells the data from others."""
    if store is not None:
        store.fingerprint |= _describe_all(data)


def _describe_all(arguments: dict[str, Any]) -> dict[str, str]:
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(arguments)):
        raise TypeError("fit writes no checkpoints inside of compiled functions: call it outside.")
    return {name: describe(own) for name, own in arguments.items()}


def _check_prior(model: Any, prior: Any) -> Any:
    if isinstance(prior, ConjugatePrior):
        model.check_single(prior.mean)
    elif prior not in (None, "default"):
        raise ValueError(f"a prior is 'default', a ConjugatePrior or None, got {prior!r}.")
    return prior


@compiled
def _standard_prior(
    model: Any, prior: Any, scaling: Scaling, xs: Any, shares: Array | None, like: Array
) -> ConjugatePrior | None:
    """The prior for standardised data, of the precision of a number."""
    if isinstance(prior, ConjugatePrior):
        given = as_arrays(prior.mean, like.dtype)
        natural = push_into(scaling, model, model.to_natural(given))
        prior = ConjugatePrior(model.to_mean(natural), prior.weight)
    elif prior is not None:
        prior = default_prior(model, xs, shares)
    return jax.tree.map(lambda leaf: jnp.asarray(leaf, like.dtype), prior)
