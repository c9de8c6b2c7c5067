"""Factors of one matrix, and of many small and large ones at once, with derivatives."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from harmonium.geometry.cholesky import SMALL, cholesky, inverse_from_factor


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


def matrices(n):
    """Two by three well-conditioned matrices."""
    roots = np.random.default_rng(n).normal(size=(2, 3, n, 2 * n))
    return jnp.asarray(roots @ roots.swapaxes(-1, -2) / n + np.eye(n))


def inverse(matrix):
    return inverse_from_factor(cholesky(matrix))


def plain_inverse(matrix):
    return jnp.linalg.inv(0.5 * (matrix + matrix.T))


sizes = pytest.mark.parametrize("n", [1, 3, SMALL, SMALL + 1])


@sizes
def test_batches_equal_numpy(n):
    batch = matrices(n)
    factors = jax.vmap(jax.vmap(cholesky))(batch)
    np.testing.assert_allclose(factors, np.linalg.cholesky(batch), rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(
        jax.vmap(jax.vmap(inverse))(batch), np.linalg.inv(batch), rtol=1e-11, atol=1e-14
    )
    np.testing.assert_allclose(inverse(batch[0, 0]), np.linalg.inv(batch[0, 0]), rtol=1e-11)


@sizes
def test_derivatives_equal_those_of_a_plain_inverse(n):
    batch, weights = matrices(n), np.random.default_rng(0).normal(size=(n, n))

    def derivatives(function):
        def value(matrix):
            return jnp.sum(function(matrix) * weights)

        gradients = jax.jit(jax.vmap(jax.vmap(jax.grad(value))))(batch)
        return gradients, jax.jit(jax.vmap(jax.hessian(value)))(batch[0])

    for ours, theirs in zip(derivatives(inverse), derivatives(plain_inverse), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-9, atol=1e-12)


def test_matrices_that_are_not_positive_definite_have_no_factor():
    batch = jnp.stack([jnp.eye(3), -jnp.eye(3), jnp.diag(jnp.array([1.0, 2.0, -1.0]))])
    finite = np.isfinite(np.asarray(jax.vmap(cholesky)(batch))).all(axis=(1, 2))
    np.testing.assert_array_equal(finite, [True, False, False])
    assert np.isnan(np.asarray(cholesky(batch[2]))).any()
