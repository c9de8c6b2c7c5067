"""Normals: standard parameters, starts on awkward data, affine maps; densities are in oracles."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
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
    return covariance if covariance.ndim == 2 else np.diag(np.broadcast_to(covariance, (3,)))


@pytest.fixture(params=STRUCTURES)
def given(request):
    structure, covariance = STRUCTURES[request.param]
    return hm.Normal(3, structure), None if covariance is None else np.asarray(covariance)


@jax.jit
def describe(normal, covariance):
    """What the normal of this mean and covariance is like, in both coordinates."""
    point = normal.from_mean_covariance(MEAN, covariance)
    densities = [
        normal.log_density(point, jnp.asarray([1.0, 2.0, 3.0])),
        normal.log_density(point, [1, 2, 3]),
        normal.log_densities(point, np.asarray([[1, 2, 3]]))[0],
    ]
    return {
        "mean": normal.mean(point),
        "covariance": normal.covariance(point),
        "natural": point,
        "moments": normal.to_mean(point),
        "log partition": normal.log_partition_function(point),
        "densities": densities,
    }


@pytest.fixture
def described(given):
    return jax.device_get(describe(*given))


def test_the_default_structure_is_the_fullest():
    assert hm.Normal(3) == hm.Normal(3, hm.PositiveDefinite())


def test_mean_and_covariance_round_trip(given, described):
    _, covariance = given
    assert_close(described["mean"], np.asarray(MEAN))
    if covariance is None:
        assert described["covariance"] is None
    else:
        assert_close(described["covariance"], covariance)


# What each structure keeps of a precision, and of a second moment.
PRECISIONS = {
    hm.PositiveDefinite(): lambda matrix: matrix,
    hm.Diagonal(): np.diagonal,
    hm.Scale(): lambda matrix: matrix[0, 0],
    hm.Identity(): lambda _: np.zeros(0),
}
MOMENTS = {**PRECISIONS, hm.Scale(): np.trace}


def test_natural_and_mean_parameters_are_those_of_the_textbook(given, described):
    normal, covariance = given
    dense, mean = _dense(covariance), np.asarray(MEAN)
    precision, structure = np.linalg.inv(dense), normal.covariance_structure
    assert_close(described["natural"].location, precision @ mean)
    assert_close(described["natural"].shape, PRECISIONS[structure](-precision / 2))
    assert_close(described["moments"].location, mean)
    assert_close(described["moments"].shape, MOMENTS[structure](dense + np.outer(mean, mean)))
    log_determinant = np.linalg.slogdet(dense)[1]
    psi = (mean @ precision @ mean + log_determinant) / 2
    assert_close(described["log partition"], psi)


def test_structures_agree_where_they_overlap():
    full, diagonal, scale, identity = (hm.Normal(3, s) for s, _ in STRUCTURES.values())

    def densities(xs):
        return [
            full.log_densities(full.from_mean_covariance(MEAN, np.eye(3)), xs),
            diagonal.log_densities(diagonal.from_mean_covariance(MEAN, np.ones(3)), xs),
            scale.log_densities(scale.from_mean_covariance(MEAN, 1.0), xs),
            identity.log_densities(identity.from_mean_covariance(MEAN), xs),
        ]

    first, *others = compute(densities, np.random.default_rng(0).normal(size=(5, 3)))
    for found in others:
        assert_close(found, first)


# Of eight observations each, but for the one, as what is compiled serves one shape.
AWKWARD = {
    "constant": np.zeros((8, 3)),
    "constant_column": np.asarray([[0.0, 1, 2], [0, 2, 1], [0, 3, 5], [0, 0, 1]] * 2),
    "one_observation": np.asarray([[1.0, -2.0, 3.0]]),
    "duplicates": np.asarray([[1.0, -2.0, 3.0], [0.0, 1, 1]] * 4),
    "collinear": np.outer(np.arange(8.0), [1.0, 2.0, -1.0]),
    "integers": np.arange(24).reshape(8, 3) ** 2,
    "large": 1e6 * np.asarray([[1.0, 2, 0], [2, 1, 1], [0, 1, 3], [1, 1, 1]] * 2),
}


@jax.jit
def start(normal, key, xs):
    """Of a start from a sample: whether it is valid, its mean, location, and densities."""
    point = normal.initialize_from_sample(key, xs)
    densities = normal.log_densities(point, xs)
    return normal.in_domain(point), normal.mean(point), point.location, densities


@pytest.mark.parametrize("name", AWKWARD)
def test_starts_are_valid_on_awkward_data(given, name, getkey):
    normal, _ = given
    xs = AWKWARD[name]
    valid, mean, _, densities = jax.device_get(start(normal, getkey(), xs))
    assert valid
    assert np.all(np.isfinite(densities))
    assert np.max(np.abs(mean - np.mean(xs, axis=0))) < 1 + np.std(xs)


def test_starts_differ_by_key_and_follow_the_data(given, getkey):
    normal, _ = given
    xs = np.asarray([10.0, -5.0, 0.0]) + np.random.default_rng(0).normal(size=(500, 3))
    starts = [jax.device_get(start(normal, getkey(), xs)) for _ in range(2)]
    (_, _, first, _), (_, _, second, _) = starts
    assert not np.array_equal(first, second)
    for _, mean, _, _ in starts:
        assert np.max(np.abs(mean - np.mean(xs, axis=0))) < 1


def test_data_need_not_be_jax_arrays(described):
    of_jax, *others = described["densities"]
    for density in others:
        assert_close(density, of_jax)


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
    normal, shift = hm.Normal(3, covariance), np.asarray([1.0, 0.0, -2.0])

    def push(key):
        point = normal.initialize(key)
        points = point, normal.push_forward(point, scale, shift)
        return [(normal.mean(p), normal.covariance(p)) for p in points]

    before, after = compute(push, getkey())
    dense = np.eye(3) if scale is None else scale * np.eye(3) if scale.ndim < 2 else scale
    assert_close(after[0], dense @ before[0] + shift)
    if covariance != hm.Identity():
        assert_close(_dense(after[1]), dense @ _dense(before[1]) @ dense.T)


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
    point = jax.jit(normal.initialize)(getkey())
    with pytest.raises(ValueError, match="admits"):
        normal.push_forward(point, scale, None)


def test_singular_maps_are_refused(getkey):
    normal = hm.Normal(3)
    point = jax.jit(normal.initialize)(getkey())
    with pytest.raises(ValueError, match="invertible"):
        normal.push_forward(point, np.asarray(0.0), None)
