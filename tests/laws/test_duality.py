"""`to_mean` and `to_natural` are inverse to each other, and are gradients of convex conjugates."""

import jax

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import over


def _round_trip(model, mean):
    natural = model.to_natural(mean)
    return natural, model.to_mean(natural)


def _half_way(first, second):
    return jax.tree.map(lambda a, b: (a + b) / 2, first, second)


@over(CATALOGUE)
def test_to_natural_inverts_to_mean(case):
    natural, mean = case.jit(_round_trip)(case.mean)
    assert isinstance(mean, hm.Mean)
    # The last step of the numerical inverse is Newton's, so it is as exact as the closed forms. The
    # error is that of the mean times the condition number of the Fisher information, 1e2 to 1e3.
    case.close(natural, case.point, 3e4)
    case.close(mean, case.mean, 3e3)


@over(CATALOGUE)
def test_to_mean_inverts_to_natural(case):
    # The mean domain is convex: half way between two means lies another, that of no point at hand.
    target = _half_way(case.mean, case.other_mean)
    natural, mean = case.jit(_round_trip)(target)
    assert isinstance(natural, hm.Natural)
    case.close(mean, target, 3e3)


def _negative_entropy(model, mean):
    return jax.value_and_grad(model.negative_entropy)(mean)


@over(CATALOGUE)
def test_negative_entropy_is_conjugate_to_the_log_partition_function(case):
    value, slope = case.jit(_negative_entropy)(case.mean)
    expected = hm.dot(case.point, case.mean) - case.jit("log_partition_function")(case.point)
    case.close(value, expected, 3e3)
    # Its gradient is the natural point; the derivative of `to_natural` must be right for that.
    case.close(jax.tree.leaves(slope), jax.tree.leaves(case.point), 3e4)
