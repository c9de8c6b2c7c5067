"""Cholesky factors of symmetric matrices, quick for many small ones at once.

LAPACK is called matrix by matrix, which costs more than the arithmetic if these are small. Batches
of small matrices, as where each observation has a precision of its own, are factorised here entry
by entry, all matrices at once.
"""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

SMALL = 8


def cholesky(matrix: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The lower Cholesky factor; NaN where the matrix is not positive definite."""
    return _factor(0.5 * (matrix + matrix.T))


def inverse_from_factor(factor: Float[Array, "n n"]) -> Float[Array, "n n"]:
    """The inverse of the matrix with this lower Cholesky factor."""
    return _inverse(factor)


def _batching(entrywise: Callable[[list[list[Any]]], list[list[Any]]]) -> Callable:
    """Gives a function of one matrix a special version for batches of small matrices.

    **Arguments:**

    - `entrywise`: takes and returns the entries of a matrix, in rows.
    """

    def decorate(function: Callable) -> Callable:
        batched = jax.custom_batching.custom_vmap(function)

        @batched.def_vmap
        def _(axis_size: int, in_batched: list[bool], matrices: Array) -> tuple[Array, bool]:
            n = matrices.shape[-1]
            if n > SMALL:
                return jax.vmap(function)(matrices), True
            entries = [[matrices[:, i, j] for j in range(n)] for i in range(n)]
            rows = [jnp.stack(row, axis=1) for row in entrywise(entries)]
            return jnp.stack(rows, axis=1), True

        return batched

    return decorate


def _factor_entries(a: list[list[Any]]) -> list[list[Any]]:
    n = len(a)
    lower = [[jnp.zeros_like(a[0][0])] * n for _ in range(n)]
    for j in range(n):
        lower[j][j] = jnp.sqrt(a[j][j] - sum(lower[j][k] ** 2 for k in range(j)))
        for i in range(j + 1, n):
            rest = a[i][j] - sum(lower[i][k] * lower[j][k] for k in range(j))
            lower[i][j] = rest / lower[j][j]
    return lower


def _inverse_entries(lower: list[list[Any]]) -> list[list[Any]]:
    n = len(lower)
    left = [[jnp.zeros_like(lower[0][0])] * n for _ in range(n)]  # the inverse of the factor
    for j in range(n):
        left[j][j] = 1 / lower[j][j]
        for i in range(j + 1, n):
            left[i][j] = -sum(lower[i][k] * left[k][j] for k in range(j, i)) / lower[i][i]
    return [
        [sum(left[k][i] * left[k][j] for k in range(max(i, j), n)) for j in range(n)]
        for i in range(n)
    ]


@_batching(_factor_entries)
def _plain_factor(matrix: Array) -> Array:
    return jnp.linalg.cholesky(matrix, symmetrize_input=False)


@_batching(_inverse_entries)
def _plain_inverse(factor: Array) -> Array:
    return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(len(factor), dtype=factor.dtype))


@jax.custom_jvp
def _factor(matrix: Array) -> Array:
    return _plain_factor(matrix)


@_factor.defjvp
def _(primals: Any, tangents: Any) -> Any:
    r"""$dL = L\, \Phi(L^{-1} dP L^{-T})$, where $\Phi$ keeps the lower half of a matrix."""
    (matrix,), (tangent,) = primals, tangents
    factor = _factor(matrix)
    left = jax.scipy.linalg.solve_triangular(factor, tangent, lower=True)
    both = jax.scipy.linalg.solve_triangular(factor, left.T, lower=True)
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
