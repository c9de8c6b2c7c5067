"""Legendre duality between natural and mean parameters, and the Fisher metric."""

import functools
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from harmonium.exponential_family.checks import require
from harmonium.exponential_family.evidence import value_and_mean
from harmonium.geometry.cholesky import solve_positive_definite
from harmonium.geometry.point import Coordinates, Mean, Natural

MAX_STEPS = 200
MAX_HALVINGS = 40
NEWTON_DIM = 100


class _Iterate(eqx.Module):
    vector: Float[Array, " d"]
    objective: Float[Array, ""]
    residual: Float[Array, " d"]
    decrement: Float[Array, ""]
    steps: Int[Array, ""]
    stalled: Bool[Array, ""]


def solve_dual(family: Any, mean: Mean, start: Natural | None = None) -> Natural:
    r"""The natural point with the given mean, found numerically.

    Mathematically, $\theta = \arg\min_\theta \psi(\theta) - \theta \cdot \eta$, a convex problem
    whose gradient is $\nabla\psi(\theta) - \eta$ and whose Hessian is the Fisher information. It
    is solved in minimal coordinates by Newton's method, damped so that each step stays inside the
    natural domain and descends; beyond `NEWTON_DIM` coordinates the Newton systems are solved
    by conjugate gradients, from Fisher products only. Derivatives are implicit: those of the root
    of $\nabla\psi(\theta) = \eta$, not of the iterations.

    **Arguments:**

    - `family`: a differentiable exponential family.
    - `mean`: a mean point in its mean domain.
    - `start`: a natural point in its natural domain, by default `family.natural_start(mean)`.

    **Raises:** an error if the residual is not small after `MAX_STEPS` steps: the mean point is
    then most likely outside the mean domain, or on its boundary.

    **Source:** Boyd and Vandenberghe, Convex Optimization (2004), sections 9.5 and 9.6.
    """
    origin: Any = family.natural_start(mean) if start is None else start
    target = family.ravel(mean)
    final = _descend(
        family, jax.lax.stop_gradient(target), jax.lax.stop_gradient(origin), MAX_STEPS
    )
    root = require(
        final.vector,
        _is_solution(final, target),
        f"to_natural of {family} did not converge: the mean point seems to be outside the mean "
        "domain or on its boundary (a singular covariance, a probability of 0). Mix it with the "
        "mean of a valid point, as pseudo-observations do.",
    )
    root = _attach_derivatives(family, jax.lax.stop_gradient(root), target)
    return family.unravel(root, Coordinates.NATURAL)


def has_solution(family: Any, mean: Mean) -> Bool[Array, ""]:
    """Whether `solve_dual` finds the natural point with this mean."""
    target = family.ravel(mean)
    return _is_solution(_descend(family, target, family.natural_start(mean), MAX_STEPS), target)


def improve_dual(family: Any, mean: Mean, start: Natural, n_steps: int = 3) -> Natural:
    r"""A natural point with a larger $\theta \cdot \eta - \psi(\theta)$ than the start's.

    A few of the steps of `solve_dual`, none of which goes downhill: the M-step of generalised EM.
    """
    final = _descend(family, family.ravel(mean), start, n_steps)
    return family.unravel(final.vector, Coordinates.NATURAL)


def _tolerance(dtype: Any) -> float:
    return float(jnp.finfo(dtype).eps) ** 0.6


def _is_solution(final: _Iterate, target: Float[Array, " d"]) -> Bool[Array, ""]:
    small = jnp.abs(final.residual) <= jnp.finfo(target.dtype).eps ** 0.5 * (1 + jnp.abs(target))
    converged = final.decrement <= _tolerance(target.dtype)
    return jnp.all(jnp.isfinite(final.residual)) & (converged | jnp.all(small))


def _evaluate(
    family: Any, vector: Float[Array, " d"], target: Float[Array, " d"]
) -> tuple[Float[Array, ""], Float[Array, " d"], Bool[Array, ""]]:
    point = family.unravel(vector, Coordinates.NATURAL)
    log_partition, mean = value_and_mean(family.log_partition_function, point)
    objective, residual = log_partition - vector @ target, family.ravel(mean) - target
    finite = jnp.isfinite(objective) & jnp.all(jnp.isfinite(residual))
    return objective, residual, finite & family.admits(point)


# Compiled once a family, so that users who don't compile their code wait for it once, too.
@functools.partial(jax.jit, static_argnums=(0, 3))
def _descend(family: Any, target: Float[Array, " d"], start: Natural, max_steps: int) -> _Iterate:
    vector = family.ravel(start)
    dtype = vector.dtype
    slack = 10 * float(jnp.finfo(dtype).eps)
    objective, residual, _ = _evaluate(family, vector, target)
    first = _Iterate(
        vector, objective, residual, jnp.asarray(jnp.inf, dtype), jnp.asarray(0), jnp.asarray(False)
    )

    def unfinished(state: _Iterate) -> Bool[Array, ""]:
        going = (state.steps < max_steps) & ~state.stalled
        return going & (state.decrement > _tolerance(dtype))

    def step(state: _Iterate) -> _Iterate:
        direction = _newton_direction(family, state.vector, state.residual)
        slope = state.residual @ direction
        # The rounding of the two terms, whose difference may be much smaller than they are.
        terms = jnp.abs(state.vector) @ jnp.abs(target)
        floor = slack * (1 + jnp.abs(state.objective) + terms)

        def rejected(trial: tuple) -> Bool[Array, ""]:
            rate, halvings, objective, _, valid = trial
            descends = objective <= state.objective + 1e-4 * rate * slope + floor
            return ~(valid & descends) & (halvings < MAX_HALVINGS)

        def attempt(rate: Array, halvings: Array) -> tuple:
            return rate, halvings, *_evaluate(family, state.vector + rate * direction, target)

        untried = jnp.asarray(2.0, dtype), jnp.asarray(-1), state.objective, state.residual
        trial = (*untried, jnp.asarray(False))
        trial = jax.lax.while_loop(rejected, lambda t: attempt(t[0] / 2, t[1] + 1), trial)
        rate, _, objective, residual, _ = trial
        stalled = rejected((rate, jnp.asarray(0), *trial[2:]))
        moved = _Iterate(
            state.vector + rate * direction,
            objective,
            residual,
            jnp.sqrt(jnp.maximum(-slope, 0)) + 0 * rate,
            state.steps + 1,
            stalled,
        )
        kept = eqx.tree_at(lambda s: (s.steps, s.stalled), state, (state.steps + 1, stalled))
        return jax.tree.map(lambda new, old: jnp.where(stalled, old, new), moved, kept)

    return jax.lax.while_loop(unfinished, step, first)


def _residual_function(family: Any) -> Callable[[Array, Array], Array]:
    def residual(vector: Array, target: Array) -> Array:
        point = family.unravel(vector, Coordinates.NATURAL)
        return family.ravel(family.to_mean(point)) - target

    return residual


def _newton_direction(
    family: Any, vector: Float[Array, " d"], residual: Float[Array, " d"]
) -> Float[Array, " d"]:
    function = _residual_function(family)
    if family.dim > NEWTON_DIM:
        _, fisher = jax.linearize(lambda v: function(v, residual), vector)
        settings = {"max_steps": 100, "stabilise_every": None}
        return -_conjugate_gradients(fisher, residual, 1e-3, 0.0, throw=False, **settings)
    matrix = jax.jacfwd(function)(vector, residual)
    scale = 1 / jnp.sqrt(jnp.diagonal(matrix))
    ridge = 10 * jnp.finfo(vector.dtype).eps * jnp.eye(family.dim, dtype=vector.dtype)
    scaled = matrix * scale[:, None] * scale[None, :] + ridge
    newton = -scale * solve_positive_definite(scaled, scale * residual)
    return jnp.where(jnp.all(jnp.isfinite(newton)), newton, -residual)


def _conjugate_gradients(
    product: Callable[[Array], Array],
    right: Float[Array, " d"],
    rtol: float,
    atol: float,
    throw: bool = True,
    **settings: Any,
) -> Float[Array, " d"]:
    """The solution of a positive definite system that is known by its products with vectors."""
    import lineax as lx  # only here, as importing it takes long

    operator = lx.FunctionLinearOperator(product, right, lx.positive_semidefinite_tag)
    return lx.linear_solve(operator, right, lx.CG(rtol, atol, **settings), throw=throw).value


def _attach_derivatives(
    family: Any, root: Float[Array, " d"], target: Float[Array, " d"]
) -> Float[Array, " d"]:
    """The root itself, with the derivatives of the implicit function of the target."""
    tolerance = _tolerance(root.dtype)

    def solve_tangent(fisher: Callable[[Array], Array], right: Array) -> Array:
        if family.dim <= NEWTON_DIM:
            matrix = jax.vmap(fisher)(jnp.eye(family.dim, dtype=right.dtype))
            return solve_positive_definite(matrix, right)
        return _conjugate_gradients(fisher, right, tolerance, tolerance)

    function = _residual_function(family)
    return jax.lax.custom_root(
        lambda vector: function(vector, target), root, lambda _, start: start, solve_tangent
    )


def fisher_product(family: Any, point: Natural, tangent: Natural) -> Mean:
    r"""The Fisher metric applied to a tangent, $\nabla^2\psi(\theta) v$, as a mean point."""
    family.check_single(point)
    family.check_single(tangent)
    _, product = jax.jvp(family.to_mean, (point,), (tangent,))
    return product


def fisher_matrix(family: Any, point: Natural) -> Float[Array, "d d"]:
    r"""The Fisher information $\nabla^2\psi(\theta)$ in minimal natural coordinates."""
    family.check_single(point)
    vector = family.ravel(point)
    return jax.jacfwd(_residual_function(family))(vector, jnp.zeros_like(vector))
