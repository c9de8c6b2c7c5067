"""Covariance structures: which symmetric matrices a normal distribution may use.

A structure reads and writes the *leaf* in which a symmetric `n` x `n` matrix is stored. The same
leaf stores a precision (natural coordinates) or a second moment (mean coordinates); the pairing
of the two is the sum of the products of their entries. For `Scale` they therefore differ: a
precision is the factor of the identity, a moment is the trace.
"""

import functools
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Bool, Float

from harmonium.geometry.cholesky import (
    cholesky,
    inverse_and_log_determinant,
    inverse_from_factor,
    solve_lower,
    solve_upper,
)
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
    def inverse_and_log_determinant(self, precision: Leaf, n: int) -> tuple[Leaf, Float[Array, ""]]:
        """The leaf of the inverse and the log determinant, with derivatives that transpose."""

    @abstractmethod
    def quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        """The quadratic form `v^T A v` of an observation."""

    @abstractmethod
    def parametric_quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        """The same of parameters, with a derivative by them that makes no other product."""

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

    @property
    @abstractmethod
    def is_linear(self) -> bool:
        """Whether the precisions form a linear space, as all but a fixed matrix do."""

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
        """Checks that normals with this structure are such normals after scaling, too."""

    @abstractmethod
    def substitute(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        """The precision `B^T P B` of `y` with `x = B y`, for a `B` that `check_scale` admits."""

    @abstractmethod
    def symmetrize(self, matrix: Leaf) -> Leaf:
        """The matrix itself, such that derivatives by it are symmetric, too."""

    @abstractmethod
    def hidden_covariance(
        self, precision: Leaf, observed: Bool[Array, " n"]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        """The covariance of hidden coordinates given observed ones, and log |hidden precision|.

        **Returns:** a matrix (n, n), or its diagonal (n,), with zeros where coordinates are
        observed; and a number.
        """

    @abstractmethod
    def standardizing_scale(self, covariance: Leaf) -> Float[Array, "..."]:
        """The admissible `B` with `B B^T` equal to a covariance in the structure."""

    @abstractmethod
    def is_positive(self, matrix: Leaf) -> Bool[Array, ""]:
        """Whether the matrix is symmetric and positive definite."""


class PositiveDefinite(CovarianceStructure):
    """Any symmetric positive definite matrix; leaf of shape `(n, n)`, solved by Cholesky."""

    def leaf_shape(self, n: int) -> tuple[int, ...]:
        return (n, n)

    def factor(self, precision: Leaf, n: int) -> Leaf:
        return cholesky(precision)

    def solve(self, factor: Leaf, right: Float[Array, "n m"]) -> Float[Array, "n m"]:
        return solve_upper(factor, solve_lower(factor, right))

    def inverse_and_log_determinant(self, precision: Leaf, n: int) -> tuple[Leaf, Float[Array, ""]]:
        return inverse_and_log_determinant(precision)

    def quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return vector @ matrix @ vector

    def parametric_quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return quadratic_form(matrix, vector)

    def color(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return solve_upper(factor, vector[:, None])[:, 0]

    def log_determinant(self, factor: Leaf, n: int) -> Float[Array, ""]:
        return 2 * jnp.sum(jnp.log(jnp.diagonal(factor)))

    def inverse(self, factor: Leaf, n: int) -> Leaf:
        return inverse_from_factor(factor)

    def apply(self, matrix: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return vectors @ matrix

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

    @property
    def is_linear(self) -> bool:
        """Yes."""
        return True

    def contains(self, other: CovarianceStructure) -> bool:
        return other.is_linear

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
        check_scale_shape(self, scale, [(), (n,), (n, n)])

    def substitute(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        if scale.ndim == 2:
            return scale.T @ precision @ scale
        factors = jnp.broadcast_to(scale, (n,))
        return precision * (factors[:, None] * factors[None, :])

    def symmetrize(self, matrix: Leaf) -> Leaf:
        return 0.5 * (matrix + matrix.T)

    def hidden_covariance(
        self, precision: Leaf, observed: Bool[Array, " n"]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        both = ~(observed[:, None] | observed[None, :])
        own = jnp.diag(observed.astype(precision.dtype))
        inverse, log_determinant = inverse_and_log_determinant(jnp.where(both, precision, own))
        return jnp.where(both, inverse, 0), log_determinant

    def standardizing_scale(self, covariance: Leaf) -> Float[Array, "..."]:
        return cholesky(covariance)

    def is_positive(self, matrix: Leaf) -> Bool[Array, ""]:
        tolerance = 100 * jnp.finfo(matrix.dtype).eps * jnp.max(jnp.abs(matrix), initial=0)
        symmetric = jnp.all(jnp.abs(matrix - matrix.T) <= tolerance)
        return symmetric & jnp.all(jnp.isfinite(cholesky(matrix)))


@jax.custom_jvp
def quadratic_form(matrix: Float[Array, "n n"], vector: Float[Array, " n"]) -> Float[Array, ""]:
    r"""$v^T A v$ of a symmetric matrix, whose derivative by $v$ is the product that it has made."""
    return vector @ matrix @ vector


@functools.partial(quadratic_form.defjvp, symbolic_zeros=True)
def _(primals: Any, tangents: Any) -> Any:
    r"""$2 A v \cdot dv + v^T dA\, v$, with $A$ symmetrised, for second derivatives by it."""
    (matrix, vector), (change, step) = primals, tangents
    by_matrix = 0 if isinstance(change, SymbolicZero) else vector @ change @ vector
    if isinstance(step, SymbolicZero):
        return quadratic_form(matrix, vector), by_matrix
    product = 0.5 * (matrix + matrix.T) @ vector
    return vector @ product, by_matrix + 2 * (product @ step)


def _multiplicity(off_diagonal: np.ndarray, doubled: bool, dtype: Any) -> Array:
    return jnp.asarray(np.where(off_diagonal & doubled, 2.0, 1.0), dtype)


def scale_location(location: Float[Array, " n"], scale: Any) -> Float[Array, " n"]:
    """The natural location `B^T location` of `y` with `x = B y`, for any kind of `B`."""
    if scale is None:
        return location
    scale = jnp.asarray(scale, location.dtype)
    return scale.T @ location if scale.ndim == 2 else location * scale


def invert_affine(scale: Any, shift: Any) -> tuple[Any, Any]:
    """The scale and shift of the inverse of `x -> scale x + shift`; `None` for identity and zero.

    Tuples of them, as products of families take, are inverted entry by entry.
    """
    if isinstance(scale, tuple) or isinstance(shift, tuple):
        n = len(shift if scale is None else scale)
        scales = (None,) * n if scale is None else scale
        shifts = (None,) * n if shift is None else shift
        pairs = [invert_affine(a, b) for a, b in zip(scales, shifts, strict=True)]
        return tuple(a for a, _ in pairs), tuple(b for _, b in pairs)
    shift = None if shift is None else -jnp.asarray(shift)
    if scale is None:
        return None, shift
    scale = jnp.asarray(scale)
    if scale.ndim < 2:
        return 1 / scale, None if shift is None else shift / scale
    inverse = jnp.linalg.inv(scale)
    return inverse, None if shift is None else inverse @ shift


def check_scale_shape(
    structure: CovarianceStructure, scale: Float[Array, "..."], shapes: list[tuple[int, ...]]
) -> None:
    """Checks that a scale has one of the shapes that a covariance structure admits."""
    if scale.shape not in shapes:
        raise ValueError(
            f"a normal with {structure} covariance admits scales of shape "
            f"{' or '.join(map(str, shapes))}, got {scale.shape}: the scaled normal would leave "
            "the family. Scale by one of these, or use a fuller covariance structure."
        )
