"""Relative entropies are not negative, vanish at equality, and are what samples say."""

import jax.numpy as jnp

from tests.catalogue import CATALOGUE
from tests.laws.cases import N_DRAWS, over


@over(CATALOGUE, both=CATALOGUE)
def test_relative_entropy_is_positive_and_zero_at_equality(case):
    divergence = case.jit("relative_entropy")
    assert float(divergence(case.point, case.other)) > 0
    assert float(divergence(case.other, case.point)) > 0
    case.close(divergence(case.point, case.point), 0.0, 1e2)


@over(CATALOGUE)
def test_relative_entropy_is_the_average_log_ratio_of_densities(case):
    densities = case.jit("log_densities")
    ratios = densities(case.point, case.draws) - densities(case.other, case.draws)
    expected = case.jit("relative_entropy")(case.point, case.other)
    standard_error = jnp.std(ratios) / N_DRAWS**0.5
    # At five standard errors, a correct law fails once in a million seeds.
    assert abs(float(jnp.mean(ratios) - expected)) <= 5 * float(standard_error)
