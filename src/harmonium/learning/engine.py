"""The loop of fitting: steps of a method in compiled chunks, until it has converged."""

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool, Float, Int
from tqdm import tqdm

from harmonium.exponential_family.checks import all_finite, invalid_as_nan
from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.point import Mean, Natural
from harmonium.learning.checkpoint import Checkpoint
from harmonium.learning.devices import everywhere, localized
from harmonium.learning.methods import Method, Result
from harmonium.learning.problem import Problem

# How long a chunk of steps is to take: progress is shown, and interrupts are seen, between them.
SECONDS_A_CHUNK = 0.3
FIRST_CHUNK = 4


class Run(eqx.Module):
    """Where a fit is, for one start or a batch of them.

    **Fields:**

    - `params`: natural, where the next step starts.
    - `state`: what the method keeps.
    - `best`: natural, the best point so far.
    - `value`: the objective there.
    - `history`: (max_steps,), the best objective after each step; NaN for steps not taken.
    - `n_steps`: how many were taken.
    - `code`: the value of a `Result`.
    """

    params: Natural
    state: Any
    best: Natural
    value: Float[Array, "..."]
    history: Float[Array, "*starts max_steps"]
    n_steps: Int[Array, "..."]
    code: Int[Array, "..."]


def begin(method: Method, problem: Problem, params: Natural, max_steps: int) -> Run:
    """A fit that has taken no step yet, from one start."""
    nothing = jnp.full_like(problem.base_measure, -jnp.inf)
    history = jnp.full(max_steps, jnp.nan, problem.base_measure.dtype)
    zero, code = jnp.asarray(0, int), jnp.asarray(int(Result.RUNNING), int)
    state = method.init(problem, params)
    return Run(params, state, params, nothing, history, zero, code)


def advance(
    method: Method, problem: Problem, run: Run, until: Int[Array, ""], tolerance: Float[Array, ""]
) -> Run:
    """Steps until that many were taken, or the fit has ended."""

    def is_going(run: Run) -> Bool[Array, ""]:
        return (run.n_steps < until) & (run.code == Result.RUNNING)

    return jax.lax.while_loop(is_going, lambda run: _step(method, problem, run, tolerance), run)


def _step(method: Method, problem: Problem, run: Run, tolerance: Float[Array, ""]) -> Run:
    with invalid_as_nan():
        mean, value = problem.expectation(run.params)
    return accept(method, problem, run, mean, value, tolerance)


def accept(
    method: Method,
    problem: Problem,
    run: Run,
    mean: Mean,
    value: Float[Array, ""],
    tolerance: Float[Array, ""],
) -> Run:
    """A step of one start, given the E-step at its point, and whether the fit ends with it."""
    with invalid_as_nan():
        step = method.propose(problem, run.params, run.state, mean, value)
    sane = jnp.isfinite(step.value) & (step.value < problem.ceiling)
    valid = sane & jnp.logical_not(step.rejected)
    better = valid & (step.value > run.value)
    best = jax.tree.map(lambda new, old: jnp.where(better, new, old), run.params, run.best)
    value = jnp.where(better, step.value, run.value)
    gain = jnp.abs(step.value - run.value)  # infinite in the first step
    settled = valid & (gain <= tolerance * jnp.maximum(1.0, jnp.abs(step.value)))
    failed = ~(sane | step.rejected)
    n_steps = run.n_steps + 1
    code = jnp.where(n_steps == len(run.history), int(Result.STEP_LIMIT), int(Result.RUNNING))
    code = jnp.where(settled, int(Result.CONVERGED), code)
    code = jnp.where(failed, int(method.failure), code)
    history = run.history.at[run.n_steps].set(value)
    # Of the same type as before, or the steps would be compiled again.
    code = code.astype(run.code.dtype)
    return Run(step.params, step.state, best, value, history, n_steps, code)


@compiled
def begin_all(method: Method, problem: Problem, starts: Natural, max_steps: int) -> Run:
    """`begin` for a batch of starts."""
    return jax.vmap(lambda start: begin(method, problem, start, max_steps))(starts)


@compiled
def advance_all(
    method: Method, problem: Problem, run: Run, until: Int[Array, ""], tolerance: Float[Array, ""]
) -> Run:
    """`advance` for a batch of starts.

    A single start takes its steps without an axis of length 1, with which XLA is slower.
    """

    def one(run: Run) -> Run:
        return advance(method, problem, run, until, tolerance)

    if len(run.n_steps) > 1:
        return jax.vmap(one)(run)
    return jax.tree.map(lambda leaf: leaf[None], one(jax.tree.map(lambda leaf: leaf[0], run)))


def run_fit(
    method: Method,
    problem: Problem,
    starts: Natural,
    max_steps: int,
    tolerance: float | int,
    progress: bool | None,
    report: Callable[[Run], str],
    take_steps: Callable[..., Run] = advance_all,
    one_by_one: bool = False,
    checkpoint: Checkpoint | None = None,
) -> Run:
    """Fits from a batch of starts, all at once.

    Inside of compiled functions it is one loop. Outside, it is interrupted now and then to show
    progress; an interrupt from the keyboard ends it, and what is best so far is returned.

    **Arguments:** as those of `fit`, but

    - `report`: called between chunks of steps, returns what the progress bar says.
    - `take_steps`: `advance` for a batch of starts.
    - `one_by_one`: whether to report after each step, for steps that take long.
    - `checkpoint`: from which the run goes on if there is one, and which is written now and then
        and at the end.
    """
    limit = jax.device_put(np.asarray(tolerance, problem.base_measure.dtype))
    run = begin_all(method, problem, starts, max_steps)
    leaves = jax.tree.leaves((problem, starts))
    if any(isinstance(leaf, Tracer) for leaf in leaves):
        return take_steps(method, problem, run, jax.device_put(np.asarray(max_steps)), limit)
    if checkpoint is not None:
        run = _resume(checkpoint, localized(run), limit)
    run = everywhere(problem.devices, run)
    n_steps, going = _progress(run)
    until = int(np.min(np.where(going, np.asarray(localized(run.n_steps)), max_steps)))
    disable, delay = (None, 1.0) if progress is None else (not progress, 0.0)
    settings: Any = {"total": max_steps, "initial": n_steps, "unit": "step"}
    with (
        tqdm(desc="fit", disable=disable, delay=delay, **settings) as bar,
        _interruptible(lambda: n_steps > 0),
    ):
        chunk = 1 if one_by_one else FIRST_CHUNK
        while until < max_steps and going.any():
            until = min(max_steps, until + chunk)
            started = time.perf_counter()
            run = take_steps(method, problem, run, jax.device_put(np.asarray(until)), limit)
            run = jax.block_until_ready(run)
            took = time.perf_counter() - started
            if problem.devices is not None:  # whose processes have to take the same steps
                took = problem.devices.largest(took)
            if not one_by_one and (chunk > FIRST_CHUNK or took < SECONDS_A_CHUNK):
                ratio = SECONDS_A_CHUNK / max(took, 1e-9)
                chunk = max(1, int(chunk * min(8, ratio)))
            n_steps, going = _progress(run)
            bar.set_postfix_str(report(localized(run)), refresh=False)
            bar.update(n_steps - bar.n)
            if checkpoint is not None and checkpoint.is_due:
                checkpoint.save(_state(localized(run), limit))
    run = localized(run)
    if checkpoint is not None:
        checkpoint.save(_state(run, limit))
    code = np.asarray(run.code)
    code = np.where(going, int(Result.INTERRUPTED), code).astype(code.dtype)
    return eqx.tree_at(lambda r: r.code, run, jax.device_put(code))


def _progress(run: Run) -> tuple[int, np.ndarray]:
    """How many steps were taken, and which starts go on."""
    code, n_steps = map(np.asarray, localized((run.code, run.n_steps)))
    return int(n_steps.max()), code == Result.RUNNING


def _state(run: Run, tolerance: Array) -> Any:
    """What a checkpoint holds; of the history, steps that were taken."""
    history = np.asarray(run.history)[:, : int(jnp.max(run.n_steps))]
    return eqx.tree_at(lambda r: r.history, run, history), tolerance


def _resume(checkpoint: Checkpoint, run: Run, tolerance: Array) -> Run:
    """The run of the checkpoint, or the one given, which has only begun and is written then.

    A run that ended goes on if now it may take more steps or has to converge more closely.
    """
    like = eqx.tree_at(lambda r: r.history, run, ...)
    found = checkpoint.load((like, tolerance))
    if found is None:
        checkpoint.save(_state(run, tolerance))
        return run
    run, before = found[0], run
    max_steps, taken = before.history.shape[1], run.history.shape[1]
    if taken > max_steps:
        raise ValueError(
            f"the run in {checkpoint.path} has taken {taken} steps, and max_steps is {max_steps}: "
            f"raise it, or pass another path."
        )
    history = before.history.at[:, :taken].set(run.history)
    may_converge_more = (run.code == Result.CONVERGED) & (tolerance < found[1])
    ran_out = (run.code == Result.STEP_LIMIT) | (run.code == Result.COMPLETED)
    reopened = may_converge_more | (ran_out & (run.n_steps < max_steps))
    code = jnp.where(reopened, int(Result.RUNNING), run.code)
    at_limit = (code == Result.RUNNING) & (run.n_steps >= max_steps)
    code = jnp.where(at_limit, int(Result.STEP_LIMIT), code)
    return eqx.tree_at(lambda r: (r.history, r.code), run, (history, code))


@contextlib.contextmanager
def _interruptible(has_begun: Callable[[], bool]) -> Iterator[None]:
    """Ends quietly at an interrupt from the keyboard, if there is anything to return."""
    try:
        yield
    except KeyboardInterrupt:
        if not has_begun():
            raise


def is_valid(run: Run) -> Bool[Array, "..."]:
    """Whether a start led anywhere: its best point has an objective and finite parameters."""
    finite = jax.vmap(all_finite)(run.best)
    return finite & jnp.isfinite(run.value)
