"""The gradient of the log partition function is the mean."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import over


def _central_differences(model, step, point):
    """The derivative of the formula along each minimal coordinate, without autodiff."""
    vector = model.ravel(point)

    def along(direction):
        ahead = model.log_partition_kernel(model.unravel(vector + step * direction))
        behind = model.log_partition_kernel(model.unravel(vector - step * direction))
        return (ahead - behind) / (2 * step)

    return jax.vmap(along)(jnp.eye(model.dim, dtype=vector.dtype))


def _gradients(model, point):
    return hm.gradient(model.log_partition_function)(point), hm.gradient(
        model.log_partition_kernel
    )(point)


@over(CATALOGUE)
def test_central_differences_of_the_log_partition_function_are_the_mean(case):
    slopes = case.jit(_central_differences, case.eps ** (1 / 3))(case.point)
    # Both the truncation and the rounding errors are near eps**(2/3) times the third derivative.
    case.close(slopes, case.model.ravel(case.mean), 3e2, power=2 / 3)


@over(CATALOGUE, both=CATALOGUE)
def test_gradients_of_the_log_partition_function_are_the_mean(case):
    by_rule, through_formula = case.jit(_gradients)(case.point)
    assert isinstance(by_rule, hm.Mean)
    case.close(by_rule, case.mean, 1e2)
    # A special `to_mean` is a performance hook: it must equal autodiff through the formula.
    case.close(through_formula, case.mean, 1e4)
