"""Affine substitutions in precisions and locations against dense matrices."""

import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.geometry.matrix import invert_affine, scale_location

N = 3
RNG = np.random.default_rng(0)
SQUARE = RNG.normal(size=(N, N))
LEAVES = {
    hm.PositiveDefinite(): SQUARE @ SQUARE.T + np.eye(N),
    hm.Diagonal(): np.array([0.5, 2.0, 3.0]),
    hm.Scale(): np.array(1.7),
}
DENSE = {
    hm.PositiveDefinite(): SQUARE @ SQUARE.T + np.eye(N),
    hm.Diagonal(): np.diag([0.5, 2.0, 3.0]),
    hm.Scale(): 1.7 * np.eye(N),
}
VECTORS = RNG.normal(size=(5, N))


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("structure", "scale"),
    [
        (hm.PositiveDefinite(), SQUARE),
        (hm.PositiveDefinite(), np.array([1.0, 2.0, -3.0])),
        (hm.PositiveDefinite(), np.array(2.0)),
        (hm.Diagonal(), np.array([1.0, 2.0, -3.0])),
        (hm.Diagonal(), np.array(2.0)),
        (hm.Scale(), np.array(2.0)),
    ],
)
def test_substituting_scales_in_precisions(structure, scale):
    structure.check_scale(jnp.asarray(scale), N)
    dense_scale = scale if scale.ndim == 2 else np.diag(np.broadcast_to(scale, (N,)))
    scaled = structure.substitute(jnp.asarray(LEAVES[structure]), jnp.asarray(scale), N)
    close(structure.dense(scaled, N), dense_scale.T @ DENSE[structure] @ dense_scale)
    close(scale_location(jnp.asarray(VECTORS[0]), scale), dense_scale.T @ VECTORS[0])
    shift = jnp.asarray(VECTORS[1])
    inverse, offset = invert_affine(scale, shift)
    dense_inverse = inverse if inverse.ndim == 2 else np.diag(np.broadcast_to(inverse, (N,)))
    close(dense_inverse @ (dense_scale @ VECTORS[0] + VECTORS[1]) + offset, VECTORS[0])


def test_affine_maps_of_tuples_invert_entry_by_entry():
    scales, shifts = invert_affine((jnp.asarray(2.0), None), (None, jnp.ones(2)))
    assert scales[1] is None
    assert shifts[0] is None
    close(scales[0], 0.5)
    close(shifts[1], -np.ones(2))
