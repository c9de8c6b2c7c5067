"""What points refuse, and that they survive copies."""

import copy
import pickle

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

NORMAL = hm.Normal(2)
NATURAL, MEAN = hm.Coordinates.NATURAL, hm.Coordinates.MEAN


def _point(manifold=NORMAL, coordinates=NATURAL):
    unravel = jax.jit(manifold.unravel, static_argnums=1)
    return unravel(np.random.default_rng(0).normal(size=manifold.dim), coordinates)


def _batch(n):
    keys = jax.random.split(jax.random.key(1), n)
    return jax.jit(jax.vmap(NORMAL.initialize))(keys)


def _mixture():
    return jax.jit(hm.Mixture(NORMAL, 2).initialize)(jax.random.key(0))


def test_arithmetic_keeps_manifold_coordinates_and_dtype():
    p = _point(coordinates=MEAN)
    arithmetic = lambda p: (p + p, p - p, 2 * p, p / 3, -p, np.float64(2) * p)  # noqa: E731
    for result in compute(arithmetic, p):
        assert result.manifold == NORMAL
        assert result.coordinates is MEAN
        assert result.location.dtype == p.location.dtype


def test_points_of_other_kinds_cannot_be_combined():
    natural, mean = _point(), _point(coordinates=MEAN)
    with pytest.raises(TypeError, match="natural and a mean point"):
        natural + mean
    with pytest.raises(TypeError, match="different manifolds"):
        natural - _point(hm.Normal(2, hm.Diagonal()))
    with pytest.raises(TypeError, match="a point and a point"):
        natural + 1.0
    with pytest.raises(TypeError, match="by a scalar"):
        natural * jnp.ones(2)
    with pytest.raises(ValueError, match="batch"):
        natural + _batch(3)


def test_indices_are_checked():
    batch = _batch(3)
    assert_close(batch[jnp.asarray(2)], batch[-1], 0)
    for index in (3, -4):
        with pytest.raises(IndexError, match="out of"):
            batch[index]
    with pytest.raises(TypeError, match="no length"):
        batch[0][0]
    assert batch[0], "a single point has no length but is true"


def test_batches_of_batches():

    def initialize(keys):
        batch = jax.vmap(jax.vmap(NORMAL.initialize))(keys)
        return batch, batch[1], batch[1][2], NORMAL.initialize(keys[1, 2])

    batch, row, one, expected = compute(initialize, jax.random.split(jax.random.key(0), (2, 3)))
    assert batch.batch_shape == (2, 3)
    assert row.batch_shape == (3,)
    assert_close(one, expected)


def test_dot_refuses_what_has_no_pairing():
    theta, eta = _point(), _point(coordinates=MEAN)
    with pytest.raises(TypeError, match="two natural points"):
        hm.dot(theta, theta)
    with pytest.raises(TypeError, match="two mean points"):
        hm.dot(eta, eta)
    with pytest.raises(TypeError, match="one manifold"):
        hm.dot(theta, _point(hm.Categorical(3), MEAN))
    batch = _batch(2)
    with pytest.raises(ValueError, match="single points"):
        hm.dot(batch, jax.jit(jax.vmap(NORMAL.to_mean))(batch))


def test_gradient_passes_further_arguments_on():

    def both(key, x):
        point = NORMAL.initialize(key)
        found = hm.gradient(NORMAL.log_density)(point, x)
        return found, NORMAL.sufficient_statistic(x) - NORMAL.to_mean(point)

    assert_close(*compute(both, jax.random.key(0), np.ones(2)))


def test_repr_names_every_part():
    text = repr(_mixture())
    for word in ("natural point of Mixture", "observable", "interaction", "rows", "latent"):
        assert word in text
    assert "batch (3,)" in repr(_batch(3))
    assert "mean point" in repr(_point(coordinates=MEAN))


@pytest.mark.parametrize("clone", [copy.deepcopy, lambda p: pickle.loads(pickle.dumps(p))])
def test_points_survive_copies_and_pickles(clone):
    point = _mixture()
    again = clone(point)
    assert again.manifold == point.manifold and again.coordinates is NATURAL
    assert_close(again, point, 0)


def test_leaves_of_the_wrong_shape_are_refused():
    with pytest.raises(ValueError, match="values of a point"):
        hm.geometry.VectorPoint(jnp.zeros(4), hm.Categorical(3), NATURAL)
    with pytest.raises(ValueError, match="location of a point"):
        hm.families.LocationShape(jnp.zeros(3), jnp.zeros((2, 2)), NORMAL, NATURAL)
    with pytest.raises(ValueError, match="batch axes"):
        hm.families.LocationShape(jnp.zeros((4, 2)), jnp.zeros((3, 2, 2)), NORMAL, NATURAL)


def test_parts_of_other_manifolds_are_refused():
    model, point = hm.Mixture(NORMAL, 2), _mixture()
    with pytest.raises(TypeError, match="consists of points of"):
        model.point(point.latent, point.interaction, point.latent)
