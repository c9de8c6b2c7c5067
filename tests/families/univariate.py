"""What every family of single numbers is tested on, against scipy's distributions.

Bound methods of families are pytrees without leaves: what is compiled for one of them serves all
standard parameters that it is called with.
"""

import functools

import jax
import jax.numpy as jnp
import numpy as np

from tests.numbers import assert_close


@jax.jit
def evaluate(build, accessors, parameters, xs):
    """What a distribution with known standard parameters is like.

    **Arguments:** `build` makes a point of the `parameters`, which `accessors` read again; `xs` are
    observations.

    **Returns:** the point, the parameters, the log densities, the mean and the variance.
    """
    point = build(*parameters)
    family, again = point.manifold, [accessor(point) for accessor in accessors]
    return point, again, family.log_densities(point, xs), family.mean(point), family.variance(point)


def assert_densities(found, oracle, xs):
    """Log densities equal those of a frozen scipy distribution, and are -inf where its are."""
    log_prob = oracle.logpmf if hasattr(oracle, "logpmf") else oracle.logpdf
    expected = log_prob(np.asarray(xs))
    found = np.asarray(found)
    assert not np.any(np.isnan(found))
    # Some of scipy's log densities are logarithms of densities, which underflow far out.
    underflow = np.isneginf(expected) & (found < -700)
    np.testing.assert_array_equal(np.isneginf(found) | underflow, np.isneginf(expected))
    finite = np.isfinite(expected)
    assert np.any(finite)
    assert_close(found[finite], expected[finite], 1e5)


def assert_moments(mean, variance, oracle, rtol=1e-9):
    """Mean and variance equal those of a frozen scipy distribution."""
    np.testing.assert_allclose(mean, oracle.mean(), rtol=rtol)
    np.testing.assert_allclose(variance, oracle.var(), rtol=rtol)


def threshold(n_draws):
    """What the empirical and the true distribution function differ by, but for one in 1e9 samples.

    The largest distance is, for n draws, above sqrt(log(2 / alpha) / 2 n) with probability alpha at
    most (Dvoretzky, Kiefer, Wolfowitz; Massart 1990), for discrete distributions as well.
    """
    return np.sqrt(np.log(2 / 1e-9) / (2 * n_draws))


@functools.partial(jax.jit, static_argnames="n_draws")
def _draw(build, parameters, key, n_draws):
    point = build(*parameters)
    family = point.manifold
    draws = jnp.sort(family.sample(key, point, (n_draws,)))
    statistics = jax.vmap(lambda x: family.sufficient_statistic(x).values)(draws)
    return draws, statistics, family.to_mean(point).values


def assert_sampler(build, parameters, key, oracle, n_draws=20_000):
    """Samples of the distribution with these standard parameters follow one of scipy."""
    draws, statistics, mean = jax.device_get(_draw(build, parameters, key, n_draws))
    below = np.searchsorted(draws, draws, side="right") / n_draws
    above = np.searchsorted(draws, draws, side="left") / n_draws
    integers = np.issubdtype(draws.dtype, np.integer)
    upper = oracle.cdf(draws)
    lower = oracle.cdf(draws - 1) if integers else upper
    assert np.max(np.abs(below - upper)) < threshold(n_draws)
    assert np.max(np.abs(above - lower)) < threshold(n_draws)
    # Mean statistics within five standard errors, which sees what distribution functions don't; one
    # draw is allowed for, since rare events may not occur at all.
    errors = np.std(statistics, axis=0) / np.sqrt(n_draws)
    assert np.all(np.abs(np.mean(statistics, axis=0) - mean) <= 5 * errors + 1 / n_draws)


@jax.jit
def _there_and_back(family, values):
    def one(vector):
        mean = family.to_mean(family.unravel(vector))
        found = family.to_natural(mean)
        return mean.values, found.values, family.to_mean(found).values, family.in_domain(found)

    return jax.vmap(one)(values)


def assert_dual(family, values, rtol=1e-8):
    """The numerical `to_natural` reaches the means of a batch of natural values, to `rtol`.

    **Returns:** the natural values that were found.
    """
    means, found, again, valid = jax.device_get(_there_and_back(family, values))
    assert np.all(valid)
    np.testing.assert_allclose(again, means, rtol=rtol)
    return found


@jax.jit
def _slopes(family, vector):
    mean = family.to_mean(family.unravel(vector))

    def to_natural(values):
        return family.to_natural(family.unravel(values, mean.coordinates)).values

    steps = 1e-5 * jnp.eye(family.dim)
    around = mean.values[None] + jnp.concatenate([steps, -steps])
    ahead, behind = jnp.split(jax.vmap(to_natural)(around), 2)
    return jax.jacobian(to_natural)(mean.values), (ahead - behind).T / 2e-5


def assert_implicit_derivative(family, vector):
    """The derivative of `to_natural` is that of central differences, at natural values."""
    found, differences = jax.device_get(_slopes(family, np.asarray(vector, float)))
    np.testing.assert_allclose(found, differences, rtol=1e-4)


@jax.jit
def _random_starts(family, keys):
    return jax.vmap(lambda key: family.check(family.initialize(key)))(keys)


@jax.jit
def _start(family, key, xs):
    point = family.initialize_from_sample(key, xs)
    return point, family.log_densities(point, xs)


@jax.jit
def _check(family, point):
    return family.check(point) & family.check(family.to_mean(point))


def assert_starts(family, key, samples):
    """Random and data-driven starts are inside the domain, and the latter are not far away.

    Samples of one length share what is compiled.
    """
    assert np.all(_random_starts(family, jax.random.split(key, 50)))
    for xs in samples:
        point, densities = _start(family, key, np.asarray(xs))
        assert _check(family, point)
        assert np.all(np.isfinite(densities))
