"""The numerical `to_natural`: starts, damping, steps, errors and derivatives."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family import duality
from harmonium.exponential_family.duality import improve_dual, solve_dual
from tests.compiled import compute
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


# The solver stops where Newton's decrement is below eps**0.6, and the last step squares it; what
# remains is rounding, times the condition number of the Fisher information, up to 1e5 here.
UNITS = 1e6


@pytest.fixture(params=POINTS)
def given(request):
    family, values = POINTS[request.param]
    return family, np.asarray(values, float)


def _solve(family, values):
    """A point, its mean, the solution for that mean, and the mean of the solution."""
    point = family.unravel(values)
    mean = family.to_mean(point)
    found = family.to_natural(mean)
    return point, mean, found, family.to_mean(found)


solve = jax.jit(_solve)


def test_it_finds_the_point_with_the_given_mean(given):
    point, mean, found, again = jax.device_get(solve(*given))
    assert isinstance(found, hm.Natural)
    assert_close(again, mean, 1e3)
    assert_close(found, point, UNITS)


@pytest.fixture
def conjugate_gradients(monkeypatch):
    """Solves Newton systems by conjugate gradients, without what was compiled to solve them."""
    monkeypatch.setattr(duality, "NEWTON_DIM", 0)
    duality._descend.clear_cache()
    yield
    duality._descend.clear_cache()


def test_it_finds_the_same_points_by_conjugate_gradients(conjugate_gradients):
    for family in (GRID, GAMMA):
        values = np.stack([np.asarray(v, float) for f, v in POINTS.values() if f == family])
        program = jax.jit(lambda values, family=family: _solve(family, values))
        # Inexact Newton steps converge linearly at the end, to what the decrement tells.
        for one in values:
            point, mean, found, again = jax.device_get(program(one))
            assert_close(again, mean, 1e3, power=0.6)
            assert_close(found, point, 1e4, power=0.6)


def test_it_solves_batches_at_once():
    vectors = np.asarray([[0.5, -1.0, 2.0], [-4.0, 3.0, 8.0], [0.0, 0.0, 0.0]])
    points, _, found, _ = compute(jax.vmap(lambda vector: solve(GRID, vector)), vectors)
    assert_close(found, points, UNITS)


def test_it_agrees_with_the_closed_form_of_the_normal(getkey):
    def both(key):
        mean = NORMAL.to_mean(NORMAL.initialize(key))
        start = NORMAL.from_mean_covariance(jnp.zeros(2), jnp.eye(2))
        return solve_dual(NORMAL, mean, start), NORMAL.to_natural(mean)

    program = jax.jit(both)
    for _ in range(3):
        assert_close(*jax.device_get(program(getkey())), 1e4)


def test_steps_that_leave_the_cone_are_damped():
    # From here, the first full Newton step ends at an indefinite precision.
    def look(mean, variances):
        start = NORMAL.from_mean_covariance(jnp.zeros(2), jnp.eye(2))
        point = NORMAL.from_mean_covariance(mean, jnp.diag(variances))
        mean = NORMAL.to_mean(point)
        matrix = NORMAL.fisher_matrix(start)
        residual = NORMAL.ravel(mean) - NORMAL.ravel(NORMAL.to_mean(start))
        undamped = NORMAL.unravel(NORMAL.ravel(start) + jnp.linalg.solve(matrix, residual))
        return NORMAL.in_domain(undamped), solve_dual(NORMAL, mean, start), point

    inside, found, point = compute(look, np.asarray([5.0, -3.0]), np.asarray([9.0, 0.1]))
    assert not inside
    assert_close(found, point, UNITS)


@jax.jit
def improve(family, values):
    """Values of the objective after some steps, and where a start at the solution ends."""
    point = family.unravel(values)
    mean, start = family.to_mean(point), family.unravel(jnp.asarray([0.1, -1.0, 0.3][: family.dim]))
    steps = [start, *(improve_dual(family, mean, start, n) for n in (1, 2, 5))]
    objectives = [hm.dot(p, mean) - family.log_partition_function(p) for p in steps]
    return objectives, point, (improve_dual(family, mean, point, 1), family.to_natural(mean, point))


def test_improving_climbs_and_a_start_at_the_solution_stays(given):
    values, point, stays = jax.device_get(improve(*given))
    # Each value is the difference of two numbers, whose rounding may hide what the last step wins.
    slack = 1e2 * eps() * (1 + max(map(abs, values)))
    assert all(b >= a - slack for a, b in itertools.pairwise(values))
    assert values[1] > values[0] + slack
    for found in stays:
        assert_close(found, point, UNITS)


@jax.jit
def solve_from_near(family, values):
    """The solution from a start that is near, and the point itself."""
    point, near = family.unravel(values), family.unravel(values * (1 + 1e-3))
    return family.to_natural(family.to_mean(point), near), point


def test_a_start_saves_steps(given, monkeypatch):
    monkeypatch.setattr(duality, "MAX_STEPS", 2)
    assert_close(*jax.device_get(solve_from_near(*given)), 1e3, power=0.5)


def test_it_says_so_if_the_steps_run_out(monkeypatch):
    mean = solve(GRID, np.asarray([-4.0, 3.0, 8.0]))[1]
    monkeypatch.setattr(duality, "MAX_STEPS", 2)
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


def _jacobians(family, values):
    """The Jacobians of the solution, forwards and backwards, and the inverse of theirs."""
    point = family.unravel(values)
    vector, solution = family.ravel(family.to_mean(point)), lambda v: _solution(family, v)
    jacobians = [mode(solution)(vector) for mode in (jax.jacfwd, jax.jacrev)]
    return jacobians, family.fisher_matrix(point)


@pytest.mark.parametrize("name", ["grid", "gamma"])
def test_derivatives_are_those_of_the_solution(name):
    _assert_derivatives(*POINTS[name])


@pytest.mark.parametrize("name", ["grid", "gamma"])
def test_derivatives_by_conjugate_gradients_are_the_same(name, conjugate_gradients):
    _assert_derivatives(*POINTS[name])


def _assert_derivatives(family, values):
    jacobians, fisher = compute(lambda v: _jacobians(family, v), np.asarray(values, float))
    for jacobian in jacobians:
        assert_close(jacobian, np.linalg.inv(fisher), 1e4, power=0.6)


def test_derivatives_match_differences():
    family, values = POINTS["gamma"]
    step = eps() ** (1 / 3)

    def look(values):
        vector, solution = family.ravel(family.to_mean(family.unravel(values))), _solution
        around = vector[None] + step * jnp.concatenate([jnp.eye(2), -jnp.eye(2)])
        jacobian = jax.jacrev(lambda v: solution(family, v))(vector)
        return jacobian, jax.vmap(lambda v: solution(family, v))(around)

    jacobian, solutions = compute(look, np.asarray(values, float))
    for i in range(2):
        difference = (solutions[i] - solutions[2 + i]) / (2 * step)
        assert_close(difference, jacobian[:, i], 1e3, power=2 / 3)


def test_second_derivatives_exist():
    # The Hessian of the negative entropy is the inverse of the Fisher information.
    def look(values):
        point = GRID.unravel(values)
        negative_entropy = lambda v: GRID.negative_entropy(GRID.unravel(v, MEAN))  # noqa: E731
        hessian = jax.jacfwd(jax.grad(negative_entropy))(GRID.ravel(GRID.to_mean(point)))
        return hessian, GRID.fisher_matrix(point)

    hessian, fisher = compute(look, np.asarray([0.5, -1.0, 2.0]))
    assert_close(hessian, np.linalg.inv(fisher), 1e4, power=0.6)


def test_a_family_without_closed_forms_has_all_that_is_derived(getkey):
    nodes, mixture = np.arange(7), hm.Mixture(GRID, 2)

    def look(key, other_key, mixture_key):
        points = GRID.initialize(key), GRID.initialize(other_key)
        params = mixture.initialize(mixture_key)
        step = mixture.expectation_maximization(params, nodes)
        return {
            "densities": [GRID.log_densities(point, nodes) for point in points],
            "divergence": GRID.relative_entropy(*points),
            "observable": mixture.log_observable_densities(params, nodes),
            "climbs": [mixture.average_log_observable_density(p, nodes) for p in (params, step)],
        }

    found = compute(look, getkey(), getkey(), getkey())
    densities, others = found["densities"]
    assert np.sum(np.exp(densities)) == pytest.approx(1, abs=1e2 * eps())
    assert_close(found["divergence"], np.sum(np.exp(densities) * (densities - others)))
    assert np.exp(found["observable"]).sum() == pytest.approx(1, abs=1e2 * eps())
    before, after = found["climbs"]
    assert after > before


def test_fisher_takes_single_points_of_the_family():
    batch = jax.jit(jax.vmap(NORMAL.initialize))(jax.random.split(jax.random.key(0), 2))
    point = jax.jit(NORMAL.initialize)(jax.random.key(0))
    with pytest.raises(ValueError, match=r"jax\.vmap"):
        NORMAL.fisher_matrix(batch)
    with pytest.raises(TypeError, match="expected a"):
        NORMAL.fisher_product(point, hm.Categorical(3).zeros())
