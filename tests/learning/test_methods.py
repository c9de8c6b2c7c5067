"""The extrapolation of accelerated EM, on maps whose fixed points are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.learning import methods
from tests.numbers import eps

FAMILY = hm.Normal(3, hm.Identity())
START = FAMILY.unravel(jnp.asarray([1.0, -2.0, 0.5]))


def steps(rate, objective, n_steps):
    """Points at which steps start, and their states, for the map that shrinks points by a rate."""
    one = jnp.ones(())
    no = jnp.asarray(False)
    state = methods._Squarem(START, START, -jnp.inf * one, no, no, jnp.inf * one, one)
    params, path = START, []
    for _ in range(n_steps):
        step = methods._extrapolate(params, params * rate, objective(params), state)
        path.append((params, step))
        params, state = step.params, step.state
    return path


def size(point):
    return float(jnp.sum(FAMILY.ravel(point) ** 2))


def negative_size(point):
    return -jnp.sum(FAMILY.ravel(point) ** 2)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_two_steps_of_a_linear_map_lead_to_its_fixed_point(rate):
    path = steps(rate, negative_size, 3)
    assert size(path[1][0]) == pytest.approx(rate**2 * size(START))
    assert size(path[2][0]) < (1e4 * eps()) ** 2
    assert not any(bool(step.rejected) for _, step in path)


def test_a_worse_point_is_given_up_and_the_next_ones_are_less_far_away():
    """The objective falls to nothing near the fixed point, where full extrapolation leads."""

    def objective(point):
        return jnp.where(size(point) < 0.1, -jnp.inf, negative_size(point))

    path = steps(0.98, objective, 9)
    rejected = [bool(step.rejected) for _, step in path]
    assert rejected[:3] == [False, False, True]
    # Back to where the pair of steps led.
    np.testing.assert_allclose(size(path[3][0]), 0.98**4 * size(START), rtol=1e-5)
    tried = [float(step.state.length) for _, step in path]
    assert tried[1] == pytest.approx(50, rel=1e-3)
    assert tried[4] == pytest.approx(50 / methods.GROWTH, rel=1e-3)
    values = [float(step.value) for _, step in path if not bool(step.rejected)]
    assert np.all(np.diff(values) >= 0)


def test_the_limit_grows_again_where_it_is_reached():
    one, no = jnp.ones(()), jnp.asarray(False)
    state = methods._Squarem(START, START, -jnp.inf * one, ~no, no, 4 * one, one)
    after = methods._extrapolate(START * 0.99, START * 0.99**2, negative_size(START), state)
    assert float(after.state.length) == 4
    assert float(after.state.limit) == 4 * methods.GROWTH
    jax.tree.map(
        lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-4),
        after.params,
        START * (1 - 2 * 4 * 0.01 + 4**2 * 0.01**2),
    )
