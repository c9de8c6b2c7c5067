"""The batch hooks, the minimal coordinates and the chunks agree with their definitions."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.catalogue import CATALOGUE, MANIFOLDS
from tests.laws.cases import GENERIC, GENERIC_CONJUGATED, N_DATA, over

N_POINTS = 3


def _signed_weights(case):
    """Weights of either sign that do not sum to one."""
    return jax.random.normal(jax.random.key(11), (N_DATA, N_POINTS), case.dtype)


def _naive_sums(model, xs, weights):
    statistics = jax.vmap(model.sufficient_statistic)(xs)
    return jax.tree.map(lambda leaf: jnp.tensordot(weights.T, leaf, axes=1), statistics)


@over(CATALOGUE, both=CATALOGUE)
def test_sum_statistics_are_weighted_sums_of_statistics(case):
    weights = _signed_weights(case)
    found = case.jit("sum_statistics")(case.xs, weights)
    assert isinstance(found, hm.Mean) and found.batch_shape == (N_POINTS,)
    case.close(found, case.jit(_naive_sums)(case.xs, weights), 1e2)


def _indefinite_points(model, key):
    """Natural points anywhere, most of them outside the natural domain."""
    vectors = jax.random.normal(key, (N_POINTS, model.dim))
    return jax.vmap(model.unravel)(vectors)


def _naive_pairs(model, points, xs):
    statistics = jax.vmap(model.sufficient_statistic)(xs)
    return jax.vmap(lambda s: jax.vmap(lambda p: hm.dot(p, s))(points))(statistics)


@over(CATALOGUE, both=CATALOGUE)
def test_pair_statistics_are_pairings_even_with_indefinite_points(case):
    points = case.jit(_indefinite_points)(jax.random.key(12))
    found = case.jit("pair_statistics")(points, case.xs)
    assert found.shape == (N_DATA, N_POINTS)
    case.close(found, case.jit(_naive_pairs)(points, case.xs), 1e2)


def _average_in_chunks(model, size, xs, weights):
    return model.average_sufficient_statistic(xs, weights, batch_size=size)


@over(GENERIC)
def test_average_statistics_are_the_same_in_chunks(case):
    whole = case.jit(_average_in_chunks, N_DATA)(case.xs, case.weights)
    expected = case.jit(_naive_sums)(case.xs, (case.weights / jnp.sum(case.weights))[:, None])
    case.close(whole, jax.tree.map(lambda leaf: leaf[0], expected), 1e2)
    # 8 does not divide 23: the last chunk overlaps the one before it.
    case.close(case.jit(_average_in_chunks, 8)(case.xs, case.weights), whole, 1e2)


def _densities_in_chunks(model, size, point, xs):
    return model.log_densities(point, xs, batch_size=size)


@over(GENERIC)
def test_densities_are_the_same_in_chunks(case):
    whole = case.jit("log_densities")(case.point, case.xs)
    case.close(case.jit(_densities_in_chunks, 8)(case.point, case.xs), whole, 1e2)


def _observable_densities_in_chunks(model, size, point, xs):
    return model.log_observable_densities(point, xs, batch_size=size)


@over(GENERIC_CONJUGATED)
def test_observable_densities_are_the_same_in_chunks(case):
    xs = case.xs.observable
    whole = case.jit("log_observable_densities")(case.point, xs)
    found = case.jit(_observable_densities_in_chunks, 8)(case.point, xs)
    case.close(found, whole, 1e2)


def _assert_ravel(manifold, natural, mean, tolerance):
    for point in (natural, mean):
        vector = manifold.ravel(point)
        assert vector.shape == (manifold.dim,)
        again = manifold.unravel(vector, point.coordinates)
        assert jax.tree.structure(again) == jax.tree.structure(point)
        for a, b in zip(jax.tree.leaves(again), jax.tree.leaves(point), strict=True):
            assert a.dtype == b.dtype
            # Symmetric matrices that were computed are so up to rounding only.
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    pairing = hm.dot(natural, mean)
    np.testing.assert_allclose(
        manifold.ravel(natural) @ manifold.ravel(mean), pairing, rtol=0, atol=tolerance
    )


@over(CATALOGUE, both=CATALOGUE)
def test_ravel_round_trips_and_preserves_the_pairing(case):
    tolerance = 1e3 * case.eps * (1 + abs(float(hm.dot(case.point, case.mean))))
    _assert_ravel(case.model, case.point, case.mean, tolerance)


def test_ravel_round_trips_on_manifolds_without_a_partition_function(getkey):
    for build in MANIFOLDS.values():
        manifold = build()
        vectors = jax.random.normal(getkey(), (2, manifold.dim))
        natural = manifold.unravel(vectors[0], hm.Coordinates.NATURAL)
        mean = manifold.unravel(vectors[1], hm.Coordinates.MEAN)
        np.testing.assert_allclose(manifold.ravel(natural), vectors[0], rtol=1e-6)
        _assert_ravel(manifold, natural, mean, 1e-4)
