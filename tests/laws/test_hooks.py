"""Performance hooks, such as `natural_kernel`, equal the defaults that they stand for."""

import jax

import harmonium as hm
from harmonium.exponential_family.duality import solve_dual
from tests.catalogue import FAMILIES
from tests.laws.cases import over


def _dual(given):
    model, mean, start = given.model, given.mean, given.other
    found = solve_dual(model, mean, start)
    better = model.improve(mean, start)
    gain = hm.dot(better - start, mean) + model.log_partition_function(start)
    gain = gain - model.log_partition_function(better)
    closed = jax.tree.map(lambda leaf: leaf[0], given.to_natural[1])
    return found, closed, gain, model.admits_mean(mean)


# The solver sees a model through its log partition function only: a few models stand for all.
CLOSED_FORM = [*FAMILIES, "linear_diagonal_full", "mixture_full", "hierarchy_2"]


@over(CLOSED_FORM, _dual)
def test_closed_forms_of_to_natural_equal_the_numerical_dual(case, found):
    solved, closed, _, _ = found
    case.close(solved, closed, 3e4)


@over(CLOSED_FORM, _dual)
def test_what_the_numerical_dual_would_find_is_admitted_and_better_than_the_start(case, found):
    _, _, gain, admits_mean = found
    assert gain > 0, "improve"
    assert admits_mean, "admits_mean"
