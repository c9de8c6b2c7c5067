"""Factors of one matrix, and of many small and large ones at once, with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harmonium.geometry.cholesky import (
    MANY,
    SMALL,
    cholesky,
    inverse_from_factor,
    solve_lower,
    solve_upper,
)


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def matrices(n, many=3):
    """Two by `many` well-conditioned matrices."""
    roots = np.random.default_rng(n).normal(size=(2, many, n, 2 * n))
    return jnp.asarray(roots @ roots.swapaxes(-1, -2) / n + np.eye(n))


def inverse(matrix):
    return inverse_from_factor(cholesky(matrix))


def plain_inverse(matrix):
    return jnp.linalg.inv(0.5 * (matrix + matrix.T))


def one_by_one(function, axes=(0,)):
    """Like `jax.vmap`, in a loop: LAPACK's calls for batches may wait for each other forever."""

    def mapped(*args):
        def one(parts):
            parts = iter(parts)
            return function(
                *(a if axis is None else next(parts) for a, axis in zip(args, axes, strict=True))
            )

        return jax.lax.map(one, [a for a, axis in zip(args, axes, strict=True) if axis is not None])

    return mapped


sizes = pytest.mark.parametrize("n", [1, 3, SMALL, SMALL + 1])
counts = pytest.mark.parametrize("many", [3, MANY])


@sizes
@counts
def test_batches_equal_numpy(n, many):
    batch = matrices(n, many)
    factors = jax.vmap(jax.vmap(cholesky))(batch)
    np.testing.assert_allclose(factors, np.linalg.cholesky(batch), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        jax.vmap(jax.vmap(inverse))(batch), np.linalg.inv(batch), rtol=1e-11, atol=1e-14
    )
    np.testing.assert_allclose(inverse(batch[0, 0]), np.linalg.inv(batch[0, 0]), rtol=1e-11)


@sizes
@counts
def test_derivatives_equal_those_of_a_plain_inverse(n, many):
    batch, weights = matrices(n, many), np.random.default_rng(0).normal(size=(n, n))

    def derivatives(function, over):
        def value(matrix):
            return jnp.sum(function(matrix) * weights)

        gradients = jax.jit(over(over(jax.grad(value))))(batch)
        return gradients, jax.jit(over(jax.hessian(value)))(batch[0])

    found, expected = derivatives(inverse, jax.vmap), derivatives(plain_inverse, one_by_one)
    for ours, theirs in zip(found, expected, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


SOLVES = {"lower": (solve_lower, lambda f: f), "upper": (solve_upper, lambda f: f.mT)}
# Which of the matrix and the right-hand side has which batch axes.
BATCHES = {
    "one matrix": ((None, 0), (None, 0)),
    "one side": ((0, None), (0, None)),
    "both": ((0, 0), (0, 0)),
    "a matrix for a row of sides": ((0, 0), (None, 0)),
    "a side for a column of matrices": ((0, None), (0, 0)),
}


@sizes
@counts
@pytest.mark.parametrize("side", SOLVES)
@pytest.mark.parametrize("batch", BATCHES)
def test_batched_solves_and_their_derivatives_equal_plain_ones(n, many, side, batch):
    solve, triangle = SOLVES[side]
    rng = np.random.default_rng(n)
    outer, inner = BATCHES[batch]
    shapes = [
        tuple(size for size, axes in ((2, outer), (many, inner)) if axes[i] is not None)
        for i in range(2)
    ]
    factors = jnp.asarray(
        np.linalg.cholesky(np.broadcast_to(matrices(n)[0, 0], (*shapes[0], n, n)))
    )
    factors = factors * rng.uniform(0.5, 2, (*shapes[0], 1, 1))
    sides = jnp.asarray(rng.normal(size=(*shapes[1], n, 2)))
    weights = rng.normal(size=(n, 2))

    def plain(factor, right):
        return jnp.linalg.solve(triangle(jnp.tril(factor)), right)

    def everything(function, over):
        def value(factor, right):
            return jnp.sum(jnp.sin(function(factor, right)) * weights)

        def one(factor, right):
            gradients = jax.grad(value, (0, 1))(factor, right)
            curvature = jax.jvp(
                jax.grad(value, (0, 1)), (factor, right), (jnp.tril(factor), 2 * right)
            )[1]
            return function(factor, right), gradients, curvature

        return jax.jit(over(over(one, inner), outer))(factors, sides)

    found = jax.tree.leaves(everything(solve, jax.vmap))
    expected = jax.tree.leaves(everything(plain, one_by_one))
    assert len(found) == len(expected) == 5
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-11)


def test_matrices_that_are_not_positive_definite_have_no_factor():
    batch = jnp.stack([jnp.eye(3), -jnp.eye(3), jnp.diag(jnp.array([1.0, 2.0, -1.0]))])
    for repeated in (batch, jnp.tile(batch, (MANY, 1, 1))):
        finite = np.isfinite(np.asarray(jax.vmap(cholesky)(repeated))).all(axis=(1, 2))
        np.testing.assert_array_equal(finite, [True, False, False] * (len(repeated) // 3))
    assert np.isnan(np.asarray(cholesky(batch[2]))).any()
