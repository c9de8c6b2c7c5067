"""Families of single numbers whose two coordinates convert in closed form, against scipy."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
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


def _build(name, value):
    family, parameter, _, oracle = ENTRIES[name]
    point = getattr(family, f"from_{parameter}")(value)
    return family, point, oracle(value), float(getattr(family, parameter)(point))


def _grid(family, oracle):
    if jnp.issubdtype(family.observation.dtype, jnp.integer):
        return COUNTS
    middle = oracle.ppf([0.001, 0.3, 0.9])
    xs = np.concatenate([REALS, middle])
    # At the edge of the support scipy's density of a Weibull is zero or infinite.
    return xs[(xs != 0) & (xs < np.inf)] if isinstance(family, hm.Weibull) else xs


@pytest.mark.parametrize(("name", "value"), CASES)
def test_it_is_the_distribution_of_scipy(name, value):
    family, point, oracle, found = _build(name, value)
    assert found == pytest.approx(value, rel=1e-9)
    univariate.assert_densities(family, point, oracle, _grid(family, oracle))
    univariate.assert_moments(family, point, oracle)


@pytest.mark.parametrize("name", ENTRIES)
def test_samples_follow_the_distribution_of_scipy(name, getkey):
    for value in ENTRIES[name][2]:
        family, point, oracle, _ = _build(name, value)
        univariate.assert_sampler(family, getkey(), point, oracle)


@pytest.mark.parametrize("name", ENTRIES)
def test_starts_are_valid(name, getkey):
    family = ENTRIES[name][0]
    if isinstance(family, hm.Bernoulli | hm.Binomial):
        samples = [[0], [1, 1], [0, 1, 1]]
    elif isinstance(family, hm.Geometric):
        samples = [[1], [1, 1], [5, 5], [1, 2, 10**6]]
    elif jnp.issubdtype(family.observation.dtype, jnp.integer):
        samples = [[0], [0, 0, 0], [3, 3], [10**6], [0, 1, 2, 100]]
    else:
        samples = [[0.3], [1e-9, 1e-9], [1.0, 2.0, 2.0], [1e7, 3e7]]
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
    for values in OUTSIDE[name]:
        assert not bool(family.check(family.unravel(jnp.asarray(values), hm.Coordinates.MEAN)))
    bounded = not isinstance(family, hm.Bernoulli | hm.Binomial | hm.Poisson)
    for theta in (0.0, 0.5):
        assert bool(family.check(family.unravel(jnp.asarray([theta])))) == (not bounded)
    assert bool(family.check(family.unravel(jnp.asarray([-0.7]))))


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
    point = hm.Poisson().from_rate(1e-6)
    assert np.isfinite(hm.Poisson().log_density(point, 10**6))


def test_means_of_many_points_round_trip():
    points = jax.vmap(hm.Poisson().unravel)(jnp.linspace(-14, 14, 1000)[:, None])
    found = univariate.assert_dual(hm.Poisson(), points)
    np.testing.assert_allclose(found.values, points.values, rtol=1e-12, atol=1e-12)
