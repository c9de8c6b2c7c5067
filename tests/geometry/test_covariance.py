"""Covariance structures against dense NumPy matrices."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
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
    return np.asarray(leaves[structure], float)


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
    return np.random.default_rng(seed).normal(size=(m, N))


@pytest.fixture(params=STRUCTURES, ids=repr)
def structure(request):
    return request.param


def test_solves_inverses_and_determinants(structure):
    leaf, right, vector = _leaf(structure), _vectors(2).T, _vectors(1)[0]

    def look(leaf, right, vector):
        factor = structure.factor(leaf, N)
        return (
            structure.solve(factor, right),
            structure.log_determinant(factor, N),
            structure.inverse(factor, N),
            structure.inverse_and_log_determinant(leaf, N),
            structure.quadratic(leaf, vector),
            jnp.stack([structure.color(factor, row) for row in jnp.eye(N)], axis=1),
        )

    solution, log_determinant, inverse, both, quadratic, colors = compute(look, leaf, right, vector)
    dense = _dense(structure, leaf)
    assert_close(solution, np.linalg.solve(dense, right))
    assert_close(log_determinant, np.linalg.slogdet(dense)[1])
    assert_close(_dense(structure, inverse), np.linalg.inv(dense))
    assert_close(both, (inverse, log_determinant))
    assert_close(quadratic, vector @ dense @ vector)
    assert_close(colors @ colors.T, np.linalg.inv(dense))


def test_products_and_views(structure):
    leaf, vectors = _leaf(structure), _vectors(4)
    dense = _dense(structure, leaf)
    views = structure.dense, structure.diagonal, structure.row_sums
    look = lambda leaf, xs: (structure.apply(leaf, xs), *(view(leaf, N) for view in views))  # noqa: E731
    row_sums = np.abs(dense).sum(axis=1)
    expected = vectors @ dense, dense, np.diagonal(dense), row_sums
    for found, wanted in zip(compute(look, leaf, vectors), expected, strict=True):
        assert_close(found, wanted)
    assert leaf.shape == structure.leaf_shape(N)


def test_moments_are_what_the_pairing_needs(structure):
    leaf, left, right = _leaf(structure), _vectors(4, 2), _vectors(4, 3)

    def look(leaf, left, right):
        moment = structure.moment_from_matrix(leaf, N)
        again = structure.matrix_from_moment(moment, N)
        return structure.cross_moment(left, right), moment, again

    cross, moment, again = compute(look, leaf, left, right)
    assert_close(cross, _moment(structure, left.T @ right))
    assert_close(moment, _moment(structure, _dense(structure, leaf)))
    assert_close(again, leaf)


def test_minimal_coordinates_preserve_the_pairing(structure):
    precision, matrix = _leaf(structure), _leaf(structure, 1)

    def look(precision, matrix):
        moment = structure.moment_from_matrix(matrix, N)
        natural, mean = structure.ravel(precision, True), structure.ravel(moment, False)
        again = structure.unravel(natural, N, True), structure.unravel(mean, N, False)
        return moment, natural, mean, again

    moment, natural, mean, again = compute(look, precision, matrix)
    assert natural.shape == mean.shape == (structure.dim(N),)
    assert_close(natural @ mean, np.sum(precision * moment))
    assert_close(again, (precision, moment))


def test_positive_matrices_are_told_from_others(structure):
    leaf = _leaf(structure)
    leaves = np.stack([leaf, -leaf, leaf * np.nan])
    positive = compute(jax.vmap(structure.is_positive), leaves)
    assert positive[0]
    if structure != hm.Identity():
        assert not np.any(positive[1:])


def test_asymmetric_matrices_are_not_positive():
    leaf = _leaf(hm.PositiveDefinite())
    leaf[0, 1] += 0.1
    assert not compute(hm.PositiveDefinite().is_positive, leaf)


@pytest.mark.parametrize(("amb", "sub"), CONTAINED, ids=repr)
def test_contained_structures_are_viewed_and_kept(amb, sub):
    leaf, other = _leaf(sub), _leaf(amb, 8)

    def look(leaf, other):
        seen = amb.view(sub, leaf, N)
        kept = sub.keep_moment(amb, amb.moment_from_matrix(other, N), N)
        return seen, sub.keep_matrix(amb, seen, N), kept

    seen, again, kept = compute(look, leaf, other)
    assert_close(_dense(amb, seen), _dense(sub, leaf))
    assert_close(again, leaf)
    assert_close(kept, _moment(sub, _dense(amb, other)))


@pytest.mark.parametrize(("amb", "sub"), [p for p in CONTAINED if p[0] != hm.Identity()], ids=repr)
def test_dominating_matrices_leave_a_positive_difference(amb, sub):
    def look(vector):
        rho = amb.unravel(vector, N, False)
        return rho, sub.dominate(amb, rho, N)

    rho, above = compute(look, np.linspace(-3, 2, amb.dim(N)))
    difference = _dense(sub, above) - _dense(amb, rho)
    assert np.min(np.linalg.eigvalsh(difference)) > -1e3 * float(np.finfo(rho.dtype).eps)


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
