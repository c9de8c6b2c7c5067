"""`to_mean` and `to_natural` are inverse to each other, and are gradients of convex conjugates."""

import jax

import harmonium as hm
from tests.laws.cases import SOLVED_KINDS, SOLVED_OR_KINDS, over


def _round_trips(given):
    """Both ways from two means, and from half way between them: the mean domain is convex."""
    means, naturals = given.to_natural
    return means, naturals, jax.vmap(lambda point: given.call("to_mean", point))(naturals)


@over(SOLVED_OR_KINDS, _round_trips)
def test_to_mean_and_to_natural_are_inverse_to_each_other(case, found):
    means, naturals, again = found
    assert isinstance(naturals, hm.Natural) and isinstance(again, hm.Mean)
    # The last step of the numerical inverse is Newton's, so it is as exact as the closed forms. The
    # error is that of the mean times the condition number of the Fisher information, 1e2 to 1e3.
    case.close(naturals[0], case.point, 3e4)
    case.close(naturals[1], case.other, 3e4)
    case.close(again, means, 3e3)


def _negative_entropy(given):
    found = jax.value_and_grad(given.model.negative_entropy)(given.mean)
    potential = given.model.log_partition_function(given.point)
    return found, hm.dot(given.point, given.mean) - potential


@over(SOLVED_KINDS, _negative_entropy)
def test_negative_entropy_is_conjugate_to_the_log_partition_function(case, found):
    (value, slope), expected = found
    case.close(value, expected, 3e3)
    # Its gradient is the natural point; the derivative of `to_natural` must be right for that.
    case.close(jax.tree.leaves(slope), jax.tree.leaves(case.point), 3e4)
