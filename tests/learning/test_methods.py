"""The extrapolation of accelerated EM, on maps whose fixed points are known."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.learning import methods
from tests.compiled import compute
from tests.numbers import eps

FAMILY = hm.Normal(3, hm.Identity())


def size(point):
    return jnp.sum(FAMILY.ravel(point) ** 2)


def negative_size(point):
    return -size(point)


def start():
    return FAMILY.unravel(jnp.asarray([1.0, -2.0, 0.5]))


def steps(rate, objective, n_steps):
    """The sizes of points at which steps start, and the steps, for a map that shrinks points."""

    def path():
        one, no = jnp.ones(()), jnp.asarray(False)
        state = methods._Squarem(start(), start(), -jnp.inf * one, no, no, jnp.inf * one, one)

        def step(carry, _):
            params, state = carry
            step = methods._extrapolate(params, params * rate, objective(params), state)
            return (step.params, step.state), (size(params), step)

        return jax.lax.scan(step, (start(), state), length=n_steps)[1]

    return compute(path)


@pytest.mark.parametrize("rate", [0.5, 0.9, 0.99])
def test_two_steps_of_a_linear_map_lead_to_its_fixed_point(rate):
    sizes, taken = steps(rate, negative_size, 3)
    assert sizes[1] == pytest.approx(rate**2 * sizes[0])
    assert sizes[2] < (1e4 * eps()) ** 2
    assert not np.any(taken.rejected)


def test_a_worse_point_is_given_up_and_the_next_ones_are_less_far_away():
    """The objective falls to nothing near the fixed point, where full extrapolation leads."""

    def objective(point):
        return jnp.where(size(point) < 0.1, -jnp.inf, negative_size(point))

    sizes, taken = steps(0.98, objective, 9)
    assert taken.rejected[:3].tolist() == [False, False, True]
    # Back to where the pair of steps led.
    np.testing.assert_allclose(sizes[3], 0.98**4 * sizes[0], rtol=1e-5)
    tried = taken.state.length
    assert tried[1] == pytest.approx(50, rel=1e-3)
    assert tried[4] == pytest.approx(50 / methods.GROWTH, rel=1e-3)
    assert np.all(np.diff(taken.value[~taken.rejected]) >= 0)


def test_the_limit_grows_again_where_it_is_reached():
    def step():
        one, no = jnp.ones(()), jnp.asarray(False)
        state = methods._Squarem(start(), start(), -jnp.inf * one, ~no, no, 4 * one, one)
        shrunk = start() * 0.99
        after = methods._extrapolate(shrunk, shrunk * 0.99, negative_size(start()), state)
        return after, start() * (1 - 2 * 4 * 0.01 + 4**2 * 0.01**2)

    after, expected = compute(step)
    assert after.state.length == 4
    assert after.state.limit == 4 * methods.GROWTH
    for a, b in zip(*map(jax.tree.leaves, (after.params, expected)), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4)
