"""The numerical `to_natural`: starts, damping, steps, errors and derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family import duality
from harmonium.exponential_family.duality import improve_dual, solve_dual
from tests.exponential_family.families_for_tests import Gamma, Grid
from tests.numbers import assert_close, eps

MEAN = hm.Coordinates.MEAN
GRID, GAMMA, NORMAL = Grid(7, 3), Gamma(), hm.Normal(2)
POINTS = {
    "grid": (GRID, [0.5, -1.0, 2.0]),
    "grid_far": (GRID, [-4.0, 3.0, 8.0]),
    "gamma": (GAMMA, [1.5, -0.7]),
    "gamma_near_the_edge": (GAMMA, [-0.9, -1e-2]),
    "gamma_far": (GAMMA, [60.0, -20.0]),
}


@pytest.fixture(params=POINTS)
def solved(request):
    family, values = POINTS[request.param]
    point = family.unravel(jnp.asarray(values, float))
    return family, point, family.to_mean(point)


# The solver stops where Newton's decrement is below eps**0.6, and the last step squares it; what
# remains is rounding, times the condition number of the Fisher information, up to 1e5 here.
UNITS = 1e6


def test_it_finds_the_point_with_the_given_mean(solved):
    family, point, mean = solved
    found = family.to_natural(mean)
    assert isinstance(found, hm.Natural)
    assert_close(family.to_mean(found), mean, 1e3)
    assert_close(found, point, UNITS)


def test_it_finds_the_same_point_by_conjugate_gradients(solved, monkeypatch):
    family, point, mean = solved
    monkeypatch.setattr(duality, "NEWTON_DIM", 0)
    found = family.to_natural(mean)
    # Inexact Newton steps converge linearly at the end, to what the decrement tells.
    assert_close(family.to_mean(found), mean, 1e3, power=0.6)
    assert_close(found, point, 1e4, power=0.6)


def test_it_solves_batches_at_once():
    vectors = jnp.asarray([[0.5, -1.0, 2.0], [-4.0, 3.0, 8.0], [0.0, 0.0, 0.0]])
    points = jax.vmap(GRID.unravel)(vectors)
    found = jax.vmap(lambda mean: GRID.to_natural(mean))(jax.vmap(GRID.to_mean)(points))
    assert_close(found, points, UNITS)


def test_it_agrees_with_the_closed_form_of_the_normal(getkey):
    for _ in range(3):
        mean = NORMAL.to_mean(NORMAL.initialize(getkey()))
        start = NORMAL.from_mean_covariance(jnp.zeros(2), jnp.eye(2))
        assert_close(solve_dual(NORMAL, mean, start), NORMAL.to_natural(mean), 1e4)


def test_steps_that_leave_the_cone_are_damped():
    # From here, the first full Newton step ends at an indefinite precision.
    start = NORMAL.from_mean_covariance(jnp.zeros(2), jnp.eye(2))
    point = NORMAL.from_mean_covariance(jnp.asarray([5.0, -3.0]), jnp.diag(jnp.asarray([9.0, 0.1])))
    mean = NORMAL.to_mean(point)
    matrix = NORMAL.fisher_matrix(start)
    residual = NORMAL.ravel(mean) - NORMAL.ravel(NORMAL.to_mean(start))
    undamped = NORMAL.unravel(NORMAL.ravel(start) + jnp.linalg.solve(matrix, residual))
    assert not bool(NORMAL.in_domain(undamped))
    assert_close(solve_dual(NORMAL, mean, start), point, UNITS)


def _objective(family, mean, point):
    return float(hm.dot(point, mean) - family.log_partition_function(point))


def test_improving_climbs_and_a_start_at_the_solution_stays(solved):
    family, point, mean = solved
    start = family.unravel(jnp.asarray([0.1, -1.0, 0.3][: family.dim]))
    values = [_objective(family, mean, start)]
    values += [_objective(family, mean, improve_dual(family, mean, start, n)) for n in (1, 2, 5)]
    # Each value is the difference of two numbers, whose rounding may hide what the last step wins.
    slack = 1e2 * eps() * (1 + max(map(abs, values)))
    assert all(b >= a - slack for a, b in itertools.pairwise(values))
    assert values[1] > values[0] + slack
    assert_close(improve_dual(family, mean, point, 1), point, UNITS)
    assert_close(family.to_natural(mean, point), point, UNITS)


def test_a_start_saves_steps(solved, monkeypatch):
    family, point, mean = solved
    monkeypatch.setattr(duality, "MAX_STEPS", 2)
    near = family.unravel(family.ravel(point) * (1 + 1e-3))
    assert_close(family.to_natural(mean, near), point, 1e3, power=0.5)


def test_it_says_so_if_the_steps_run_out(monkeypatch):
    monkeypatch.setattr(duality, "MAX_STEPS", 2)
    mean = GRID.to_mean(GRID.unravel(jnp.asarray([-4.0, 3.0, 8.0])))
    with pytest.raises(ValueError, match="did not converge"):
        GRID.to_natural(mean)


@pytest.mark.parametrize(
    ("family", "values"),
    [
        (GRID, [0.5, 0.1, 0.1]),  # a second moment below the squared mean
        (GAMMA, [1.0, 2.0]),  # the mean of the logarithm above the logarithm of the mean
    ],
    ids=["second_moment_too_small", "mean_logarithm_too_large"],
)
def test_means_outside_the_mean_domain_are_an_error(family, values):
    mean = family.unravel(jnp.asarray(values, float), MEAN)
    with pytest.raises(ValueError, match="outside the mean domain"):
        family.to_natural(mean)
    with pytest.raises(Exception, match="outside the mean domain"):
        jax.block_until_ready(jax.jit(lambda m: family.to_natural(m))(mean))


def _solution(family, vector):
    return family.ravel(family.to_natural(family.unravel(vector, MEAN)))


@pytest.mark.parametrize("newton_dim", [1000, 0], ids=["newton", "conjugate_gradients"])
@pytest.mark.parametrize("mode", [jax.jacfwd, jax.jacrev], ids=["forward", "reverse"])
@pytest.mark.parametrize("name", ["grid", "gamma"])
def test_derivatives_are_those_of_the_solution(name, mode, newton_dim, monkeypatch):
    monkeypatch.setattr(duality, "NEWTON_DIM", newton_dim)
    family, values = POINTS[name]
    point = family.unravel(jnp.asarray(values, float))
    vector = family.ravel(family.to_mean(point))
    jacobian = mode(lambda v: _solution(family, v))(vector)
    inverse = np.linalg.inv(np.asarray(family.fisher_matrix(point), float))
    assert_close(jacobian, inverse, 1e4, power=0.6)


def test_derivatives_match_differences():
    family, values = POINTS["gamma"]
    vector = family.ravel(family.to_mean(family.unravel(jnp.asarray(values, float))))
    step = eps() ** (1 / 3)
    jacobian = jax.jacrev(lambda v: _solution(family, v))(vector)
    for i, direction in enumerate(jnp.eye(2)):
        ahead = _solution(family, vector + step * direction)
        behind = _solution(family, vector - step * direction)
        assert_close((ahead - behind) / (2 * step), jacobian[:, i], 1e3, power=2 / 3)


def test_second_derivatives_exist():
    # The Hessian of the negative entropy is the inverse of the Fisher information.
    point = GRID.unravel(jnp.asarray([0.5, -1.0, 2.0]))
    vector = GRID.ravel(GRID.to_mean(point))

    def negative_entropy(v):
        return GRID.negative_entropy(GRID.unravel(v, MEAN))

    hessian = jax.jacfwd(jax.grad(negative_entropy))(vector)
    inverse = np.linalg.inv(np.asarray(GRID.fisher_matrix(point), float))
    assert_close(hessian, inverse, 1e4, power=0.6)


def test_a_family_without_closed_forms_has_all_that_is_derived(getkey):
    point, other = GRID.initialize(getkey()), GRID.initialize(getkey())
    nodes = jnp.arange(7)
    densities = np.asarray(GRID.log_densities(point, nodes), float)
    assert np.sum(np.exp(densities)) == pytest.approx(1, abs=1e2 * eps())
    others = np.asarray(GRID.log_densities(other, nodes), float)
    divergence = np.sum(np.exp(densities) * (densities - others))
    assert_close(GRID.relative_entropy(point, other), divergence)
    mixture = hm.Mixture(GRID, 2)
    params = mixture.initialize(getkey())
    total = np.exp(np.asarray(mixture.log_observable_densities(params, nodes), float)).sum()
    assert total == pytest.approx(1, abs=1e2 * eps())
    step = mixture.expectation_maximization(params, nodes)
    before = mixture.average_log_observable_density(params, nodes)
    assert mixture.average_log_observable_density(step, nodes) > before


def test_fisher_takes_single_points_of_the_family():
    point = NORMAL.initialize(jax.random.key(0))
    batch = jax.vmap(NORMAL.initialize)(jax.random.split(jax.random.key(0), 2))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        NORMAL.fisher_matrix(batch)
    with pytest.raises(TypeError, match="expected a"):
        NORMAL.fisher_product(point, hm.Categorical(3).zeros())
