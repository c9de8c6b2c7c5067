"""Covariance structures: which symmetric matrices a normal distribution may use.

A structure reads and writes the *leaf* in which a symmetric `n` x `n` matrix is stored. The same
leaf stores a precision (natural coordinates) or a second moment (mean coordinates); the pairing
of the two is the sum of the products of their entries. For `Scale` they therefore differ: a
precision is the factor of the identity, a moment is the trace.
"""

import math
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from harmonium.geometry.structure import Structure

Leaf = Float[Array, "..."]


class CovarianceStructure(Structure):
    """A linear space of symmetric matrices with cheap solves: the shape of a normal."""

    @abstractmethod
    def leaf_shape(self, n: int) -> tuple[int, ...]:
        """The shape of the leaf that stores an `n` x `n` matrix."""

    @abstractmethod
    def factor(self, precision: Leaf, n: int) -> Leaf:
        """What `solve`, `log_determinant` and `whiten` need of a positive definite matrix."""

    @abstractmethod
    def solve(self, factor: Leaf, right: Float[Array, "n m"]) -> Float[Array, "n m"]:
        """The solution `X` of `P X = right`."""

    @abstractmethod
    def whiten(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """A vector `u` with `u @ u` equal to `vector @ inverse(P) @ vector`."""

    @abstractmethod
    def color(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        """A vector with covariance `inverse(P)` if the given one is standard normal."""

    @abstractmethod
    def log_determinant(self, factor: Leaf, n: int) -> Float[Array, ""]:
        """The logarithm of the determinant."""

    @abstractmethod
    def inverse(self, factor: Leaf, n: int) -> Leaf:
        """The leaf of the inverse matrix."""

    @abstractmethod
    def apply(self, matrix: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
        """The products of a matrix with the rows of `vectors`."""

    @abstractmethod
    def congruence(self, matrix: Leaf, moment: Leaf) -> Leaf:
        """The moment of `C x` for a matrix `C` in the structure, if `x` has the given moment."""

    @abstractmethod
    def cross_moment(self, left: Float[Array, "m n"], right: Float[Array, "m n"]) -> Leaf:
        """The part of `left.T @ right` that a moment keeps."""

    @abstractmethod
    def moment_from_matrix(self, matrix: Leaf, n: int) -> Leaf:
        """The moment leaf of a matrix that is in the structure."""

    @abstractmethod
    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        """The matrix in the structure that has this moment."""

    @abstractmethod
    def dense(self, matrix: Leaf, n: int) -> Float[Array, "n n"]:
        """The full matrix."""

    @abstractmethod
    def diagonal(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        """The diagonal of the matrix."""

    @abstractmethod
    def row_sums(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        """The sums of the absolute values of each row."""

    @abstractmethod
    def contains(self, other: "CovarianceStructure") -> bool:
        """Whether the other structure's matrices are a linear subspace of this one's."""

    @abstractmethod
    def view(self, other: "CovarianceStructure", matrix: Leaf, n: int) -> Leaf:
        """The leaf here of a matrix stored in a structure that this one contains."""

    @abstractmethod
    def keep_moment(self, other: "CovarianceStructure", moment: Leaf, n: int) -> Leaf:
        """The part that this structure keeps of a moment stored in one that contains it."""

    @abstractmethod
    def keep_matrix(self, other: "CovarianceStructure", matrix: Leaf, n: int) -> Leaf:
        """The orthogonal projection of a matrix onto this structure; undoes `view`."""

    @abstractmethod
    def dominate(self, other: "CovarianceStructure", matrix: Leaf, n: int) -> Leaf:
        """A matrix here of which the given one can be subtracted with a positive result."""

    @abstractmethod
    def ravel(self, leaf: Leaf, doubled: bool) -> Float[Array, " k"]:
        """The distinct entries; off-diagonal ones times two if `doubled`."""

    @abstractmethod
    def unravel(self, vector: Float[Array, " k"], n: int, doubled: bool) -> Leaf:
        """The leaf with these distinct entries, the inverse of `ravel`."""

    @abstractmethod
    def dim(self, n: int) -> int:
        """The number of distinct entries."""

    @abstractmethod
    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        """Checks that `x -> scale x` maps normals with this structure to such normals."""

    @abstractmethod
    def scale_precision(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        """The precision of `scale x`: `A^-T P A^-1`, for a scale that `check_scale` admits."""

    @abstractmethod
    def batch_moments(
        self, vectors: Float[Array, "m n"], weights: Float[Array, "m k"]
    ) -> Leaf:
        """The moments of `vectors` under each of `k` weights, a batch of `k` leaves."""

    @abstractmethod
    def batch_quadratics(self, matrices: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m k"]:
        """The pairings `A_k . v_m v_m^T` of a batch of `k` precision leaves with vectors."""

    @abstractmethod
    def standardizing_scale(self, covariance: Float[Array, "n n"]) -> Float[Array, "..."]:
        """The admissible `A` that brings `A C A^T` closest to the identity."""

    @abstractmethod
    def is_positive(self, matrix: Leaf) -> Bool[Array, ""]:
        """Whether the matrix is symmetric and positive definite."""


class PositiveDefinite(CovarianceStructure):
    """Any symmetric positive definite matrix; leaf of shape `(n, n)`, solved by Cholesky."""

    def leaf_shape(self, n: int) -> tuple[int, ...]:
        return (n, n)

    def factor(self, precision: Leaf, n: int) -> Leaf:
        return jnp.linalg.cholesky(precision)

    def solve(self, factor: Leaf, right: Float[Array, "n m"]) -> Float[Array, "n m"]:
        return jax.scipy.linalg.cho_solve((factor, True), right)

    def whiten(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.scipy.linalg.solve_triangular(factor, vector, lower=True)

    def color(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return jax.scipy.linalg.solve_triangular(factor, vector, lower=True, trans=1)

    def log_determinant(self, factor: Leaf, n: int) -> Float[Array, ""]:
        return 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))

    def inverse(self, factor: Leaf, n: int) -> Leaf:
        return jax.scipy.linalg.cho_solve((factor, True), jnp.eye(n, dtype=factor.dtype))

    def apply(self, matrix: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return vectors @ matrix

    def congruence(self, matrix: Leaf, moment: Leaf) -> Leaf:
        return matrix @ moment @ matrix

    def cross_moment(self, left: Float[Array, "m n"], right: Float[Array, "m n"]) -> Leaf:
        return left.T @ right

    def moment_from_matrix(self, matrix: Leaf, n: int) -> Leaf:
        return matrix

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment

    def dense(self, matrix: Leaf, n: int) -> Float[Array, "n n"]:
        return matrix

    def diagonal(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return jnp.diagonal(matrix)

    def row_sums(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return jnp.sum(jnp.abs(matrix), axis=1)

    def contains(self, other: CovarianceStructure) -> bool:
        return not isinstance(other, Identity)

    def view(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return other.dense(matrix, n)

    def keep_moment(self, other: CovarianceStructure, moment: Leaf, n: int) -> Leaf:
        return moment

    def keep_matrix(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return matrix

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return matrix

    def ravel(self, leaf: Leaf, doubled: bool) -> Float[Array, " k"]:
        rows, columns = np.tril_indices(leaf.shape[0])
        return leaf[rows, columns] * _multiplicity(rows != columns, doubled, leaf.dtype)

    def unravel(self, vector: Float[Array, " k"], n: int, doubled: bool) -> Leaf:
        rows, columns = np.tril_indices(n)
        entries = vector / _multiplicity(rows != columns, doubled, vector.dtype)
        lower = jnp.zeros((n, n), vector.dtype).at[rows, columns].set(entries)
        return lower + jnp.tril(lower, -1).T

    def dim(self, n: int) -> int:
        return n * (n + 1) // 2

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        _check_scale_shape(self, scale, [(), (n,), (n, n)])

    def scale_precision(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        if scale.ndim == 2:
            half = jnp.linalg.solve(scale.T, precision)
            return jnp.linalg.solve(scale.T, half.T)
        factors = jnp.broadcast_to(scale, (n,))
        return precision / (factors[:, None] * factors[None, :])

    def batch_moments(
        self, vectors: Float[Array, "m n"], weights: Float[Array, "m k"]
    ) -> Leaf:
        m, n = vectors.shape
        weighted = (weights[:, :, None] * vectors[:, None, :]).reshape(m, -1)
        return (weighted.T @ vectors).reshape(-1, n, n)

    def batch_quadratics(self, matrices: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m k"]:
        m, n = vectors.shape
        products = vectors @ jnp.moveaxis(matrices, 0, 1).reshape(n, -1)
        return jnp.sum(products.reshape(m, -1, n) * vectors[:, None, :], axis=2)

    def standardizing_scale(self, covariance: Float[Array, "n n"]) -> Float[Array, "..."]:
        lower = jnp.linalg.cholesky(covariance)
        identity = jnp.eye(len(covariance), dtype=covariance.dtype)
        return jax.scipy.linalg.solve_triangular(lower, identity, lower=True)

    def is_positive(self, matrix: Leaf) -> Bool[Array, ""]:
        tolerance = 100 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix), initial=0)
        symmetric = jnp.all(jnp.abs(matrix - matrix.T) <= tolerance)
        return symmetric & jnp.all(jnp.isfinite(jnp.linalg.cholesky(matrix)))


class Elementwise(CovarianceStructure):
    """The structures whose matrices are diagonal: everything happens entry by entry."""

    @abstractmethod
    def from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        """The leaf of the matrix here that is closest to the one with this diagonal."""

    @abstractmethod
    def moment_from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        """What a moment keeps of one with this diagonal."""

    def factor(self, precision: Leaf, n: int) -> Leaf:
        return precision

    def solve(self, factor: Leaf, right: Float[Array, "n m"]) -> Float[Array, "n m"]:
        return right / self.diagonal(factor, len(right))[:, None]

    def whiten(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return vector / jnp.sqrt(self.diagonal(factor, len(vector)))

    def color(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return vector / jnp.sqrt(self.diagonal(factor, len(vector)))

    def log_determinant(self, factor: Leaf, n: int) -> Float[Array, ""]:
        return jnp.sum(jnp.log(self.diagonal(factor, n)))

    def inverse(self, factor: Leaf, n: int) -> Leaf:
        return 1 / factor

    def apply(self, matrix: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return vectors * self.diagonal(matrix, vectors.shape[1])[None, :]

    def congruence(self, matrix: Leaf, moment: Leaf) -> Leaf:
        return matrix**2 * moment

    def cross_moment(self, left: Float[Array, "m n"], right: Float[Array, "m n"]) -> Leaf:
        return self.moment_from_diagonal(jnp.sum(left * right, axis=0))

    def moment_from_matrix(self, matrix: Leaf, n: int) -> Leaf:
        return self.moment_from_diagonal(self.diagonal(matrix, n))

    def dense(self, matrix: Leaf, n: int) -> Float[Array, "n n"]:
        return jnp.diag(self.diagonal(matrix, n))

    def row_sums(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return jnp.abs(self.diagonal(matrix, n))

    def view(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return self.from_diagonal(other.diagonal(matrix, n))

    def keep_moment(self, other: CovarianceStructure, moment: Leaf, n: int) -> Leaf:
        return self.moment_from_diagonal(other.diagonal(other.matrix_from_moment(moment, n), n))

    def keep_matrix(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return self.from_diagonal(other.diagonal(matrix, n))

    def ravel(self, leaf: Leaf, doubled: bool) -> Float[Array, " k"]:
        return leaf.reshape(-1)

    def unravel(self, vector: Float[Array, " k"], n: int, doubled: bool) -> Leaf:
        return vector.reshape(self.leaf_shape(n))

    def dim(self, n: int) -> int:
        return math.prod(self.leaf_shape(n))

    def scale_precision(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        return precision / scale**2

    @abstractmethod
    def squares(self, vectors: Float[Array, "m n"]) -> Leaf:
        """The moments of single vectors, a batch of `m` leaves."""

    def batch_moments(
        self, vectors: Float[Array, "m n"], weights: Float[Array, "m k"]
    ) -> Leaf:
        return jnp.tensordot(weights.T, self.squares(vectors), axes=1)

    def batch_quadratics(self, matrices: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m k"]:
        squares = self.squares(vectors)
        flat = squares.reshape(len(vectors), math.prod(squares.shape[1:]))
        return flat @ matrices.reshape(len(matrices), flat.shape[1]).T

    def is_positive(self, matrix: Leaf) -> Bool[Array, ""]:
        return jnp.all((matrix > 0) & jnp.isfinite(matrix))


class Diagonal(Elementwise):
    """Diagonal matrices: independent coordinates; leaf of shape `(n,)`."""

    def leaf_shape(self, n: int) -> tuple[int, ...]:
        return (n,)

    def diagonal(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return matrix

    def from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return diagonal

    def moment_from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return diagonal

    def squares(self, vectors: Float[Array, "m n"]) -> Leaf:
        return vectors**2

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Diagonal | Scale)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return other.row_sums(matrix, n)

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        _check_scale_shape(self, scale, [(), (n,)])

    def standardizing_scale(self, covariance: Float[Array, "n n"]) -> Float[Array, "..."]:
        return 1 / jnp.sqrt(jnp.diagonal(covariance))


class Scale(Elementwise):
    """Multiples of the identity: isotropic normals; leaf of shape `()`.

    A precision is stored as the factor of the identity, a moment as the trace.
    """

    def leaf_shape(self, n: int) -> tuple[int, ...]:
        return ()

    def diagonal(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return jnp.broadcast_to(matrix, (n,))

    def from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return jnp.mean(diagonal)

    def moment_from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return jnp.sum(diagonal)

    def squares(self, vectors: Float[Array, "m n"]) -> Leaf:
        return jnp.sum(vectors**2, axis=1)

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment / n

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Scale)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return jnp.max(other.row_sums(matrix, n))

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        _check_scale_shape(self, scale, [()])

    def standardizing_scale(self, covariance: Float[Array, "n n"]) -> Float[Array, "..."]:
        return 1 / jnp.sqrt(jnp.mean(jnp.diagonal(covariance)))


class Identity(Elementwise):
    """The identity matrix only: unit covariance; nothing is stored, a leaf of shape `(0,)`."""

    def leaf_shape(self, n: int) -> tuple[int, ...]:
        return (0,)

    def diagonal(self, matrix: Leaf, n: int) -> Float[Array, " n"]:
        return jnp.ones(n, matrix.dtype)

    def from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return jnp.zeros(0, diagonal.dtype)

    def moment_from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        return jnp.zeros(0, diagonal.dtype)

    def squares(self, vectors: Float[Array, "m n"]) -> Leaf:
        return jnp.zeros((len(vectors), 0), vectors.dtype)

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Identity)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return self.from_diagonal(other.row_sums(matrix, n))

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        raise ValueError(
            "a normal with Identity() covariance admits shifts only, got a scale of shape "
            f"{scale.shape}. Pass scale=None, or use Scale() covariance."
        )

    def standardizing_scale(self, covariance: Float[Array, "n n"]) -> Float[Array, "..."]:
        return jnp.ones((), covariance.dtype)


def _multiplicity(off_diagonal: np.ndarray, doubled: bool, dtype: Any) -> Array:
    return jnp.asarray(np.where(off_diagonal & doubled, 2.0, 1.0), dtype)


def scale_location(location: Float[Array, " n"], scale: Any) -> Float[Array, " n"]:
    """The natural location of `scale x`: `A^-T location`, for a scalar, diagonal or matrix `A`."""
    if scale is None:
        return location
    scale = jnp.asarray(scale, location.dtype)
    return jnp.linalg.solve(scale.T, location) if scale.ndim == 2 else location / scale


def _check_scale_shape(
    structure: CovarianceStructure, scale: Float[Array, "..."], shapes: list[tuple[int, ...]]
) -> None:
    if scale.shape not in shapes:
        raise ValueError(
            f"a normal with {structure} covariance admits scales of shape "
            f"{' or '.join(map(str, shapes))}, got {scale.shape}: the scaled normal would leave "
            "the family. Scale by one of these, or use a fuller covariance structure."
        )
