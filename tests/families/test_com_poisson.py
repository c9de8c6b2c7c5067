"""Conway-Maxwell-Poisson counts, against sums of high precision."""

import functools

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from harmonium.families.com_poisson import CoMPoisson
from harmonium.families.com_poisson_sums import geometric_log_factorial
from tests.compiled import compute
from tests.families import univariate

FAMILY = CoMPoisson()
MEAN = hm.Coordinates.MEAN
GRID = [(m, d) for m in (0.01, 0.3, 2.5, 33.3, 1000.0) for d in (0.1, 1.0, 5.0, 20.0)]
# Where the window starts late, and where its nodes are not integers.
FAR = [(1039.0, 0.1), (1060.0, 0.1), (5e3, 1.0), (1e4, 0.5)]
NEAR_GEOMETRIC = [(1e-4, 0.01), (3.0, 0.02)]


class Oracle:
    """The distribution by sums of 40 digits over all counts that matter."""

    def __init__(self, mode, dispersion):
        with mpmath.workdps(40):
            mode, dispersion = mpmath.mpf(mode), mpmath.mpf(dispersion)
            width = float(mpmath.sqrt(mode / dispersion))
            self.first = max(0, int(mode - 12 * width))
            last = int(mode + 14 * width + 60 / min(float(dispersion), 1) + 60)
            logs = [mpmath.loggamma(self.first + 1)]
            for x in range(self.first + 1, last):
                logs.append(logs[-1] + mpmath.log(x))
            rate, top = mpmath.log(mode), mpmath.loggamma(int(mode) + 1)
            shift = dispersion * (int(mode) * rate - top)
            counts = range(self.first, last)
            terms = [
                mpmath.exp(dispersion * (x * rate - log) - shift)
                for x, log in zip(counts, logs, strict=True)
            ]
            total = mpmath.fsum(terms)
            self.log_partition = mpmath.log(total) + shift
            average = lambda values: mpmath.fdot(terms, values) / total  # noqa: E731
            self.statistics = average(counts), average(logs)
            self.variance = average([x**2 for x in counts]) - self.statistics[0] ** 2
            self.probabilities = np.array([float(t / total) for t in terms])

    def cdf(self, xs):
        places = np.clip(np.asarray(xs) - self.first, -1, len(self.probabilities) - 1)
        return np.concatenate([np.cumsum(self.probabilities), [0.0]])[places]


@functools.cache
def _oracle(mode, dispersion):
    return Oracle(mode, dispersion)


def _values(pairs):
    """Natural values of modes and dispersions."""
    modes, dispersions = np.asarray(pairs, float).T
    return np.stack([dispersions * np.log(modes), -dispersions], axis=1)


def _relative(found, expected):
    return abs(float((mpmath.mpf(float(found)) - expected) / expected))


def test_sums_are_exact():
    pairs = GRID + FAR + NEAR_GEOMETRIC

    def sums(values):
        point = FAMILY.unravel(values)
        log_partition, mean = FAMILY.log_partition_function(point), FAMILY.to_mean(point)
        return FAMILY.admits(point), log_partition, mean.values, FAMILY.variance(point)

    values = _values(pairs)
    admitted, log_partitions, means, variances = compute(jax.vmap(sums), values)
    assert np.all(admitted)
    for i, (mode, dispersion) in enumerate(pairs):
        # The oracle's parameters are those that the natural point says, to 40 digits.
        with mpmath.workdps(40):
            exact = -mpmath.mpf(float(values[i, 1]))
            oracle = _oracle(mpmath.exp(mpmath.mpf(float(values[i, 0])) / exact), exact)
            error = abs(float(mpmath.mpf(float(log_partitions[i])) - oracle.log_partition))
            assert error < 1e-9 * max(1, float(oracle.log_partition) / 100), (mode, dispersion)
            for found, expected in zip(means[i], oracle.statistics, strict=True):
                assert _relative(found, expected) < 1e-11
            assert _relative(variances[i], oracle.variance) < 1e-10


def test_densities_are_those_of_poisson_and_near_those_of_geometric():
    counts = np.array([-3, 0, 1, 7, 40])

    def densities():
        nearly = FAMILY.unravel(jnp.asarray([np.log(0.6), -1e-12]))
        points = FAMILY.from_mode_dispersion(6.5, 1.0), nearly
        return [FAMILY.log_densities(point, counts) for point in points]

    poisson, geometric = compute(densities)
    univariate.assert_densities(poisson, scipy.stats.poisson(6.5), counts)
    univariate.assert_densities(geometric, scipy.stats.geom(0.4, loc=-1), counts)


@pytest.mark.parametrize(("mode", "dispersion"), [(0.3, 0.1), (2.5, 20.0), (33.3, 1.0), (1e4, 0.5)])
def test_samples(mode, dispersion, getkey):
    build, oracle = FAMILY.from_mode_dispersion, _oracle(mode, dispersion)
    univariate.assert_sampler(build, (mode, dispersion), getkey(), oracle)


def test_standard_parameters_round_trip():
    def there_and_back():
        point = FAMILY.from_mode_dispersion(40, 2)
        return FAMILY.mode(point), FAMILY.dispersion(point)

    mode, dispersion = compute(there_and_back)
    assert float(mode) == pytest.approx(40, rel=1e-13)
    assert float(dispersion) == 2.0


def test_the_dual_converges_for_all_modes_and_dispersions():
    generator = np.random.default_rng(0)
    modes = 10 ** generator.uniform(-2, 3, 1000)
    dispersions = 10 ** generator.uniform(-1, np.log10(20), 1000)
    corners = [(m, d) for m in (0.01, 1.0, 1000.0) for d in (0.1, 1.0, 20.0)]
    values = _values([*zip(modes, dispersions, strict=True), *corners])
    check = lambda v: FAMILY.check(FAMILY.to_mean(FAMILY.unravel(v)))  # noqa: E731
    assert np.all(compute(jax.vmap(check), values))
    univariate.assert_dual(FAMILY, values)


@pytest.mark.parametrize("pair", [(0.8, 0.3), (30.0, 2.0)])
def test_the_derivative_of_the_dual(pair):
    univariate.assert_implicit_derivative(FAMILY, _values([pair])[0])


def test_improvement_ascends_and_gets_there():
    gain = lambda p, mean: hm.dot(p, mean) - FAMILY.log_partition_function(p)  # noqa: E731

    def improve(start, target):
        start, mean = FAMILY.unravel(start), FAMILY.to_mean(FAMILY.unravel(target))
        once = FAMILY.improve(mean, start)
        twice, best = FAMILY.improve(mean, once), FAMILY.to_natural(mean)
        # More dispersed than geometric: no estimate, but an improvement inside the domain.
        beyond = FAMILY.average_sufficient_statistic([0, 1, 2, 100])
        improved = FAMILY.improve(beyond, start)
        gains = [gain(p, mean) for p in (start, once)], [gain(p, beyond) for p in (start, improved)]
        return gains, twice.values, best.values, FAMILY.check(improved)

    gains, twice, best, valid = compute(improve, *_values([(3.0, 1.0), (5.0, 2.5)]))
    assert all(after > before for before, after in gains)
    np.testing.assert_allclose(twice, best, rtol=1e-6)
    assert valid


log_factorial = jax.jit(lambda mean: geometric_log_factorial(jnp.asarray(mean)))


@pytest.mark.parametrize("mean", [1e-3, 0.7, 5.0, 49.99, 50.01, 1e4])
def test_the_bound_of_the_mean_domain_is_geometric(mean):
    with mpmath.workdps(30):
        ratio = mpmath.mpf(mean) / (1 + mpmath.mpf(mean))
        # Where there are many terms, the later ones by the Euler-Maclaurin formula of mpmath.
        term = lambda n: mpmath.log(n) * ratio**n  # noqa: E731
        expected = mpmath.fsum(term(n) for n in range(2, 4000))
        if mean > 100:
            expected += mpmath.sumem(term, [4000, mpmath.mpf(80 * mean)], tol=1e-15)
        found = log_factorial(mean)
        assert _relative(found, expected) < 1e-11


OUTSIDE = {
    "no count but zero": [0.0, 0.0],
    "constant": [3.0, np.log(6.0)],
    "two neighbours": [1.5, 0.5 * np.log(2)],
    "below": [4.0, 1.0],
    "more than geometric": [25.75, 91.0],
    "negative": [-1.0, 0.5],
    "NaN": [np.nan, 1.0],
}


@jax.jit
def check(point):
    """Whether a point is inside its domain."""
    return FAMILY.check(point)


@pytest.mark.parametrize("name", OUTSIDE)
def test_means_outside_the_domain_raise(name):
    mean = FAMILY.unravel(jnp.asarray(OUTSIDE[name]), MEAN)
    assert not check(mean)
    with pytest.raises(ValueError, match="outside the mean domain"):
        FAMILY.to_natural(mean)


def test_points_that_cannot_be_summed_are_refused():
    def look(values):
        point = FAMILY.unravel(values)
        numbers = (
            FAMILY.log_partition_function(point),
            FAMILY.to_mean(point),
            FAMILY.variance(point),
        )
        sample = FAMILY.sample(jax.random.key(0), point)
        return (FAMILY.check(point), FAMILY.admits(point)), numbers, sample

    values = [[0.0, 0.0], [1.0, 0.5], [-1.0, 0.0], [0.01 * np.log(1e4), -0.01], [1e30, -1e29]]
    checks, numbers, samples = compute(jax.vmap(look), np.array(values))
    assert not np.any(checks)
    assert all(np.all(np.isnan(leaf)) for leaf in jax.tree.leaves(numbers))
    np.testing.assert_array_equal(samples, -1)


def test_starts_are_valid(getkey):
    samples = [[0], [0] * 4, [3] * 4, [10**6], [0, 1, 2, 100], [0, 0, 10**5, 10**5], [7, 8, 9, 8]]
    univariate.assert_starts(FAMILY, getkey(), samples)


def test_counts_are_not_negative():
    with pytest.raises(ValueError, match="outside the support of CoMPoisson"):
        FAMILY.average_sufficient_statistic([1, -1])


@pytest.mark.parametrize(
    ("mode", "dispersion", "phrase"),
    [
        (0.0, 1.0, "mode of CoMPoisson.*positive"),
        (np.inf, 1.0, "mode of CoMPoisson.*finite"),
        (1.0, -2.0, "dispersion of CoMPoisson.*positive"),
        (1.0, np.nan, "dispersion of CoMPoisson.*positive"),
        (1e5, 0.001, "can't be summed.*0.1 or more"),
    ],
)
def test_bad_parameters(mode, dispersion, phrase):
    with pytest.raises(ValueError, match=phrase):
        FAMILY.from_mode_dispersion(mode, dispersion)
