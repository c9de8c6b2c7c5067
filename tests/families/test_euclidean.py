"""Real vectors as a statistic: no partition function, but everything linear."""

import jax
import numpy as np

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

SPACE = hm.families.Euclidean(3)


def test_the_statistic_is_the_vector_itself():
    x = np.asarray([1.0, -2.0, 0.5])
    statistic, log_measure = compute(
        lambda x: (SPACE.sufficient_statistic(x), SPACE.log_base_measure(x)), x
    )
    assert_close(statistic.values, x, 0)
    assert isinstance(statistic, hm.Mean)
    assert float(log_measure) == 0
    assert not isinstance(SPACE, hm.Differentiable)


def test_energies_are_products_and_averages_those_of_vectors():
    rng = np.random.default_rng(0)
    xs, values = rng.normal(size=(5, 3)), rng.normal(size=3)

    def look(xs, values):
        average = SPACE.average_sufficient_statistic(xs, np.arange(5.0))
        point = SPACE.unravel(values)
        return jax.vmap(lambda x: SPACE.energy(point, x))(xs), average.values

    energies, average = compute(look, xs, values)
    assert_close(energies, xs @ values)
    assert_close(average, np.average(xs, axis=0, weights=np.arange(5)))


def test_the_support_is_what_is_finite():
    xs = np.array([[1.0, 1.0, 1.0], [1.0, np.nan, 0.0], [1.0, np.inf, 0.0]])
    assert list(compute(jax.vmap(SPACE.in_support), xs)) == [True, False, False]
