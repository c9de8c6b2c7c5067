"""What every family of single numbers is tested on, against scipy's distributions."""

import jax
import jax.numpy as jnp
import numpy as np

from tests.numbers import assert_close


def assert_densities(family, point, oracle, xs):
    """Log densities equal those of a frozen scipy distribution, and are -inf where its are."""
    log_prob = oracle.logpmf if hasattr(oracle, "logpmf") else oracle.logpdf
    expected = log_prob(np.asarray(xs))
    found = np.asarray(family.log_densities(point, xs))
    assert not np.any(np.isnan(found))
    # Some of scipy's log densities are logarithms of densities, which underflow far out.
    underflow = np.isneginf(expected) & (found < -700)
    np.testing.assert_array_equal(np.isneginf(found) | underflow, np.isneginf(expected))
    finite = np.isfinite(expected)
    assert np.any(finite)
    assert_close(found[finite], expected[finite], 1e5)


def assert_moments(family, point, oracle, rtol=1e-9):
    """Mean and variance equal those of a frozen scipy distribution."""
    np.testing.assert_allclose(family.mean(point), oracle.mean(), rtol=rtol)
    np.testing.assert_allclose(family.variance(point), oracle.var(), rtol=rtol)


def threshold(n_draws):
    """What the empirical and the true distribution function differ by, but for one in 1e9 samples.

    The largest distance is, for n draws, above sqrt(log(2 / alpha) / 2 n) with probability alpha at
    most (Dvoretzky, Kiefer, Wolfowitz; Massart 1990), for discrete distributions as well.
    """
    return np.sqrt(np.log(2 / 1e-9) / (2 * n_draws))


def assert_sampler(family, key, point, oracle, n_draws=20_000):
    """Samples follow a scipy distribution."""
    draws = np.sort(np.asarray(jax.jit(lambda k, p: family.sample(k, p, (n_draws,)))(key, point)))
    below = np.searchsorted(draws, draws, side="right") / n_draws
    above = np.searchsorted(draws, draws, side="left") / n_draws
    integers = np.issubdtype(draws.dtype, np.integer)
    upper = oracle.cdf(draws)
    lower = oracle.cdf(draws - 1) if integers else upper
    assert np.max(np.abs(below - upper)) < threshold(n_draws)
    assert np.max(np.abs(above - lower)) < threshold(n_draws)
    # Mean statistics within five standard errors, which sees what distribution functions don't; one
    # draw is allowed for, since rare events may not occur at all.
    statistics = np.asarray(jax.vmap(lambda x: family.sufficient_statistic(x).values)(draws))
    errors = np.std(statistics, axis=0) / np.sqrt(n_draws)
    deviations = np.abs(np.mean(statistics, axis=0) - np.asarray(family.to_mean(point).values))
    assert np.all(deviations <= 5 * errors + 1 / n_draws)


def assert_dual(family, points, rtol=1e-8):
    """The numerical `to_natural` reaches the means of a whole batch of points, to `rtol`."""
    means = jax.jit(jax.vmap(family.to_mean))(points)
    found = jax.jit(jax.vmap(lambda mean: family.to_natural(mean)))(means)
    again = jax.jit(jax.vmap(family.to_mean))(found)
    assert bool(jnp.all(jax.vmap(family.in_domain)(found)))
    np.testing.assert_allclose(again.values, means.values, rtol=rtol)
    return found


def assert_implicit_derivative(family, point):
    """The derivative of `to_natural` is that of central differences."""
    to_natural = lambda m: family.to_natural(family.unravel(m, point.coordinates.dual)).values  # noqa: E731

    @jax.jit
    def slopes(mean):
        step = 1e-5 * jnp.eye(family.dim)
        ahead, behind = jax.vmap(lambda h: (to_natural(mean + h), to_natural(mean - h)))(step)
        return jax.jacobian(to_natural)(mean), (ahead - behind) / 2e-5

    found, differences = slopes(family.to_mean(point).values)
    np.testing.assert_allclose(found, differences.T, rtol=1e-4)


def assert_starts(family, key, samples):
    """Random and data-driven starts are inside the domain, and the latter are not far away."""
    starts = jax.vmap(family.initialize)(jax.random.split(key, 50))
    assert bool(jnp.all(jax.vmap(family.check)(starts)))
    for xs in samples:
        xs = np.asarray(xs)
        point = family.initialize_from_sample(key, xs)
        assert bool(family.check(point))
        assert bool(family.check(family.to_mean(point)))
        assert np.all(np.isfinite(family.log_densities(point, xs)))
