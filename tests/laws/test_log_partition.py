"""The gradient of the log partition function is the mean."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import KINDS, over


def _central_differences(given):
    """The derivative of the formula along each minimal coordinate, without autodiff."""
    model, step = given.model, given.eps ** (1 / 3)
    vector = model.ravel(given.point)

    def along(direction):
        ahead = given.call("log_partition_kernel", model.unravel(vector + step * direction))
        behind = given.call("log_partition_kernel", model.unravel(vector - step * direction))
        return (ahead - behind) / (2 * step)

    slopes = jax.vmap(along)(jnp.eye(model.dim, dtype=given.dtype))
    return slopes, model.ravel(given.mean)


@over(KINDS, _central_differences)
def test_central_differences_of_the_log_partition_function_are_the_mean(case, found):
    # Both the truncation and the rounding errors are near eps**(2/3) times the third derivative.
    case.close(*found, 3e2, power=2 / 3)


def _gradients(given):
    functions = given.model.log_partition_function, given.model.log_partition_kernel
    return [hm.gradient(function)(given.point) for function in functions]


@over(CATALOGUE, _gradients)
def test_gradients_of_the_log_partition_function_are_the_mean(case, found):
    by_rule, through_formula = found
    assert isinstance(by_rule, hm.Mean)
    case.close(by_rule, case.mean, 1e2)
    # A special `mean_kernel` is a performance hook: it must equal autodiff through the formula.
    case.close(through_formula, case.mean, 1e4)
