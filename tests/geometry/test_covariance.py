"""Covariance structures against dense NumPy matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.numbers import assert_close

N = 3
STRUCTURES = (hm.PositiveDefinite(), hm.Diagonal(), hm.Scale(), hm.Identity())
CONTAINED = [(a, b) for a in STRUCTURES for b in STRUCTURES if a.contains(b)]


def _leaf(structure, seed=0):
    """A positive definite matrix in the structure."""
    root = np.random.default_rng(seed).normal(size=(N, N))
    dense = root @ root.T + np.eye(N)
    leaves = {
        hm.PositiveDefinite(): dense,
        hm.Diagonal(): np.diagonal(dense),
        hm.Scale(): dense[0, 0],
        hm.Identity(): np.zeros(0),
    }
    return jnp.asarray(leaves[structure], float)


def _dense(structure, leaf):
    """The matrix that a precision leaf stores, without the library."""
    leaf = np.asarray(leaf, float)
    if structure == hm.PositiveDefinite():
        return leaf
    if structure == hm.Diagonal():
        return np.diag(leaf)
    return leaf * np.eye(N) if structure == hm.Scale() else np.eye(N)


def _moment(structure, dense):
    """What a moment leaf keeps of a dense matrix, without the library."""
    if structure == hm.PositiveDefinite():
        return dense
    if structure == hm.Diagonal():
        return np.diagonal(dense)
    return np.trace(dense) if structure == hm.Scale() else np.zeros(0)


def _vectors(m, seed=1):
    return jnp.asarray(np.random.default_rng(seed).normal(size=(m, N)), float)


@pytest.fixture(params=STRUCTURES, ids=repr)
def structure(request):
    return request.param


def test_solves_inverses_and_determinants(structure):
    leaf = _leaf(structure)
    dense, factor = _dense(structure, leaf), structure.factor(leaf, N)
    right, vector = _vectors(2).T, _vectors(1)[0]
    assert_close(structure.solve(factor, right), np.linalg.solve(dense, right))
    assert_close(structure.log_determinant(factor, N), np.linalg.slogdet(dense)[1])
    inverse = structure.inverse(factor, N)
    assert_close(_dense(structure, inverse), np.linalg.inv(dense))
    whitened = structure.whiten(factor, vector)
    assert_close(whitened @ whitened, vector @ np.linalg.solve(dense, vector))
    colors = np.stack([structure.color(factor, row) for row in jnp.eye(N)], axis=1)
    assert_close(colors @ colors.T, np.linalg.inv(dense))


def test_products_and_views(structure):
    leaf, vectors = _leaf(structure), _vectors(4)
    dense = _dense(structure, leaf)
    assert_close(structure.apply(leaf, vectors), vectors @ dense)
    assert_close(structure.dense(leaf, N), dense)
    assert_close(structure.diagonal(leaf, N), np.diagonal(dense))
    assert_close(structure.row_sums(leaf, N), np.abs(dense).sum(axis=1))
    assert leaf.shape == structure.leaf_shape(N)


def test_moments_are_what_the_pairing_needs(structure):
    leaf, left, right = _leaf(structure), _vectors(4, 2), _vectors(4, 3)
    moment = structure.cross_moment(left, right)
    assert_close(moment, _moment(structure, np.asarray(left.T @ right)))
    dense = _dense(structure, leaf)
    assert_close(structure.moment_from_matrix(leaf, N), _moment(structure, dense))
    again = structure.matrix_from_moment(structure.moment_from_matrix(leaf, N), N)
    assert_close(again, leaf)


def test_congruence_is_the_moment_of_the_mapped_vector(structure):
    matrix, inner = _leaf(structure, 4), _leaf(structure, 5)
    moment = structure.moment_from_matrix(inner, N)
    c, m = _dense(structure, matrix), _dense(structure, inner)
    assert_close(structure.congruence(matrix, moment), _moment(structure, c @ m @ c))


def test_minimal_coordinates_preserve_the_pairing(structure):
    precision, moment = _leaf(structure), structure.moment_from_matrix(_leaf(structure, 1), N)
    natural, mean = structure.ravel(precision, True), structure.ravel(moment, False)
    assert natural.shape == mean.shape == (structure.dim(N),)
    assert_close(natural @ mean, np.sum(np.asarray(precision) * np.asarray(moment)))
    assert_close(structure.unravel(natural, N, True), precision)
    assert_close(structure.unravel(mean, N, False), moment)


def test_batches_of_moments_products_and_quadratics(structure):
    vectors, weights = _vectors(5), jnp.asarray([[1.0, -2.0], [0.5, 0], [3, 1], [0, 0], [-1, 1]])
    moments = structure.batch_moments(vectors, weights)
    matrices = jnp.stack([_leaf(structure, 6), -_leaf(structure, 7)])
    products = structure.batch_apply(matrices, vectors)
    quadratics = structure.batch_quadratics(matrices, vectors)
    for k in range(2):
        total = np.asarray((vectors * weights[:, k : k + 1]).T @ vectors)
        assert_close(moments[k], _moment(structure, total))
        dense = _dense(structure, matrices[k])
        assert_close(products[:, k], vectors @ dense)
        assert_close(quadratics[:, k], np.sum((vectors @ dense) * vectors, axis=1))


def test_positive_matrices_are_told_from_others(structure):
    leaf = _leaf(structure)
    assert bool(structure.is_positive(leaf))
    if structure != hm.Identity():
        assert not bool(structure.is_positive(-leaf))
        assert not bool(structure.is_positive(leaf * jnp.nan))


def test_asymmetric_matrices_are_not_positive():
    leaf = _leaf(hm.PositiveDefinite())
    assert not bool(hm.PositiveDefinite().is_positive(leaf.at[0, 1].add(0.1)))


@pytest.mark.parametrize(("amb", "sub"), CONTAINED, ids=repr)
def test_contained_structures_are_viewed_and_kept(amb, sub):
    leaf = _leaf(sub)
    seen = amb.view(sub, leaf, N)
    assert_close(_dense(amb, seen), _dense(sub, leaf))
    assert_close(sub.keep_matrix(amb, seen, N), leaf)
    moment = amb.moment_from_matrix(_leaf(amb, 8), N)
    kept = sub.keep_moment(amb, moment, N)
    assert_close(kept, _moment(sub, _dense(amb, _leaf(amb, 8))))


@pytest.mark.parametrize(("amb", "sub"), [p for p in CONTAINED if p[0] != hm.Identity()], ids=repr)
def test_dominating_matrices_leave_a_positive_difference(amb, sub):
    rho = amb.unravel(jnp.linspace(-3, 2, amb.dim(N)), N, False)
    above = sub.dominate(amb, rho, N)
    difference = _dense(sub, above) - _dense(amb, rho)
    assert np.min(np.linalg.eigvalsh(difference)) > -1e3 * float(jnp.finfo(rho.dtype).eps)


def test_structures_contain_their_special_cases():
    full, diagonal, scale, identity = STRUCTURES
    names = [(a, b) for a, b in CONTAINED]
    assert names == [
        (full, full),
        (full, diagonal),
        (full, scale),
        (diagonal, diagonal),
        (diagonal, scale),
        (scale, scale),
        (identity, identity),
    ]


def test_structures_are_pytrees_without_leaves(structure):
    assert jax.tree.leaves(structure) == []
