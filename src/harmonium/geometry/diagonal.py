"""Covariance structures whose matrices are diagonal."""

import math
from abc import abstractmethod

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from harmonium.geometry.matrix import CovarianceStructure, Leaf, check_scale_shape


class Elementwise(CovarianceStructure):
    """The structures whose matrices are diagonal: everything happens entry by entry."""

    @abstractmethod
    def from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        """The leaf of the matrix here that is closest to the one with this diagonal."""

    @abstractmethod
    def moment_from_diagonal(self, diagonal: Float[Array, " n"]) -> Leaf:
        """What a moment keeps of one with this diagonal."""

    def parametric_quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return self.quadratic(matrix, vector)

    def factor(self, precision: Leaf, n: int) -> Leaf:
        return precision

    def solve(self, factor: Leaf, right: Float[Array, "n m"]) -> Float[Array, "n m"]:
        return right / self.diagonal(factor, len(right))[:, None]

    def inverse_and_log_determinant(self, precision: Leaf, n: int) -> tuple[Leaf, Float[Array, ""]]:
        return 1 / precision, self.log_determinant(precision, n)

    def color(self, factor: Leaf, vector: Float[Array, " n"]) -> Float[Array, " n"]:
        return vector / jnp.sqrt(self.diagonal(factor, len(vector)))

    def log_determinant(self, factor: Leaf, n: int) -> Float[Array, ""]:
        return jnp.sum(jnp.log(self.diagonal(factor, n)))

    def inverse(self, factor: Leaf, n: int) -> Leaf:
        return 1 / factor

    def apply(self, matrix: Leaf, vectors: Float[Array, "m n"]) -> Float[Array, "m n"]:
        return vectors * self.diagonal(matrix, vectors.shape[1])[None, :]

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

    def substitute(self, precision: Leaf, scale: Float[Array, "..."], n: int) -> Leaf:
        return precision * scale**2

    def symmetrize(self, matrix: Leaf) -> Leaf:
        return matrix

    def hidden_covariance(
        self, precision: Leaf, observed: Bool[Array, " n"]
    ) -> tuple[Float[Array, "..."], Float[Array, ""]]:
        diagonal = self.diagonal(precision, len(observed))
        log_determinant = jnp.sum(jnp.where(observed, 0, jnp.log(diagonal)))
        return jnp.where(observed, 0, 1 / diagonal), log_determinant

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

    def quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return matrix @ vector**2

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment

    @property
    def is_linear(self) -> bool:
        """Yes."""
        return True

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Diagonal | Scale)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return other.row_sums(matrix, n)

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        check_scale_shape(self, scale, [(), (n,)])

    def standardizing_scale(self, covariance: Leaf) -> Float[Array, "..."]:
        return jnp.sqrt(covariance)


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

    def quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return matrix * (vector @ vector)

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment / n

    @property
    def is_linear(self) -> bool:
        """Yes."""
        return True

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Scale)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return jnp.max(other.row_sums(matrix, n))

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        check_scale_shape(self, scale, [()])

    def standardizing_scale(self, covariance: Leaf) -> Float[Array, "..."]:
        return jnp.sqrt(covariance)


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

    def quadratic(self, matrix: Leaf, vector: Float[Array, " n"]) -> Float[Array, ""]:
        return vector @ vector

    def matrix_from_moment(self, moment: Leaf, n: int) -> Leaf:
        return moment

    @property
    def is_linear(self) -> bool:
        """No: the precision is fixed."""
        return False

    def contains(self, other: CovarianceStructure) -> bool:
        return isinstance(other, Identity)

    def dominate(self, other: CovarianceStructure, matrix: Leaf, n: int) -> Leaf:
        return self.from_diagonal(other.row_sums(matrix, n))

    def check_scale(self, scale: Float[Array, "..."], n: int) -> None:
        raise ValueError(
            "a normal with Identity() covariance admits shifts only, got a scale of shape "
            f"{scale.shape}. Pass scale=None, or use Scale() covariance."
        )

    def standardizing_scale(self, covariance: Leaf) -> Float[Array, "..."]:
        return jnp.ones((), covariance.dtype)
