"""Online EM: a step for each of many small batches, in one pass over the data or several."""

import itertools
import math
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from harmonium.exponential_family.checks import all_finite, invalid_as_nan
from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.learning.batches import Batches, Block, read_blocks, to_devices
from harmonium.learning.engine import Run
from harmonium.learning.methods import Method, Result, Step
from harmonium.learning.problem import ConjugatePrior, Problem, make_problem, relative_prior
from harmonium.learning.scaling import standardize_data
from harmonium.learning.source import Prepared, Source
from harmonium.learning.streams import choose, is_going, progress_bar
from harmonium.learning.survey import Survey, refuse_outside

# Averages of points weigh the t-th in proportion to about t to this power.
FOCUS = 3.0


class OnlineState(NamedTuple):
    """What `OnlineEM` keeps.

    **Fields:**

    - `statistics`: a mean point, the running average of statistics.
    - `average`: a natural point, that of the points so far, the later ones weighing more.
    - `time`: $t$, how many minibatches there were.
    """

    statistics: Mean
    average: Natural
    time: Int[Array, ""]


class OnlineEM(Method):
    r"""Online EM: expected statistics are averaged over minibatches, with an M-step after each.

    Mathematically, $\hat\eta \leftarrow (1 - \gamma_t) \hat\eta + \gamma_t E[s | x_t]$ for the
    t-th minibatch, where $\gamma_t = (t + t_0)^{-\alpha}$. The average starts from the statistics
    of the point where the fit starts. These are inside the mean domain, and so is, as that is
    convex, every average: no M-step is degenerate, however small the minibatches.

    In `fit`, a step, as `max_steps` and `history` count them, is one pass over the data, or
    `interval` observations. The objective of a step is the average over its minibatches, each
    before anything was learnt from it, so that in the first pass it is one of held-out data.
    The result is the latest point. A fit has converged when the objectives of two passes differ
    by less than the tolerance.

    **Fields:**

    - `batch_size`: how many observations are in a minibatch.
    - `power`: $\alpha$, over 1/2 and at most 1. Small ones forget the start sooner.
    - `delay`: $t_0$, positive. Large ones make the first steps small.
    - `averaging`: whether to return an average of the points so far, of which the latest weigh
        most, in place of the last one.
    - `interval`: how many observations make a step; `None` for a whole pass.

    **Source:** Cappé and Moulines, On-line Expectation-Maximization Algorithm for Latent Data
    Models (2009); for averages that forget the start, Shamir and Zhang, Stochastic Gradient Descent
    for Non-smooth Optimization (2013), section 4.
    """

    batch_size: int = eqx.field(default=1000, static=True)
    power: float = 0.6
    delay: float = 10.0
    averaging: bool = eqx.field(default=True, static=True)
    interval: int | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if self.batch_size < 1 or (self.interval is not None and self.interval < 1):
            raise ValueError(
                "OnlineEM takes at least one observation for a minibatch, and for an interval, got "
                f"batch_size = {self.batch_size}, interval = {self.interval}."
            )
        if not (0.5 < self.power <= 1 and self.delay > 0):
            raise ValueError(
                "the steps of OnlineEM are (t + delay) ** -power, with power over 1/2 and at most "
                f"1, and a positive delay, got power = {self.power}, delay = {self.delay}."
            )

    @property
    def failure(self) -> Result:
        return Result.DEGENERATE

    def init(self, problem: Problem, params: Natural) -> OnlineState:
        return OnlineState(problem.model.to_mean(params), params, jnp.asarray(0))

    def propose(
        self, problem: Problem, params: Natural, state: Any, mean: Mean, value: Float[Array, ""]
    ) -> Step:
        count = state.time + 1
        time = count.astype(value.dtype)
        rate = (time + self.delay) ** -self.power
        statistics = state.statistics * (1 - rate) + mean * rate
        following = problem.model.improve(statistics, params)
        share = (FOCUS + 1) / (time + FOCUS)
        average = state.average * (1 - share) + following * share
        return Step(value, following, OnlineState(statistics, average, count))


class Learner(Source):
    """Takes the steps of online EM, over data that are read batch by batch.

    **Arguments:**

    - `family`: of the observations.
    - `batches`: the data.
    - `surveyed`: what is known of them, or of a sample.
    - `prepared`: what fitting starts from.
    - `method`: the `OnlineEM`.
    - `size`: how many observations are read at once, at most, if minibatches are not larger.
    - `seed`: of the order in which arrays are read.
    - `progress`: as `fit` takes it.
    """

    def __init__(
        self,
        family: Any,
        batches: Batches,
        surveyed: Survey,
        prepared: Prepared,
        method: OnlineEM,
        size: int,
        seed: int,
        progress: bool | None,
    ):
        super().__init__(prepared, size)
        self.family, self.batches, self.surveyed = family, batches, surveyed
        self.seed, self.progress = seed, progress
        self.minibatch, self.interval = method.batch_size, method.interval
        if self.interval is not None:
            size = min(size, self.interval)
        self.at_once = max(1, size // self.minibatch)
        self.known, self.seen, self.passes = batches.total, 0.0, 0
        self._blocks: Iterator[Block] | None = None
        self._n_read = 0  # blocks, of the pass under way

    @property
    def total(self) -> float:
        """The sum of all weights, or of those seen so far in the first pass."""
        return max(self.seen, 1.0) if self.known is None else self.known

    @property
    def position(self) -> tuple[float, float, int, int]:
        """Where in the data the next step begins."""
        known = -1.0 if self.known is None else float(self.known)
        return known, self.seen, self.passes, self._n_read

    def go_to(self, position: tuple[float, float, int, int]) -> None:
        """Goes on from a position; of the pass under way, what comes before is read again."""
        known, self.seen, self.passes, self._n_read = position
        self.known = None if known < 0 else known
        if self._n_read:
            self.passes -= 1  # which the pass counts when it begins
            self._blocks = self._pass()
            for _ in itertools.islice(self._blocks, self._n_read):
                pass

    def problem(
        self, model: Any, prior: ConjugatePrior | None
    ) -> tuple[Problem, Callable[..., Run]]:
        """See `Source.problem`; its prior counts observations, of which more and more are seen."""
        measure = self.surveyed.base_measure
        ceiling = jnp.asarray(self.prepared.ceiling, self.surveyed.dtype)
        return Problem(model, None, None, measure, prior, ceiling, self.minibatch), self.take_steps

    def take_steps(
        self,
        method: OnlineEM,
        problem: Problem,
        run: Run,
        until: Int[Array, ""],
        tolerance: Float[Array, ""],
    ) -> Run:
        """Steps from a batch of starts until that many were taken."""
        dtype = self.surveyed.dtype
        while bool(jnp.any(is_going(run, until))):
            learnt = _begin(run)
            for block in self._next_blocks():
                xs = to_devices(standardize_data(self.prepared.scaling, block.xs), dtype)
                weights = jnp.asarray(block.weights, dtype)
                total = jnp.asarray(self.total, dtype)
                # No block is read further ahead than the next, however slow learning is.
                jax.block_until_ready(learnt)
                refuse_outside(self.family, block, _inside(self.family, xs))
                learnt = _learn(method, problem, learnt, xs, weights, total)
            comparable = jnp.asarray(self.interval is None)
            run = _conclude(method, problem, run, learnt, until, tolerance, comparable)
        return run

    def _next_blocks(self) -> Iterator[Block]:
        """Those of the next step: the rest of a pass, or as many as an interval has."""
        observations = 0
        while True:
            if self._blocks is None:
                self._blocks = self._pass()
            block = next(self._blocks, None)
            self._n_read += 1
            if block is None:
                self._blocks, self._n_read = None, 0
                if self.known is None:
                    self.known = self.seen
                if self.interval is None:
                    return
                continue
            observations += block.length
            self.seen += float(block.weights.sum())
            yield block
            if self.interval is not None and observations >= self.interval:
                return

    def _pass(self) -> Iterator[Block]:
        """One pass over the data, arrays in random order."""
        self.passes += 1
        order = np.random.default_rng((self.seed, self.passes))
        size = self.minibatch * self.at_once
        blocks = read_blocks(self.family, self.batches, size, order, self.minibatch)
        empty = True
        for block in progress_bar(blocks, f"pass {self.passes}", self.progress):
            empty = False
            yield block
        if empty:
            raise ValueError(
                f"there are no observations any more in pass {self.passes}. The source has to "
                "return a fresh iterator over the data each time; for one pass let max_steps=1."
            )


class _Learnt(NamedTuple):
    """Where a step of one start is: `value` and `weight` are sums over its minibatches so far."""

    params: Natural
    state: OnlineState
    value: Array
    weight: Array
    sane: Bool[Array, ""]


@compiled
def _begin(run: Run) -> _Learnt:
    zero = jnp.zeros_like(run.value)
    return _Learnt(run.params, run.state, zero, zero, jnp.ones_like(run.value, bool))


@compiled
def _inside(family: Any, xs: Any) -> Bool[Array, " n"]:
    return jax.vmap(family.in_support)(xs)


@compiled
def _learn(
    method: OnlineEM, problem: Problem, learnt: _Learnt, xs: Any, weights: Array, total: Array
) -> _Learnt:
    """One block of minibatches after the other, from a batch of starts."""
    size = method.batch_size

    def cut(leaf: Array) -> Array:
        return leaf.reshape(-1, size, *leaf.shape[1:])

    def one(learnt: _Learnt) -> _Learnt:
        def body(learnt: _Learnt, minibatch: Any) -> tuple[_Learnt, None]:
            xs, weights = minibatch
            return _learn_minibatch(method, problem, learnt, xs, weights, total), None

        return jax.lax.scan(body, learnt, jax.tree.map(cut, (xs, weights)))[0]

    return jax.vmap(one)(learnt)


def _learn_minibatch(
    method: OnlineEM, problem: Problem, learnt: _Learnt, xs: Any, weights: Array, total: Array
) -> _Learnt:
    weight = jnp.sum(weights)
    counts = weight > 0
    shares = jnp.where(counts, weights / jnp.where(counts, weight, 1), 1 / len(weights))
    prior = relative_prior(problem.prior, total)
    with invalid_as_nan():
        own = make_problem(problem.model, xs, shares, prior, jnp.inf, len(weights))
        # Formulas of base measures may be in the default precision, whatever that of the data is.
        measure = own.base_measure.astype(weights.dtype)
        own = eqx.tree_at(lambda problem: problem.base_measure, own, measure)
        step = method.step(own, learnt.params, learnt.state)
    sane = jnp.isfinite(step.value) & (step.value < problem.ceiling) & all_finite(step.params)
    learnt_from = counts & sane & learnt.sane
    params, state = jax.tree.map(
        lambda new, old: jnp.where(learnt_from, new, old),
        (step.params, step.state),
        (learnt.params, learnt.state),
    )
    value = learnt.value + jnp.where(counts, weight * step.value, 0)
    return _Learnt(params, state, value, learnt.weight + weight, learnt.sane & (sane | ~counts))


@compiled
def _conclude(
    method: OnlineEM,
    problem: Problem,
    run: Run,
    learnt: _Learnt,
    until: Array,
    tolerance: Array,
    comparable: Bool[Array, ""],
) -> Run:
    """What a step led to, for a batch of starts that have not ended before."""

    def one(run: Run, learnt: _Learnt) -> Run:
        value = learnt.value / learnt.weight
        best = learnt.state.average if method.averaging else learnt.params
        if isinstance(problem.model, Conjugated) and problem.prior is None:
            with invalid_as_nan():
                best = problem.model.standardize(best)
        sane = learnt.sane & all_finite(best)
        best = jax.tree.map(lambda new, old: jnp.where(sane, new, old), best, run.best)
        value = jnp.where(sane, value, run.value)
        small = tolerance * jnp.maximum(1.0, jnp.abs(value))
        settled = comparable & (jnp.abs(value - run.value) <= small)
        n_steps = run.n_steps + 1
        code = jnp.where(n_steps == len(run.history), int(Result.COMPLETED), int(Result.RUNNING))
        code = jnp.where(settled, int(Result.CONVERGED), code)
        code = jnp.where(sane, code, int(method.failure))
        history = run.history.at[run.n_steps].set(value)
        return Run(learnt.params, learnt.state, best, value, history, n_steps, code)

    new = jax.vmap(one)(run, learnt)
    return choose(is_going(run, until), new, run)


def first_block(family: Any, batches: Batches, size: int, seed: int) -> Iterator[Block]:
    """What online EM looks at before it begins: the first observations, or some of arrays."""
    order = np.random.default_rng((seed, 0))
    run = max(1, math.isqrt(size))  # so that a file is read in few places, but not in one
    return itertools.islice(read_blocks(family, batches, size, order, run), 1)
