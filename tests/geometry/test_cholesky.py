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
from tests.compiled import compute


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def matrices(n, many=3):
    """Two by `many` well-conditioned matrices."""
    roots = np.random.default_rng(n).normal(size=(2, many, n, 2 * n))
    return roots @ roots.swapaxes(-1, -2) / n + np.eye(n)


def inverse(matrix):
    return inverse_from_factor(cholesky(matrix))


@pytest.mark.parametrize("n", [1, 3, SMALL, SMALL + 1])
@pytest.mark.parametrize("many", [3, MANY])
def test_batches_equal_numpy(n, many):
    batch = matrices(n, many)

    def all_of_them(batch):
        both = lambda matrix: (cholesky(matrix), inverse(matrix))  # noqa: E731
        return *jax.vmap(jax.vmap(both))(batch), inverse(batch[0, 0])

    factors, inverses, single = compute(all_of_them, batch)
    np.testing.assert_allclose(factors, np.linalg.cholesky(batch), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(inverses, np.linalg.inv(batch), rtol=1e-11, atol=1e-14)
    np.testing.assert_allclose(single, np.linalg.inv(batch[0, 0]), rtol=1e-11)


# A few matrices are taken one by one, and many large ones, too, whatever their size.
COUNTS = [(1, MANY), (3, MANY), (SMALL, MANY), (SMALL + 1, MANY), (3, 3)]
derived = pytest.mark.parametrize(("n", "many"), COUNTS)


@derived
def test_derivatives_equal_those_of_a_plain_inverse(n, many):
    batch, weights = matrices(n, many), np.random.default_rng(0).normal(size=(n, n))

    def derivatives(batch):
        value = lambda matrix: jnp.sum(inverse(matrix) * weights)  # noqa: E731
        return jax.vmap(jax.vmap(jax.grad(value)))(batch), jax.vmap(jax.hessian(value))(batch[0])

    gradients, hessians = compute(derivatives, batch)
    # dB = -B dP B for the inverse B of P, and only the symmetric part of a matrix counts.
    inverses = np.linalg.inv(batch)
    products = inverses @ (weights + weights.T) @ inverses / 2
    np.testing.assert_allclose(gradients, -products, rtol=1e-9, atol=1e-12)
    halves = sum(
        np.einsum(f"m{a},m{b}->mijkl", inverses[0], products[0])
        for a, b in [("ik", "lj"), ("il", "kj"), ("lj", "ik"), ("kj", "il")]
    )
    np.testing.assert_allclose(hessians, halves / 2, rtol=1e-9, atol=1e-12)


# Which of the matrix and the right-hand side has which batch axes.
BATCHES = {
    "one matrix": ((None, 0), (None, 0)),
    "one side": ((0, None), (0, None)),
    "both": ((0, 0), (0, 0)),
    "a matrix for a row of sides": ((0, 0), (None, 0)),
    "a side for a column of matrices": ((0, None), (0, 0)),
}
SIDES = {"lower": solve_lower, "upper": solve_upper}


def _plain(side, factor, right, weights, tangents):
    """The solution X, the gradients of the sum of sin(X) times weights, and their derivatives.

    By NumPy, from T X = R: dX = T^-1 (dR - dT X), and, with the gradient G of X and A = T^-T G,
    the gradients are A of R and -A X^T of T, of which the triangle counts.
    """
    transpose = (lambda a: a.swapaxes(-1, -2)) if side == "upper" else lambda a: a
    t, dt = transpose(np.tril(factor)), transpose(np.tril(tangents[0]))
    t_transposed = t.swapaxes(-1, -2)
    x = np.linalg.solve(t, right)
    dx = np.linalg.solve(t, tangents[1] - dt @ x)
    a = np.linalg.solve(t_transposed, np.cos(x) * weights)
    da = np.linalg.solve(t_transposed, -np.sin(x) * dx * weights - dt.swapaxes(-1, -2) @ a)
    gradient = -a @ x.swapaxes(-1, -2)
    change = -da @ x.swapaxes(-1, -2) - a @ dx.swapaxes(-1, -2)
    return x, (np.tril(transpose(gradient)), a), (np.tril(transpose(change)), da)


@derived
@pytest.mark.parametrize("side", SIDES)
@pytest.mark.parametrize("batch", BATCHES)
def test_batched_solves_and_their_derivatives_equal_plain_ones(n, many, side, batch):
    rng = np.random.default_rng(n)
    outer, inner = BATCHES[batch]
    shapes = [
        tuple(size for size, axes in ((2, outer), (many, inner)) if axes[i] is not None)
        for i in range(2)
    ]
    factors = np.linalg.cholesky(matrices(n)[0, 0]) * rng.uniform(0.5, 2, (*shapes[0], 1, 1))
    sides = rng.normal(size=(*shapes[1], n, 2))
    weights, tangents = rng.normal(size=(n, 2)), (rng.normal(size=(n, n)), rng.normal(size=(n, 2)))

    def one(factor, right):
        def value(factor, right):
            solution = SIDES[side](factor, right)
            return jnp.sum(jnp.sin(solution) * weights), solution

        gradients = jax.grad(value, (0, 1), has_aux=True)
        (first, solution), (second, _) = jax.jvp(gradients, (factor, right), tangents)
        return solution, first, second

    found = compute(jax.vmap(jax.vmap(one, inner), outer), factors, sides)
    for axis, (of_factors, of_sides) in enumerate((outer, inner)):  # length one where there is none
        factors = factors if of_factors is not None else np.expand_dims(factors, axis)
        sides = sides if of_sides is not None else np.expand_dims(sides, axis)
    expected = _plain(side, factors, sides, weights, tangents)
    assert len(jax.tree.leaves(found)) == 5
    for a, b in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, np.broadcast_to(b, a.shape), rtol=1e-9, atol=1e-11)


def test_matrices_that_are_not_positive_definite_have_no_factor():
    batch = np.stack([np.eye(3), -np.eye(3), np.diag([1.0, 2.0, -1.0])])

    def factors(batch):
        few, many = (jax.vmap(cholesky)(jnp.tile(batch, (n, 1, 1))) for n in (1, MANY))
        return few, many, cholesky(batch[2])

    few, many, single = compute(factors, batch)
    for found in (few, many):
        finite = np.isfinite(found).all(axis=(1, 2))
        np.testing.assert_array_equal(finite, [True, False, False] * (len(found) // 3))
    assert np.isnan(single).any()
