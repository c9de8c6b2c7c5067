"""Cholesky factors and triangular solves, for one matrix and for many at once.

LAPACK is called matrix by matrix, which costs more than the arithmetic if these are small, and
jaxlib 0.10 can wait for itself forever where one program makes several calls for whole batches.
Many small matrices, as where each observation has a precision of its own, are worked on here entry
by entry, all matrices at once. That is a long program, so a few of them, as of the components of a
mixture, are worked on matrix by matrix in a loop, like large ones.
"""

import math
from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALL = 8  # rows and columns, at most
MANY = 64  # matrices, at least


def cholesky(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The lower Cholesky factor; NaN where the matrix is not positive definite."""
    return _factor(0.5 * (matrix + matrix.T))


def inverse_from_factor(factor: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of the matrix with this lower Cholesky factor."""
    return _inverse(factor)


def solve_lower(factor: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """The solution `X` of `L X = right` for a lower triangular `L`."""
    return jax.lax.custom_linear_solve(
        lambda x: jnp.tril(factor) @ x,
        right,
        lambda _, right: _solve(factor, right),
        lambda _, right: _solve_transposed(factor, right),
    )


def solve_upper(factor: Float[Array, "n n"], right: Float[Array, "n m"]) -> Float[Array, "n m"]:
    """The solution `X` of `L^T X = right` for a lower triangular `L`."""
    return jax.lax.custom_linear_solve(
        lambda x: jnp.tril(factor).T @ x,
        right,
        lambda _, right: _solve_transposed(factor, right),
        lambda _, right: _solve(factor, right),
    )


@jax.custom_jvp
def inverse_and_log_determinant(
    matrix: Float[Array, "n n"],
) -> tuple[Float[Array, "n n"], Float[Array, ""]]:
    """The inverse and the log determinant of a positive definite matrix, by one factorisation.

    NaN where the matrix is not positive definite.
    """
    factor = cholesky(matrix)
    return _inverse(factor), 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))


@inverse_and_log_determinant.defjvp
def _(primals: Any, tangents: Any) -> Any:
    r"""$dP^{-1} = -P^{-1} dP P^{-1}$ and $d \log |P| = P^{-1} \cdot dP$.

    The tangent is symmetrised, as the factorisation sees it: second derivatives need that.
    """
    (matrix,), (tangent,) = primals, tangents
    inverse, log_determinant = inverse_and_log_determinant(matrix)
    change = 0.5 * (tangent + tangent.T)
    return (inverse, log_determinant), (-inverse @ change @ inverse, jnp.sum(inverse * change))


def solve_positive_definite(
    matrix: Float[Array, "n n"], right: Float[Array, " n"]
) -> Float[Array, " n"]:
    """The solution of `P x = right`; NaN where the matrix is not positive definite."""
    factor = cholesky(matrix)
    return solve_upper(factor, solve_lower(factor, right[:, None]))[:, 0]


def _batching(entrywise: Callable) -> Callable:
    """Gives a function of a matrix, and perhaps of a right-hand side, versions for batches.

    **Arguments:**

    - `entrywise`: takes the entries of the matrices, in rows, and the right-hand sides row by row,
        and returns rows; all of them have a leading batch axis.
    """

    def decorate(function: Callable) -> Callable:
        @jax.custom_batching.custom_vmap
        def several(*arrays: Array) -> Array:
            """The function, of arrays with one batch axis or none."""
            *count, n, _ = arrays[0].shape
            if not count:
                return function(*arrays)
            if n > SMALL or count[0] < MANY:
                return jax.lax.map(lambda one: function(*one), arrays)
            entries = [[arrays[0][:, i, j] for j in range(n)] for i in range(n)]
            rows = [[array[:, i] for i in range(n)] for array in arrays[1:]]
            return jnp.stack(entrywise(entries, *rows), axis=1)

        @several.def_vmap
        def _(axis_size: int, in_batched: list[bool], *arrays: Array) -> tuple[Array, bool]:
            if not in_batched[0]:  # many right-hand sides of one matrix are columns of one
                right = jnp.moveaxis(arrays[1], 0, -2)
                columns = right.reshape(*right.shape[:-2], axis_size * right.shape[-1])
                solution = several(arrays[0], columns).reshape(right.shape)
                return jnp.moveaxis(solution, -2, 0), True
            full = [
                array if is_batched else jnp.broadcast_to(array, (axis_size, *array.shape))
                for array, is_batched in zip(arrays, in_batched, strict=True)
            ]
            batch = full[0].shape[:-2]
            flat = several(*(a.reshape(math.prod(batch), *a.shape[-2:]) for a in full))
            return flat.reshape(*batch, *flat.shape[-2:]), True

        return several

    return decorate


def _factor_entries(a: list[list[Any]]) -> list[Array]:
    n = len(a)
    lower = [[jnp.zeros_like(a[0][0])] * n for _ in range(n)]
    for j in range(n):
        lower[j][j] = jnp.sqrt(a[j][j] - sum(lower[j][k] ** 2 for k in range(j)))
        for i in range(j + 1, n):
            rest = a[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = rest / lower[j][j]
    return [jnp.stack(row, axis=1) for row in lower]


def _inverse_entries(lower: list[list[Any]]) -> list[Array]:
    n = len(lower)
    left = [[jnp.zeros_like(lower[0][0])] * n for _ in range(n)]  # the inverse of the factor
    for j in range(n):
        left[j][j] = 1 / lower[j][j]
        for i in range(j + 1, n):
            left[i][j] = -sum(lower[i][k] * left[k][j] for k in range(j, i)) / lower[i][i]

    def entry(i: int, j: int) -> Any:
        return sum(left[k][i] * left[k][j] for k in range(max(i, j), n))

    return [jnp.stack([entry(i, j) for j in range(n)], axis=1) for i in range(n)]


def _solve_entries(lower: list[list[Any]], right: list[Any]) -> list[Array]:
    solution: list[Any] = []
    for i, row in enumerate(lower):
        known = sum(row[k][:, None] * solution[k] for k in range(i))
        solution.append((right[i] - known) / row[i][:, None])
    return solution


def _solve_transposed_entries(lower: list[list[Any]], right: list[Any]) -> list[Array]:
    """The same from the last row to the first, with the roles of rows and columns exchanged."""
    n = len(lower)
    mirrored = [[lower[n - 1 - j][n - 1 - i] for j in range(n)] for i in range(n)]
    return _solve_entries(mirrored, right[::-1])[::-1]


@_batching(_factor_entries)
def _plain_factor(matrix: Array) -> Array:
    return jnp.linalg.cholesky(matrix, symmetrize_input=False)


@_batching(_inverse_entries)
def _plain_inverse(factor: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(factor), dtype=factor.dtype))


@_batching(_solve_entries)
def _solve(factor: Array, right: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(factor, right, lower=True)


@_batching(_solve_transposed_entries)
def _solve_transposed(factor: Array, right: Array) -> Array:
    return jax.scipy.linalg.solve_triangular(factor, right, lower=True, trans=1)


# Derivatives are written down, as functions with versions for batches have none of their own.


@jax.custom_jvp
def _factor(matrix: Array) -> Array:
    return _plain_factor(matrix)


@_factor.defjvp
def _(primals: Any, tangents: Any) -> Any:
    r"""$dL = L\, \Phi(L^{-1} dP L^{-T})$, where $\Phi$ keeps the lower half of a matrix."""
    (matrix,), (tangent,) = primals, tangents
    factor = _factor(matrix)
    both = solve_lower(factor, solve_lower(factor, tangent).T)
    lower = jnp.tril(both) - 0.5 * jnp.diag(jnp.diagonal(both))
    return factor, factor @ lower


@jax.custom_jvp
def _inverse(factor: Array) -> Array:
    return _plain_inverse(factor)


@_inverse.defjvp
def _(primals: Any, tangents: Any) -> Any:
    r"""$dP^{-1} = -P^{-1} (dL\, L^T + L\, dL^T) P^{-1}$."""
    (factor,), (tangent,) = primals, tangents
    inverse = _inverse(factor)
    change = tangent @ factor.T
    return inverse, -inverse @ (change + change.T) @ inverse
