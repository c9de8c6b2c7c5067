"""`to_mean` and `to_natural` are inverse to each other, and are gradients of convex conjugates."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import SOLVED, over


def _round_trips(model, first, second):
    """Both ways from two means, and from half way between them: the mean domain is convex."""
    means = jax.tree.map(lambda a, b: jnp.stack([a, b, (a + b) / 2]), first, second)
    naturals = jax.vmap(lambda mean: model.to_natural(mean))(means)
    return means, naturals, jax.vmap(model.to_mean)(naturals)


@over(CATALOGUE, both=SOLVED)
def test_to_mean_and_to_natural_are_inverse_to_each_other(case):
    means, naturals, again = case.jit(_round_trips)(case.mean, case.other_mean)
    assert isinstance(naturals, hm.Natural) and isinstance(again, hm.Mean)
    # The last step of the numerical inverse is Newton's, so it is as exact as the closed forms. The
    # error is that of the mean times the condition number of the Fisher information, 1e2 to 1e3.
    case.close(naturals[0], case.point, 3e4)
    case.close(naturals[1], case.other, 3e4)
    case.close(again, means, 3e3)


def _negative_entropy(model, mean):
    return jax.value_and_grad(model.negative_entropy)(mean)


@over(SOLVED)
def test_negative_entropy_is_conjugate_to_the_log_partition_function(case):
    value, slope = case.jit(_negative_entropy)(case.mean)
    expected = hm.dot(case.point, case.mean) - case.jit("log_partition_function")(case.point)
    case.close(value, expected, 3e3)
    # Its gradient is the natural point; the derivative of `to_natural` must be right for that.
    case.close(jax.tree.leaves(slope), jax.tree.leaves(case.point), 3e4)
