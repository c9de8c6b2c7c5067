"""Normals: standard parameters, starts on awkward data, affine maps; densities are in oracles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.numbers import assert_close

STRUCTURES = {
    "full": (hm.PositiveDefinite(), [[2.0, 0.3, 0.1], [0.3, 1.0, -0.2], [0.1, -0.2, 0.5]]),
    "diagonal": (hm.Diagonal(), [2.0, 1.0, 0.5]),
    "scale": (hm.Scale(), 1.7),
    "identity": (hm.Identity(), None),
}
MEAN = [1.0, -2.0, 0.5]


def _dense(covariance):
    if covariance is None:
        return np.eye(3)
    covariance = np.asarray(covariance)
    return covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, (3,)))


@pytest.fixture(params=STRUCTURES)
def given(request):
    structure, covariance = STRUCTURES[request.param]
    return hm.Normal(3, structure), covariance


def test_the_default_structure_is_the_fullest():
    assert hm.Normal(3) == hm.Normal(3, hm.PositiveDefinite())


def test_mean_and_covariance_round_trip(given):
    normal, covariance = given
    point = normal.from_mean_covariance(MEAN, covariance)
    assert_close(normal.mean(point), np.asarray(MEAN))
    if covariance is None:
        assert normal.covariance(point) is None
    else:
        assert_close(normal.covariance(point), np.asarray(covariance))


def test_natural_and_mean_parameters_are_those_of_the_textbook(given):
    normal, covariance = given
    point = normal.from_mean_covariance(MEAN, covariance)
    dense, mean = _dense(covariance), np.asarray(MEAN)
    precision = np.linalg.inv(dense)
    structure = normal.covariance_structure
    assert_close(point.location, precision @ mean)
    if covariance is not None:
        assert_close(structure.dense(point.shape, 3), -precision / 2)
    moments = normal.to_mean(point)
    assert_close(moments.location, mean)
    second = structure.matrix_from_moment(moments.shape, 3)
    expected = structure.matrix_from_moment(
        structure.cross_moment(
            *(jnp.asarray(np.linalg.cholesky(dense + np.outer(mean, mean)).T),) * 2
        ),
        3,
    )
    assert_close(second, expected)
    log_determinant = np.linalg.slogdet(dense)[1]
    psi = (mean @ precision @ mean + log_determinant) / 2
    assert_close(normal.log_partition_function(point), psi)


def test_structures_agree_where_they_overlap(getkey):
    full, diagonal, scale, identity = (hm.Normal(3, s) for s, _ in STRUCTURES.values())
    xs = jax.random.normal(getkey(), (5, 3))
    densities = [
        full.log_densities(full.from_mean_covariance(MEAN, np.eye(3)), xs),
        diagonal.log_densities(diagonal.from_mean_covariance(MEAN, np.ones(3)), xs),
        scale.log_densities(scale.from_mean_covariance(MEAN, 1.0), xs),
        identity.log_densities(identity.from_mean_covariance(MEAN), xs),
    ]
    for found in densities[1:]:
        assert_close(found, densities[0])


AWKWARD = {
    "constant": np.zeros((5, 3)),
    "constant_column": np.asarray([[0.0, 1, 2], [0, 2, 1], [0, 3, 5], [0, 0, 1]]),
    "one_observation": np.asarray([[1.0, -2.0, 3.0]]),
    "duplicates": np.asarray([[1.0, -2.0, 3.0], [0.0, 1, 1]] * 4),
    "collinear": np.outer(np.arange(6.0), [1.0, 2.0, -1.0]),
    "integers": np.arange(12).reshape(4, 3) ** 2,
    "large": 1e6 * np.asarray([[1.0, 2, 0], [2, 1, 1], [0, 1, 3], [1, 1, 1]]),
}


@pytest.mark.parametrize("name", AWKWARD)
def test_starts_are_valid_on_awkward_data(given, name, getkey):
    normal, _ = given
    xs = AWKWARD[name]
    point = normal.initialize_from_sample(getkey(), xs)
    assert bool(normal.in_domain(point))
    assert np.all(np.isfinite(normal.log_densities(point, xs)))
    spread = 1 + np.std(xs)
    assert np.max(np.abs(normal.mean(point) - np.mean(xs, axis=0))) < spread


def test_starts_differ_by_key_and_follow_the_data(given, getkey):
    normal, _ = given
    xs = np.asarray([10.0, -5.0, 0.0]) + np.random.default_rng(0).normal(size=(500, 3))
    first, second = (normal.initialize_from_sample(getkey(), xs) for _ in range(2))
    assert not np.array_equal(first.location, second.location)
    for point in (first, second):
        assert np.max(np.abs(normal.mean(point) - np.mean(xs, axis=0))) < 1


def test_data_need_not_be_jax_arrays(given):
    normal, covariance = given
    point = normal.from_mean_covariance(MEAN, covariance)
    expected = normal.log_density(point, jnp.asarray([1.0, 2.0, 3.0]))
    assert_close(normal.log_density(point, [1, 2, 3]), expected)
    assert_close(normal.log_densities(point, np.asarray([[1, 2, 3]]))[0], expected)


@pytest.mark.parametrize(
    ("covariance", "scale"),
    [
        (hm.PositiveDefinite(), np.asarray([[2.0, 0.5, 0.0], [0.0, 1.0, 0.3], [0.1, 0.0, -1.0]])),
        (hm.PositiveDefinite(), np.asarray([2.0, -1.0, 0.5])),
        (hm.PositiveDefinite(), np.asarray(-3.0)),
        (hm.Diagonal(), np.asarray([2.0, -1.0, 0.5])),
        (hm.Diagonal(), np.asarray(0.2)),
        (hm.Scale(), np.asarray(3.0)),
        (hm.Identity(), None),
    ],
)
def test_affine_images_have_the_moments_they_should(covariance, scale, getkey):
    normal = hm.Normal(3, covariance)
    point, shift = normal.initialize(getkey()), np.asarray([1.0, 0.0, -2.0])
    pushed = normal.push_forward(point, scale, shift)
    dense = np.eye(3) if scale is None else scale * np.eye(3) if scale.ndim < 2 else scale
    structure = normal.covariance_structure
    assert_close(normal.mean(pushed), dense @ np.asarray(normal.mean(point)) + shift)
    if covariance != hm.Identity():
        before = structure.dense(normal.covariance(point), 3)
        after = structure.dense(normal.covariance(pushed), 3)
        assert_close(after, dense @ np.asarray(before) @ dense.T)


@pytest.mark.parametrize(
    ("covariance", "scale"),
    [
        (hm.Diagonal(), np.eye(3)),
        (hm.Scale(), np.ones(3)),
        (hm.Identity(), np.asarray(2.0)),
        (hm.PositiveDefinite(), np.eye(2)),
    ],
)
def test_maps_that_leave_the_family_are_refused(covariance, scale, getkey):
    normal = hm.Normal(3, covariance)
    with pytest.raises(ValueError, match="admits"):
        normal.push_forward(normal.initialize(getkey()), scale, None)


def test_singular_maps_are_refused(getkey):
    normal = hm.Normal(3)
    with pytest.raises(ValueError, match="invertible"):
        normal.push_forward(normal.initialize(getkey()), np.asarray(0.0), None)
