"""Methods of fitting: how parameters go from one step to the next."""

import enum
from abc import abstractmethod
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from harmonium.geometry.point import Mean, Natural, relabel
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.learning.problem import Problem


class Result(enum.IntEnum):
    """How a fit ended."""

    RUNNING = 0
    CONVERGED = 1
    STEP_LIMIT = 2
    DIVERGED = 3
    DEGENERATE = 4
    INTERRUPTED = 5
    COMPLETED = 6


class Step(NamedTuple):
    """What a step returns: the objective at the point it was given, and where to go next.

    `rejected` says that the point turned out to be worse than one before, to which `params` and
    `state` return.
    """

    value: Float[Array, ""]
    params: Natural
    state: Any
    rejected: Bool[Array, ""] | bool = False


class Method(eqx.Module):
    """A method of fitting, which proposes one point after the other.

    It needs of the data no more than the E-step at the present point, so that it does not matter
    where they are.
    """

    @property
    @abstractmethod
    def failure(self) -> Result:
        """What it means if the objective is not finite."""

    @abstractmethod
    def init(self, problem: Problem, params: Natural) -> Any:
        """What the method keeps from one step to the next."""

    @abstractmethod
    def propose(
        self, problem: Problem, params: Natural, state: Any, mean: Mean, value: Float[Array, ""]
    ) -> Step:
        """Proposes the next point, given what `problem.expectation` returns at this one."""

    def step(self, problem: Problem, params: Natural, state: Any) -> Step:
        """Evaluates the objective at a point, and proposes the next one."""
        return self.propose(problem, params, state, *problem.expectation(params))


class EM(Method):
    r"""Expectation maximization: never goes downhill, and needs no step size.

    For families without latents it is the maximum likelihood estimate itself. Where the M-step has
    no closed form, it is a few damped steps that don't go downhill, either.

    **Fields:**

    - `acceleration`: `None`, or `"squarem"`, which extrapolates pairs of steps. Extrapolated points
        that are not better than the one before are given up, so that it never goes downhill,
        either, and the next ones are less far away.

    **Source:** Dempster, Laird and Rubin (1977); Varadhan and Roland, Simple and Globally
    Convergent Methods for Accelerating the Convergence of Any EM Algorithm (2008), scheme S3.
    """

    acceleration: str | None = eqx.field(default=None, static=True)

    def __check_init__(self):
        if self.acceleration not in (None, "squarem"):
            raise ValueError(
                f"the acceleration of EM is None or 'squarem', got {self.acceleration!r}."
            )

    @property
    def failure(self) -> Result:
        return Result.DEGENERATE

    def init(self, problem: Problem, params: Natural) -> Any:
        if self.acceleration is None:
            return None
        untried = jnp.full_like(problem.base_measure, -jnp.inf)
        one, no = jnp.ones_like(untried), jnp.asarray(False)
        return _Squarem(params, params, untried, no, no, one * jnp.inf, one)

    def propose(
        self, problem: Problem, params: Natural, state: Any, mean: Mean, value: Float[Array, ""]
    ) -> Step:
        # Standardised latents change no likelihood, but a prior says what they are like.
        if isinstance(problem.model, Conjugated) and problem.prior is None:
            following = problem.model.maximization(mean, params)
        else:
            following = problem.model.improve(mean, params)
        if self.acceleration is None:
            return Step(value, following, None)
        return _extrapolate(params, following, value, state)


# By how much the limit to extrapolation grows when it is reached, and shrinks after a failure.
GROWTH = 4.0


class _Squarem(NamedTuple):
    """What to extrapolate from, and where to return if the result is worse.

    `first` is where the first of two steps started, if the second is `due`. `fallback` is where the
    two led that were extrapolated, if `tried`, by `length`, and `value` the objective that the
    result has to reach. `limit` is the largest length to try.
    """

    first: Natural
    fallback: Natural
    value: Float[Array, ""]
    due: Bool[Array, ""]
    tried: Bool[Array, ""]
    limit: Float[Array, ""]
    length: Float[Array, ""]


def _extrapolate(
    params: Natural, following: Natural, value: Float[Array, ""], state: _Squarem
) -> Step:
    r"""With $r = x_1 - x_0$ and $v = x_2 - x_1 - r$, tries $x_0 + 2 a r + a^2 v$, $a = |r|/|v|$.

    Where $a$ is 1, at least, that is $x_2$ itself. It is at most the limit, which adapts.
    """

    def choose(pick: Bool[Array, ""], yes: Any, no: Any) -> Any:
        return jax.tree.map(lambda a, b: jnp.where(pick, a, b), yes, no)

    rejected = state.tried & ~(value >= state.value)
    change = params - state.first
    curvature = following - params - change
    smallest = jnp.finfo(value.dtype).tiny
    length = jnp.sqrt(_square(change) / jnp.maximum(_square(curvature), smallest))
    limit = jnp.where(rejected, jnp.maximum(state.length / GROWTH, 1.0), state.limit)
    reaches = state.due & ~rejected & (length >= limit)
    length = jnp.clip(length, 1.0, limit)
    trial = state.first + change * (2 * length) + curvature * length**2
    extrapolates = state.due & ~rejected & (length > 1.0)
    onward = choose(rejected, state.fallback, following)
    return Step(
        value,
        choose(extrapolates, trial, onward),
        _Squarem(
            params,
            choose(extrapolates, following, state.fallback),
            jnp.where(rejected, -jnp.inf, value),
            ~state.due & ~rejected,
            extrapolates | (state.tried & ~state.due & ~rejected),
            jnp.where(reaches, GROWTH * limit, limit),
            jnp.where(extrapolates, length, state.length),
        ),
        rejected,
    )


def _square(point: Natural) -> Array:
    return jnp.stack([jnp.sum(leaf**2) for leaf in jax.tree.leaves(point)]).sum()


class Gradient(Method):
    """Gradient ascent on the exact log-likelihood, in natural coordinates, by an optax optimiser.

    **Fields:**

    - `optimiser`: as `optax.adam(1e-2)` or `optax.lbfgs()`. Pass the same object to fits that are
        to be compiled once.
    """

    optimiser: Any

    def __check_init__(self):
        if not (hasattr(self.optimiser, "init") and hasattr(self.optimiser, "update")):
            raise TypeError(
                "Gradient takes an optimiser of optax, as optax.adam(1e-2), got "
                f"{self.optimiser!r}."
            )

    @property
    def failure(self) -> Result:
        return Result.DIVERGED

    def init(self, problem: Problem, params: Natural) -> Any:
        initial: Any = params
        return self.optimiser.init(initial)

    def propose(
        self, problem: Problem, params: Natural, state: Any, mean: Mean, value: Float[Array, ""]
    ) -> Step:
        gradient = relabel(problem.gradient(params, mean))
        following, state = _updated(self.optimiser, problem, params, state, gradient, value)
        return Step(value, following, state)


def _updated(
    optimiser: Any, problem: Problem, params: Natural, state: Any, gradient: Natural, value: Array
) -> tuple[Natural, Any]:
    """Where an optimiser goes from here, and what it keeps."""
    import optax  # only here, as importing it takes long

    downhill = gradient * -1.0
    update: Any = optax.with_extra_args_support(optimiser).update
    updates, state = update(
        downhill,
        state,
        params,
        value=-value,
        grad=downhill,
        value_fn=lambda other: -problem.objective(other),
    )
    following: Any = optax.apply_updates(params, updates)  # pyright: ignore[reportArgumentType]
    return following, state


class NaturalGradient(Method):
    r"""Natural gradient ascent: steps along the gradient, taken in mean coordinates.

    Mathematically, $\eta \leftarrow \eta + r \nabla_\theta L$, since the natural gradient, $F^{-1}
    \nabla_\theta L$ in natural coordinates, is $\nabla_\theta L$ in mean coordinates: no matrix is
    inverted. A step of length 1 is a step of EM; shorter ones are steps of damped EM, which stay in
    the mean domain.

    **Fields:**

    - `learning_rate`: $r$, over 0 and at most 1.

    **Source:** Amari, Natural Gradient Works Efficiently in Learning (1998).
    """

    learning_rate: float = 1.0

    def __check_init__(self):
        if not 0 < self.learning_rate <= 1:
            raise ValueError(
                "the learning rate of the natural gradient is over 0 and at most 1, which is a "
                f"step of EM, got {self.learning_rate}."
            )

    @property
    def failure(self) -> Result:
        return Result.DEGENERATE

    def init(self, problem: Problem, params: Natural) -> Any:
        return None

    def propose(
        self, problem: Problem, params: Natural, state: Any, mean: Mean, value: Float[Array, ""]
    ) -> Step:
        rate = self.learning_rate
        target = problem.model.to_mean(params) * (1 - rate) + mean * rate
        return Step(value, problem.model.improve(target, params), state)
