"""Performance hooks: special versions equal the defaults they stand for."""

import jax

from harmonium.exponential_family.duality import solve_dual
from tests.catalogue import FAMILIES
from tests.laws.cases import over


def _dual(given):
    found = solve_dual(given.model, given.mean, given.other)
    return found, jax.tree.map(lambda leaf: leaf[0], given.to_natural[1])


# The solver sees a model through its log partition function only: a few models stand for all.
CLOSED_FORM = [*FAMILIES, "linear_diagonal_full", "mixture_full", "hierarchy_2"]


@over(CLOSED_FORM, _dual)
def test_closed_forms_of_to_natural_equal_the_numerical_dual(case, found):
    case.close(*found, 3e4)
