"""Manifolds: comparison, templates, checks, products."""

import jax
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import CATALOGUE, EMBEDDINGS, MANIFOLDS
from tests.compiled import compute
from tests.numbers import assert_close

STRUCTURES = CATALOGUE | MANIFOLDS | {f"embedding_{k}": v for k, v in EMBEDDINGS.items()}
NATURAL, MEAN = hm.Coordinates.NATURAL, hm.Coordinates.MEAN


@pytest.mark.parametrize("build", STRUCTURES.values(), ids=STRUCTURES)
def test_structures_compare_and_hash_by_value(build):
    first, second = build(), build()
    assert first is not second and first == second and hash(first) == hash(second)
    assert first != hm.Normal(17) and first != 17
    assert jax.tree.leaves(first) == []
    assert repr(first) == repr(second) and type(first).__name__ in repr(first)


def test_structures_that_differ_are_not_equal():
    models = [build() for build in STRUCTURES.values()]
    for i, first in enumerate(models):
        for second in models[i + 1 :]:
            assert first != second


@pytest.mark.parametrize("build", (CATALOGUE | MANIFOLDS).values(), ids=CATALOGUE | MANIFOLDS)
def test_the_origin_is_zero_in_all_coordinates(build):
    manifold = build()

    def origins():
        zeros = [manifold.zeros(coordinates) for coordinates in (NATURAL, MEAN)]
        return zeros, [manifold.ravel(zero) for zero in zeros]

    zeros, vectors = compute(origins)
    assert_close(vectors, [np.zeros(manifold.dim)] * 2, 0)
    for zero, coordinates in zip(zeros, (NATURAL, MEAN), strict=True):
        assert zero.coordinates is coordinates and zero.manifold == manifold
        assert zero.batch_shape == ()
        shapes = [leaf.shape for leaf in jax.tree.leaves(manifold.template(coordinates))]
        assert shapes == [leaf.shape for leaf in jax.tree.leaves(zero)]


@pytest.mark.parametrize(
    ("manifold", "dim"),
    [
        (hm.Normal(3), 3 + 6),
        (hm.Normal(3, hm.Diagonal()), 3 + 3),
        (hm.Normal(3, hm.Scale()), 3 + 1),
        (hm.Normal(3, hm.Identity()), 3),
        (hm.Categorical(4), 3),
        (hm.geometry.Null(), 0),
        (hm.geometry.Pair(hm.families.Euclidean(2), hm.Categorical(3)), 4),
        (hm.Replicated(hm.Normal(2), 3), 3 * 5),
        (hm.factor_analysis(3, 2), 6 + 3 * 2 + 5),
        (hm.Mixture(hm.Normal(2), 3), 5 + 2 * 5 + 2),
        (hm.hierarchical_mixture_of_gaussians(3, 2, 4), 6 + 6 + 5 + 3 * 5 + 3),
    ],
    ids=repr,
)
def test_dimensions_count_minimal_coordinates(manifold, dim):
    assert manifold.dim == dim


def test_ravel_takes_single_points_of_the_manifold_only():
    normal = hm.Normal(2)
    batch = jax.jit(jax.vmap(normal.unravel))(np.ones((3, normal.dim)))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        normal.ravel(batch)
    with pytest.raises(TypeError, match="expected a point of"):
        normal.ravel(hm.Categorical(3).zeros())


def test_products_join_what_their_parts_do():
    pair, null = hm.geometry.Pair(hm.families.Euclidean(2), hm.Categorical(3)), hm.geometry.Null()

    def look():
        empty = null.ravel(null.zeros()), hm.dot(null.zeros(), null.zeros(MEAN))
        return pair.unravel(np.arange(4.0)), empty

    point, empty = compute(look)
    assert pair.parts == (hm.families.Euclidean(2), hm.Categorical(3))
    assert_close(point.components[0].values, np.asarray([0.0, 1.0]))
    assert_close(point.components[1].values, np.asarray([2.0, 3.0]))
    assert_close(empty, (np.zeros(0), 0.0))


def test_products_refuse_what_is_not_a_family():
    with pytest.raises(TypeError, match=r"(?i)differentiable"):
        hm.Product(hm.Normal(2), hm.families.Euclidean(2))
    with pytest.raises(ValueError, match="at least one"):
        hm.Product()
    with pytest.raises(ValueError, match="at least one"):
        hm.Replicated(hm.Normal(2), 0)
    with pytest.raises(IndexError, match="no component"):
        hm.geometry.ComponentEmbedding(hm.Product(hm.Normal(2)), 1)


@pytest.mark.parametrize("name", ["normal", "poissons", "product", "mixture_full", "hierarchy_2"])
def test_numpy_vectors_unravel(name):
    manifold = CATALOGUE[name]()
    vector = np.linspace(0.1, 0.2, manifold.dim)
    again = compute(lambda: [manifold.ravel(manifold.unravel(vector, c)) for c in hm.Coordinates])
    assert_close(again, [vector, vector])


def test_manifolds_may_be_closed_over_or_passed_to_compiled_functions():
    @jax.jit
    def dim_of(manifold, x):
        return x + manifold.dim

    assert float(dim_of(hm.Normal(3), 0.0)) == 9
    assert float(dim_of(hm.Normal(2), 0.0)) == 5
