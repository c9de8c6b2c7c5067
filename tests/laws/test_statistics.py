"""The energies, the minimal coordinates and the chunks agree with their definitions."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family.evidence import sum_statistics
from tests.catalogue import MANIFOLDS
from tests.compiled import compute
from tests.laws.cases import GENERIC, GENERIC_CONJUGATED, KINDS, N_DATA, over

N_POINTS = 3


def _naive_sum(model, xs, weights):
    statistics = jax.vmap(model.sufficient_statistic)(xs)
    return jax.tree.map(lambda leaf: jnp.tensordot(weights, leaf, axes=1), statistics)


def _sums(given):
    """With weights of either sign that do not sum to one."""
    weights = np.random.default_rng(11).normal(size=N_DATA).astype(given.dtype)
    xs, weights = given.xs, jnp.asarray(weights)
    return sum_statistics(given.model, xs, weights), _naive_sum(given.model, xs, weights)


@over(KINDS, _sums)
def test_sums_of_statistics_are_gradients_of_energies(case, found):
    assert isinstance(found[0], hm.Mean)
    case.close(*found, 1e2)


def _energies(given):
    """With natural points anywhere, most of them outside the natural domain."""
    model, xs = given.model, given.xs
    vectors = np.random.default_rng(12).normal(size=(N_POINTS, model.dim)).astype(given.dtype)
    points = jax.vmap(model.unravel)(jnp.asarray(vectors))
    statistics = jax.vmap(model.sufficient_statistic)(xs)
    expected = jax.vmap(lambda s: jax.vmap(lambda p: hm.dot(p, s))(points))(statistics)
    return jax.vmap(lambda x: jax.vmap(lambda p: model.energy(p, x))(points))(xs), expected


@over(KINDS, _energies)
def test_energies_are_pairings_even_with_indefinite_points(case, found):
    assert found[0].shape == (N_DATA, N_POINTS)
    case.close(*found, 1e2)


# 8 does not divide 23: the last chunk overlaps the one before it.
CHUNK = 8


def _averages(given):
    xs, weights = given.xs, given.weights
    expected = _naive_sum(given.model, xs, weights / jnp.sum(weights))
    sizes = N_DATA, CHUNK
    averages = [given.model.average_sufficient_statistic(xs, weights, batch_size=n) for n in sizes]
    return averages, expected


@over(GENERIC, _averages)
def test_average_statistics_are_the_same_in_chunks(case, found):
    (whole, chunks), expected = found
    case.close(whole, expected, 1e2)
    case.close(chunks, whole, 1e2)


def _densities(given):
    return given.model.log_densities(given.point, given.xs, batch_size=CHUNK), given.log_densities


@over(GENERIC, _densities)
def test_densities_are_the_same_in_chunks(case, found):
    case.close(*found, 1e2)


def _observable_densities(given):
    xs = given.data
    found = given.model.log_observable_densities(given.point, xs, batch_size=CHUNK)
    return found, given.log_observable_densities


@over(GENERIC_CONJUGATED, _observable_densities)
def test_observable_densities_are_the_same_in_chunks(case, found):
    case.close(*found, 1e2)


def _coordinates(manifold, natural, mean):
    """Minimal coordinates of both points, the points made of them again, and the pairing."""
    vectors = [manifold.ravel(point) for point in (natural, mean)]
    again = manifold.unravel(vectors[0]), manifold.unravel(vectors[1], hm.Coordinates.MEAN)
    return vectors, again, hm.dot(natural, mean)


def _assert_coordinates(manifold, points, found, tolerance):
    vectors, again, pairing = found
    for point, vector, other in zip(points, vectors, again, strict=True):
        assert vector.shape == (manifold.dim,)
        assert jax.tree.structure(other) == jax.tree.structure(point)
        for a, b in zip(jax.tree.leaves(other), jax.tree.leaves(point), strict=True):
            assert a.dtype == b.dtype
            # Symmetric matrices that were computed are so up to rounding only.
            np.testing.assert_allclose(a, b, rtol=0, atol=tolerance)
    np.testing.assert_allclose(vectors[0] @ vectors[1], pairing, rtol=0, atol=tolerance)


def _coordinates_of_the_points(given):
    return _coordinates(given.model, given.point, given.mean)


@over(KINDS, _coordinates_of_the_points)
def test_ravel_round_trips_and_preserves_the_pairing(case, found):
    tolerance = 1e3 * case.eps * (1 + abs(float(found[-1])))
    _assert_coordinates(case.model, (case.point, case.mean), found, tolerance)


@pytest.mark.parametrize("name", MANIFOLDS)
def test_ravel_round_trips_on_manifolds_without_a_partition_function(name):
    manifold = MANIFOLDS[name]()
    vectors = np.random.default_rng(0).normal(size=(2, manifold.dim))

    def make(vectors):
        points = manifold.unravel(vectors[0]), manifold.unravel(vectors[1], hm.Coordinates.MEAN)
        return points, _coordinates(manifold, *points)

    points, found = compute(make, jnp.asarray(vectors, float))
    np.testing.assert_allclose(found[0], vectors, rtol=1e-6)
    _assert_coordinates(manifold, points, found, 1e-4)
