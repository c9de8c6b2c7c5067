"""Points: arithmetic, batches, labels, and their text."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.compiled import compute

NORMAL = hm.Normal(2)
# Precision [[2, 0.3], [0.3, 1]] and location (1, -1).
POINT = hm.families.LocationShape(
    jnp.asarray([1.0, -1.0]),
    jnp.asarray([[-1.0, -0.15], [-0.15, -0.5]]),
    NORMAL,
    hm.Coordinates.NATURAL,
)
MODEL = hm.Mixture(NORMAL, 3)


def close(actual, expected):
    for a, b in zip(jax.tree.leaves(actual), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-14)


def test_points_form_a_vector_space():
    pairs = compute(
        lambda point: [
            (point + point, 2 * point),
            (point - point, NORMAL.zeros()),
            (-point, point * -1.0),
            (point / 4, 0.25 * point),
            (point * jnp.asarray(3.0), point * np.float64(3.0)),
        ],
        POINT,
    )
    for found, expected in pairs:
        close(found, expected)
    close(pairs[0][0].location, np.asarray([2.0, -2.0]))


def test_batches_are_points_and_yield_points():
    batch = compute(jax.vmap(MODEL.initialize), jax.random.split(jax.random.key(0), 4))
    assert batch.batch_shape == (4,)
    assert len(batch) == 4
    assert [p.batch_shape for p in batch] == [()] * 4
    close(batch[-1], batch[3])
    close(batch[1:3][0], batch[1])
    close(list(batch)[2], batch[2])
    components = compute(MODEL.components, batch[0])
    assert components.batch_shape == (3,)


def test_gradients_carry_the_dual_label():
    def gradients(key):
        gradient = hm.gradient(MODEL.log_partition_function)(MODEL.initialize(key))
        return gradient, hm.gradient(NORMAL.negative_entropy)(NORMAL.to_mean(POINT))

    gradient, back = jax.eval_shape(gradients, jax.random.key(0))
    assert isinstance(gradient, hm.Mean)
    assert isinstance(gradient.interaction.rows[0], hm.Mean)
    assert isinstance(back, hm.Natural)


def test_points_are_pytrees_that_optimisers_take():
    optimiser = optax.sgd(1e-2)
    loss = NORMAL.log_partition_function

    def step(point):
        gradient = jax.grad(loss)(point)
        updates, _ = optimiser.update(gradient, optimiser.init(point), point)
        return gradient, loss(point), loss(optax.apply_updates(point, updates))

    gradient, before, after = compute(step, POINT)
    assert isinstance(gradient, hm.Natural)
    assert after < before


def test_coordinates_are_dual_to_each_other():
    assert hm.Coordinates.NATURAL.dual is hm.Coordinates.MEAN
    assert hm.Coordinates.MEAN.dual is hm.Coordinates.NATURAL
    assert isinstance(POINT, hm.Natural)
    assert not isinstance(POINT, hm.Mean)
    assert not isinstance(3.0, hm.Natural)


def test_dot_pairs_in_either_order():
    def dots(point):
        mean = NORMAL.to_mean(point)
        return mean, hm.dot(point, mean), hm.dot(mean, point)

    mean, *pairings = compute(dots, POINT)
    expected = sum(
        float(np.sum(np.asarray(a) * np.asarray(b)))
        for a, b in zip(jax.tree.leaves(POINT), jax.tree.leaves(mean), strict=True)
    )
    close(pairings, [expected, expected])


def test_null_and_pair():
    null = hm.geometry.Null()
    assert null.dim == 0
    pair = hm.geometry.Pair(NORMAL, hm.Categorical(3))
    assert pair.dim == NORMAL.dim + 2

    def look():
        point = pair.unravel(jnp.arange(7.0))
        component = hm.geometry.ComponentEmbedding(pair, 1).restrict(point)
        return null.ravel(null.zeros()), pair.ravel(point), component.values

    empty, vector, component = compute(look)
    assert empty.shape == (0,)
    np.testing.assert_array_equal(vector, np.arange(7.0))
    np.testing.assert_array_equal(component, [5.0, 6.0])


def test_points_under_jit_show_shapes():
    shown = []
    jax.jit(lambda p: shown.append(repr(p)) or p)(POINT)
    assert "location = f64[2]" in shown[0] or "location = f32[2]" in shown[0]
    assert repr(POINT).startswith("natural point of Normal(2, PositiveDefinite())")


def test_equal_structures_hash_alike_and_differ_otherwise():
    assert hm.Mixture(hm.Normal(2), 3) == MODEL
    assert hash(hm.Mixture(hm.Normal(2), 3)) == hash(MODEL)
    assert hm.Mixture(hm.Normal(2, hm.Diagonal()), 3) != MODEL
    assert hm.Product(hm.Normal(2), hm.Normal(2)) != hm.Product(hm.Normal(2))
    with pytest.raises(TypeError, match="no length"):
        len(POINT)


@pytest.mark.parametrize("name", ["normal", "product", "mixture_full", "hierarchy_2", "parallel"])
def test_trees_of_other_things_than_arrays_are_shown_and_compared_and_mapped_by(name):
    model = CATALOGUE[name]()
    point = model.zeros()
    for stand_in in (
        jnp.shape,
        lambda _: 0,
        lambda _: None,
        lambda _: jax.sharding.PartitionSpec(),
    ):
        tree = jax.tree.map(stand_in, point)
        assert repr(tree).startswith(f"what stands for the leaves of natural points of {model}")
        assert str(tree) == repr(tree) and tree == jax.tree.map(stand_in, point)
        with pytest.raises(TypeError, match="leaves of these are no arrays"):
            tree + tree
    shapes = jax.eval_shape(lambda: point)
    assert f"natural point of {model}" in repr(shapes)
    batch = jax.tree.map(lambda leaf: np.stack([leaf, leaf]), point)
    axes = jax.tree.map(lambda _: 0, point)
    mapped = jax.eval_shape(jax.vmap(lambda own: own, in_axes=(axes,), out_axes=axes), batch)
    assert mapped.batch_shape == (2,)
