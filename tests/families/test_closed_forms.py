"""Families of single numbers whose two coordinates convert in closed form, against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.compiled import compute
from tests.families import univariate

COUNTS = np.array([-1, 0, 1, 2, 5, 7, 8, 1000])
REALS = np.array([-np.inf, -3.0, 0.0, 1e-9, 0.3, 1.0, 2.5, 40.0, np.inf])
PROBABILITIES = (1e-6, 0.2, 0.97)
SCALES = (1e-6, 0.4, 3e5)


def _entries():
    """Family, constructor, accessor, values of the standard parameter, and scipy's distribution."""
    binomial, waiting = hm.Binomial(7), hm.NegativeBinomial(2.5)
    laplace, weibull = hm.Laplace(0.3), hm.Weibull(1.7)
    stats = scipy.stats
    return {
        "bernoulli": (hm.Bernoulli(), "probability", PROBABILITIES, stats.bernoulli),
        "binomial": (binomial, "probability", PROBABILITIES, lambda p: stats.binom(7, p)),
        "poisson": (hm.Poisson(), "rate", (1e-6, 0.3, 1e3), stats.poisson),
        "geometric": (hm.Geometric(), "probability", (1e-3, 0.2, 0.97), stats.geom),
        "negative_binomial": (
            waiting,
            "probability",
            (1e-6, 0.2, 0.97),
            lambda p: stats.nbinom(2.5, 1 - p),
        ),
        "exponential": (hm.Exponential(), "rate", SCALES, lambda r: stats.expon(scale=1 / r)),
        "laplace": (laplace, "scale", SCALES, lambda b: stats.laplace(0.3, b)),
        "weibull": (weibull, "scale", SCALES, lambda b: stats.weibull_min(1.7, scale=b)),
    }


ENTRIES = _entries()
CASES = [(name, value) for name, entry in ENTRIES.items() for value in entry[2]]


def _grid(family, oracle):
    if jnp.issubdtype(family.observation.dtype, jnp.integer):
        return COUNTS
    middle = oracle.ppf([0.001, 0.3, 0.9])
    xs = np.concatenate([REALS, middle])
    # At the edge of the support scipy's density of a Weibull is zero or infinite.
    return xs[(xs != 0) & (xs < np.inf)] if isinstance(family, hm.Weibull) else xs


@pytest.mark.parametrize(("name", "value"), CASES)
def test_it_is_the_distribution_of_scipy(name, value):
    family, parameter, _, frozen = ENTRIES[name]
    oracle = frozen(value)
    xs = _grid(family, oracle)
    build, accessor = getattr(family, f"from_{parameter}"), getattr(family, parameter)
    _, again, densities, mean, variance = univariate.evaluate(build, (accessor,), (value,), xs)
    assert float(again[0]) == pytest.approx(value, rel=1e-9)
    univariate.assert_densities(densities, oracle, xs)
    univariate.assert_moments(mean, variance, oracle)


@pytest.mark.parametrize("name", ENTRIES)
def test_samples_follow_the_distribution_of_scipy(name, getkey):
    family, parameter, values, frozen = ENTRIES[name]
    build = getattr(family, f"from_{parameter}")
    for value in values:
        univariate.assert_sampler(build, (value,), getkey(), frozen(value))


@pytest.mark.parametrize("name", ENTRIES)
def test_starts_are_valid(name, getkey):
    family = ENTRIES[name][0]
    if isinstance(family, hm.Bernoulli | hm.Binomial):
        samples = [[0], [1, 1, 1], [0, 1, 1]]
    elif isinstance(family, hm.Geometric):
        samples = [[1], [1, 1, 1], [5, 5, 5], [1, 2, 10**6]]
    elif jnp.issubdtype(family.observation.dtype, jnp.integer):
        samples = [[0], [0] * 4, [3] * 4, [10**6], [0, 1, 2, 100]]
    else:
        samples = [[0.3], [1e-9] * 3, [1.0, 2.0, 2.0], [1e7, 1e7, 3e7]]
    univariate.assert_starts(family, getkey(), samples)


OUTSIDE = {
    "bernoulli": ([0.0], [1.0]),
    "binomial": ([0.0], [7.0]),
    "poisson": ([0.0], [-1.0]),
    "geometric": ([1.0], [0.5]),
    "negative_binomial": ([0.0], [-1.0]),
    "exponential": ([0.0], [-1.0]),
    "laplace": ([0.0], [-1.0]),
    "weibull": ([0.0], [-1.0]),
}


@pytest.mark.parametrize("name", ENTRIES)
def test_domains(name):
    family = ENTRIES[name][0]

    def check(means, naturals):
        mean = lambda values: family.check(family.unravel(values, hm.Coordinates.MEAN))  # noqa: E731
        natural = lambda values: family.check(family.unravel(values))  # noqa: E731
        return jax.vmap(mean)(means), jax.vmap(natural)(naturals)

    naturals = np.array([[0.0], [0.5], [-0.7]])
    outside, inside = compute(check, np.array(OUTSIDE[name]), naturals)
    assert not np.any(outside)
    bounded = not isinstance(family, hm.Bernoulli | hm.Binomial | hm.Poisson)
    assert list(inside) == [not bounded, not bounded, True]


@pytest.mark.parametrize("name", ENTRIES)
@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_standard_parameters_are_checked(name, value):
    family, parameter, _, _ = ENTRIES[name]
    with pytest.raises(ValueError, match=r"must be (positive and finite|between 0 and 1)"):
        getattr(family, f"from_{parameter}")(value)


@pytest.mark.parametrize("name", ENTRIES)
def test_data_outside_the_support_are_refused(name):
    family = ENTRIES[name][0]
    integers = jnp.issubdtype(family.observation.dtype, jnp.integer)
    with pytest.raises(ValueError, match="outside the support"):
        family.average_sufficient_statistic([1, -1] if integers else [1.0, np.nan])


@pytest.mark.parametrize(
    ("build", "phrase"),
    [
        (lambda: hm.Binomial(0), "at least one trial"),
        (lambda: hm.NegativeBinomial(0), "positive n_failures"),
        (lambda: hm.Laplace(np.inf), "finite location"),
        (lambda: hm.Weibull(-1.0), "positive shape"),
    ],
)
def test_known_parameters_are_checked(build, phrase):
    with pytest.raises(ValueError, match=phrase):
        build()


def test_plurals_are_replicated():
    assert hm.Poissons(3) == hm.Replicated(hm.Poisson(), 3)
    assert hm.Bernoullis(3) == hm.Replicated(hm.Bernoulli(), 3)


def test_counts_far_from_the_mean_have_finite_densities():
    poisson = hm.Poisson()
    assert np.isfinite(compute(lambda: poisson.log_density(poisson.from_rate(1e-6), 10**6)))


def test_means_of_many_points_round_trip():
    values = np.linspace(-14, 14, 1000)[:, None]
    found = univariate.assert_dual(hm.Poisson(), values)
    np.testing.assert_allclose(found, values, rtol=1e-12, atol=1e-12)
