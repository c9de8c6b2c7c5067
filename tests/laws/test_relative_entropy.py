"""Relative entropies are not negative, vanish at equality, and are what samples say."""

import numpy as np

from tests.laws.cases import KINDS, N_DRAWS, over


def _entropies(given):
    return given.relative_entropies


@over(KINDS, _entropies)
def test_relative_entropy_is_positive_and_zero_at_equality(case, found):
    there, back, itself = found
    assert there > 0 and back > 0
    case.close(itself, 0.0, 1e2)


def _ratios(given):
    densities = [given.call("log_densities", p, given.draws) for p in (given.point, given.other)]
    return densities[0] - densities[1], given.relative_entropies[0]


@over(KINDS, _ratios)
def test_relative_entropy_is_the_average_log_ratio_of_densities(found):
    ratios, expected = found
    standard_error = np.std(ratios) / N_DRAWS**0.5
    # At five standard errors, a correct law fails once in a million seeds.
    assert abs(np.mean(ratios) - expected) <= 5 * standard_error
