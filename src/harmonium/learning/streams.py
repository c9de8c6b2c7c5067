"""Fitting to data that are read batch by batch: each step is one pass over them."""

from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from harmonium.exponential_family.checks import check_weights, invalid_as_nan
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import compiled
from harmonium.exponential_family.evidence import sum_statistics
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.learning.batches import Batches, Block, read_blocks, to_devices
from harmonium.learning.engine import Run, accept, advance_all
from harmonium.learning.labels import without_labels
from harmonium.learning.methods import Method, Result
from harmonium.learning.moments import Moments, representatives, scaling_of
from harmonium.learning.problem import ConjugatePrior, Problem, make_problem, relative_prior
from harmonium.learning.scaling import as_arrays, density_ceiling, log_volumes, standardize_data
from harmonium.learning.source import Prepared, Source
from harmonium.learning.survey import Survey


def prepare(model: Any, surveyed: Survey, scale: bool) -> Prepared:
    """What a fit starts from, given what one pass over the data has found."""
    family, moments, dtype = model.data_man, surveyed.moments, surveyed.dtype
    scaling = without_labels(model, scaling_of(family, moments)) if scale else None
    xs = to_devices(standardize_data(scaling, surveyed.sample), dtype)
    typical = representatives(family, moments, scaling, xs, dtype)
    one = jax.tree.map(lambda leaf: leaf[:1], xs)
    volume = jnp.sum(jnp.asarray(log_volumes(scaling, None, one), dtype))
    ceiling = density_ceiling(scaling, xs, dtype)
    weights = surveyed.sample_weights
    weights = weights if weights.any() else None  # those of a sample may all be zero
    sample = xs, check_weights(weights, batch_length(xs), dtype)
    scaling = as_arrays(scaling, dtype)
    return Prepared(scaling, sample, (typical, None), volume, ceiling, surveyed.total, dtype)


def progress_bar(blocks: Iterator[Block], what: str, progress: bool | None) -> Iterator[Block]:
    """Blocks as they are, with a bar for long passes that vanishes at their end."""
    disable, delay = (None, 1.0) if progress is None else (not progress, 0.0)
    return iter(tqdm(blocks, desc=what, unit="block", leave=False, disable=disable, delay=delay))


class Stream(Source):
    """Data that are read once a step.

    **Arguments:**

    - `family`: of the observations.
    - `batches`: the data.
    - `surveyed`: what is known of them.
    - `prepared`: what fitting starts from.
    - `size`: how many observations are processed at once.
    - `progress`: as `fit` takes it.
    """

    def __init__(
        self,
        family: Any,
        batches: Batches,
        surveyed: Survey,
        prepared: Prepared,
        size: int,
        progress: bool | None,
    ):
        super().__init__(prepared, min(size, surveyed.length))
        self.family, self.batches, self.surveyed = family, batches, surveyed
        self.progress = progress

    def blocks(self, what: str) -> Iterator[tuple[Any, Array, Array]]:
        """Standardised observations, weights that sum to one, and their share of all weights.

        **Raises:** `ValueError` if these are not as many observations as there were before.
        """
        seen, dtype = 0, self.surveyed.dtype
        blocks = read_blocks(self.family, self.batches, self.size)
        for block in progress_bar(blocks, what, self.progress):
            seen += block.length
            weight = block.weights.sum()
            if weight > 0:
                xs = to_devices(standardize_data(self.prepared.scaling, block.xs), dtype)
                share = jnp.asarray(weight / self.surveyed.total, dtype)
                yield xs, jnp.asarray(block.weights / weight, dtype), share
        if seen != self.surveyed.length:
            raise ValueError(
                f"fitting reads the data again and again: there were {self.surveyed.length} "
                f"observations at first, and now {seen}. The source has to return a fresh iterator "
                "over the same data each time."
            )

    def average_statistic(self) -> Mean:
        """The average sufficient statistic, of a family without latents."""
        total: Any = None
        for xs, weights, share in self.blocks("statistics"):
            total = _add(total, _statistic(self.family, xs, weights * share))
        return total

    def problem(
        self, model: Any, prior: ConjugatePrior | None
    ) -> tuple[Problem, Callable[..., Run]]:
        """See `Source.problem`.

        Steps read the data no more where the moments of the data, or the average statistic of a
        family without latents, are all that matters.
        """
        moments, dtype = self.surveyed.moments, self.surveyed.dtype
        whole = isinstance(moments, Moments) and moments.scatter.ndim == 2
        prior = relative_prior(prior, self.total)
        measure, ceiling = self.surveyed.base_measure, self.prepared.ceiling
        if isinstance(model, Conjugated) and model.is_jointly_gaussian and whole:
            rows, _ = self.prepared.typical
            weights = jnp.full(len(rows), 1 / len(rows), dtype)
            return make_problem(model, rows, weights, prior, ceiling, self.size), advance_all
        ceiling = jnp.asarray(ceiling, dtype)
        if isinstance(model, Conjugated):
            return Problem(model, None, None, measure, prior, ceiling, self.size), self.take_steps
        mean = self.average_statistic()
        return Problem(model, mean, None, measure, prior, ceiling, self.size), advance_all

    def take_steps(
        self,
        method: Method,
        problem: Problem,
        run: Run,
        until: Int[Array, ""],
        tolerance: Float[Array, ""],
    ) -> Run:
        """Steps from a batch of starts until that many were taken, one pass for each."""
        while bool(jnp.any(is_going(run, until))):
            mean, value = self.expectation(
                problem, run.params, f"pass {int(run.n_steps.max()) + 1}"
            )
            run = _accept(method, problem, run, mean, value, until, tolerance)
        return run

    def expectation(
        self, problem: Problem, params: Natural, what: str
    ) -> tuple[Mean, Float[Array, " starts"]]:
        """The E-step of a batch of points: a sum over blocks.

        While one block is processed the next is read, and no more than that, so that memory is
        bounded however slow the processing is.
        """
        total: Any = None
        before: Any = None
        for xs, weights, share in self.blocks(what):
            jax.block_until_ready(before)
            before = total
            total = _add(total, _expectation(problem, params, xs, weights, share))
        mean, value = total
        return _complete(problem, params, mean, value)


def is_going(run: Run, until: Int[Array, ""]) -> Bool[Array, "..."]:
    """Which starts have not ended before so many steps."""
    return (run.code == int(Result.RUNNING)) & (run.n_steps < until)


def choose(going: Bool[Array, " starts"], new: Any, old: Any) -> Any:
    """The new of two batches of pytrees for some starts, the old one for others."""

    def pick(a: Array, b: Array) -> Array:
        return jnp.where(going.reshape(-1, *(1,) * (a.ndim - 1)), a, b)

    return jax.tree.map(pick, new, old)


@compiled
def _expectation(
    problem: Problem, params: Natural, xs: Any, weights: Array, share: Array
) -> tuple[Mean, Array]:
    def one(point: Natural) -> tuple[Mean, Array]:
        return problem.model.expectation(point, xs, weights, problem.batch_size)

    with invalid_as_nan():
        averages = jax.vmap(one)(params)
    return jax.tree.map(lambda leaf: leaf * share, averages)


@compiled
def _statistic(family: Any, xs: Any, weights: Array) -> Mean:
    return sum_statistics(family, xs, weights)


@compiled
def _add(total: Any, own: Any) -> Any:
    return own if total is None else jax.tree.map(jnp.add, total, own)


@compiled
def _complete(problem: Problem, params: Natural, mean: Mean, value: Array) -> tuple[Mean, Array]:
    return jax.vmap(problem.complete)(params, mean, value)


@compiled
def _accept(
    method: Method,
    problem: Problem,
    run: Run,
    mean: Mean,
    value: Array,
    until: Array,
    tolerance: Array,
) -> Run:
    new = jax.vmap(lambda r, m, v: accept(method, problem, r, m, v, tolerance))(run, mean, value)
    return choose(is_going(run, until), new, run)
