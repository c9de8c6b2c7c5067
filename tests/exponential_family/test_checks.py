"""Checks of values and weights, in and outside compiled functions."""

import jax
import jax.numpy as jnp
import pytest

from harmonium.exponential_family.checks import all_finite, check_weights, require
from tests.numbers import assert_close


def test_what_is_required_passes_through():
    assert require("value", jnp.asarray(True), "never") == "value"


def test_a_violated_requirement_is_a_value_error():
    with pytest.raises(ValueError, match="the message"):
        require(1.0, jnp.asarray(False), "the message")


def test_a_violated_requirement_is_an_error_in_compiled_functions():
    @jax.jit
    def function(x):
        return require(x, x > 0, "must be positive")

    assert float(function(2.0)) == 2.0
    with pytest.raises(Exception, match="must be positive"):
        jax.block_until_ready(function(-1.0))


def test_all_finite():
    assert bool(all_finite({"a": jnp.ones(2), "b": jnp.zeros(())}))
    assert not bool(all_finite({"a": jnp.ones(2), "b": jnp.asarray(jnp.nan)}))
    assert not bool(all_finite([jnp.asarray([1.0, jnp.inf])]))
    assert bool(all_finite(()))


def test_weights_are_normalised():
    dtype = jnp.zeros(()).dtype
    assert_close(check_weights(None, 4, dtype), jnp.full(4, 0.25))
    assert_close(check_weights([1, 3], 2, dtype), jnp.asarray([0.25, 0.75]))
    assert check_weights(None, 4, jnp.float32).dtype == jnp.float32


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ([1.0, 2.0], "one weight for each of 3"),
        ([[1.0], [1.0], [1.0]], "one weight for each of 3"),
        ([1.0, -1.0, 1.0], "not negative"),
        ([0.0, 0.0, 0.0], "not all zero"),
        ([1.0, float("nan"), 1.0], "finite"),
        ([1.0, float("inf"), 1.0], "finite"),
    ],
)
def test_bad_weights_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        check_weights(weights, 3, jnp.zeros(()).dtype)
