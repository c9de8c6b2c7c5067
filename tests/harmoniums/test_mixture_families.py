"""Mixtures over every kind of family: planted parameters are recovered, EM is monotone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import harmonium as hm
from tests.numbers import assert_close

N, N_STARTS, STEPS = 3000, 4, 60
WEIGHTS = np.asarray([0.4, 0.6])

# A family, a constructor of its points, and the arguments of two components, so far apart that a
# sample tells which is which.
PLANTED = {
    "binomial": (hm.Binomial(30), "from_probability", (0.1,), (0.7,)),
    "poisson": (hm.Poisson(), "from_rate", (2.0,), (20.0,)),
    "geometric": (hm.Geometric(), "from_probability", (0.9,), (0.01,)),
    "negative_binomial": (hm.NegativeBinomial(4.0), "from_probability", (0.2,), (0.9,)),
    "com_poisson": (hm.CoMPoisson(), "from_mode_dispersion", (3.0, 0.7), (25.0, 3.0)),
    "exponential": (hm.Exponential(), "from_rate", (50.0,), (0.1,)),
    "gamma": (hm.Gamma(), "from_shape_rate", (3.0, 6.0), (30.0, 2.0)),
    "inverse_gamma": (hm.InverseGamma(), "from_shape_scale", (5.0, 2.0), (40.0, 500.0)),
    "inverse_gaussian": (hm.InverseGaussian(), "from_mean_shape", (0.5, 3.0), (10.0, 500.0)),
    "log_normal": (hm.LogNormal(), "from_mu_sigma", (-2.0, 0.5), (2.0, 0.3)),
    "weibull": (hm.Weibull(3.0), "from_scale", (1.0,), (10.0,)),
    "laplace": (hm.Laplace(0.5), "from_scale", (0.01,), (5.0,)),
    "beta": (hm.Beta(), "from_alpha_beta", (2.0, 30.0), (20.0, 4.0)),
    "dirichlet": (hm.Dirichlet(3), "from_concentrations", ([20.0, 4, 2],), ([2.0, 5, 30],)),
    "von_mises": (hm.VonMises(), "from_mean_concentration", (0.5, 10.0), (-2.5, 4.0)),
    "multinomial": (
        hm.Multinomial(20, 3),
        "from_probabilities",
        ([0.7, 0.2, 0.1],),
        ([0.1, 0.3, 0.6],),
    ),
    "poissons": (hm.Poissons(2), None, (2.0, 9.0), (8.0, 1.0)),
    "bernoullis": (hm.Bernoullis(3), None, (0.05, 0.05, 0.95), (0.95, 0.95, 0.05)),
}


def component(family, constructor, arguments):
    if constructor is not None:
        return getattr(family, constructor)(*arguments)
    return family.to_natural(family.unravel(jnp.asarray(arguments), hm.Coordinates.MEAN))


def fit(model: Any, xs: Any, key: Any, n_steps: int = STEPS) -> tuple[Any, np.ndarray]:
    """EM from several starts on the data, all of them monotone.

    Returns the best point, and its mean log-likelihood before each step and at the end.
    """

    def run(key):
        point = model.initialize_from_sample(key, xs)

        def body(current, _):
            score = model.average_log_observable_density(current, xs)
            return model.expectation_maximization(current, xs), score

        last, scores = jax.lax.scan(body, point, None, n_steps)
        return last, jnp.append(scores, model.average_log_observable_density(last, xs))

    points, scores = jax.jit(jax.vmap(run))(jax.random.split(key, N_STARTS))
    scores = np.asarray(scores)
    for trace in scores:
        assert_monotone(trace)
    best = int(np.argmax(scores[:, -1]))
    return points[best], scores[best]


def assert_monotone(scores):
    slack = 1e3 * float(np.finfo(scores.dtype).eps) * np.max(1 + np.abs(scores))
    assert np.all(np.isfinite(scores))
    assert np.all(np.diff(scores) >= -slack)
    assert scores[-1] > scores[0]


@pytest.mark.parametrize("name", PLANTED)
def test_planted_parameters_are_recovered(name):
    family, constructor, *arguments = PLANTED[name]
    planted = [component(family, constructor, each) for each in arguments]
    model = hm.Mixture(family, 2)
    truth = model.from_components(planted, WEIGHTS)
    xs = model.observable_sample(jax.random.key(7), truth, (N,))
    point, _ = fit(model, xs, jax.random.key(1))
    order = np.argsort(np.asarray(model.weights(point)))
    found = model.components(point)
    # Components that are hardly mixed up have weights and parameters with the errors of samples of
    # their own: five standard deviations of a binomial share, and a deviance 2 n D(planted, found)
    # which is chi squared with `dim` degrees of freedom, here to one in a billion.
    shares = np.asarray(model.weights(point))[order]
    assert np.all(np.abs(shares - WEIGHTS) < 5 * np.sqrt(0.24 / N))
    for expected, share, index in zip(planted, WEIGHTS, order, strict=True):
        divergence = float(family.relative_entropy(expected, found[int(index)]))
        assert 2 * N * share * divergence < stats.chi2.isf(1e-9, family.dim)


def test_counts_more_dispersed_than_the_family_still_have_a_mixture():
    # Zeros beside large counts: no single CoM-Poisson has such a mean.
    xs = jnp.asarray(np.random.default_rng(3).negative_binomial(0.5, 0.05, 1500))
    family = hm.CoMPoisson()
    assert not bool(family.check(family.average_sufficient_statistic(xs)))
    point, _ = fit(hm.Mixture(family, 2), xs, jax.random.key(1), 20)
    assert all(bool(family.check(c)) for c in hm.Mixture(family, 2).components(point))
    mixed = hm.Mixture(hm.Product(hm.Replicated(family, 2), hm.Bernoulli()), 2)
    records = (jnp.stack([xs, xs[::-1]], axis=1), xs % 2)
    assert not mixed.is_exact
    fit(mixed, records, jax.random.key(2), 20)


def _com_poisson_scores(counts, modes, dispersion, weights):
    """Log densities of a mixture of CoM-Poissons by summation, in numpy."""
    support = np.arange(400)
    log_terms = [dispersion * (support * np.log(m) - special.gammaln(support + 1)) for m in modes]
    normalised = [t - special.logsumexp(t) for t in log_terms]
    stacked = np.stack([t[counts] for t in normalised])
    return special.logsumexp(stacked + np.log(weights)[:, None], axis=0)


def test_components_with_one_dispersion_reach_the_optimum_of_a_general_optimiser():
    family = hm.CoMPoisson()
    model = hm.Mixture(family, 2, hm.StatisticEmbedding(family, (0,)))
    planted = [family.from_mode_dispersion(m, 2.0) for m in (3.0, 15.0)]
    truth = model.from_components(planted, WEIGHTS)
    xs = model.observable_sample(jax.random.key(7), truth, (1000,))
    point, scores = fit(model, xs, jax.random.key(1), 30)
    components, counts = model.components(point), np.asarray(xs)
    dispersions = np.asarray(jax.vmap(family.dispersion)(components))
    assert_close(dispersions[0], dispersions[1], 10)

    def loss(v):
        weights = np.asarray([1 / (1 + np.exp(-v[3])), 1 / (1 + np.exp(v[3]))])
        return -np.mean(_com_poisson_scores(counts, np.exp(v[:2]), np.exp(v[2]), weights))

    origin = np.asarray([np.log(3.0), np.log(15.0), np.log(2.0), 0.0])
    best = optimize.minimize(loss, origin, method="Nelder-Mead", options={"xatol": 1e-9})
    np.testing.assert_allclose(scores[-1], -best.fun, rtol=1e-7)
    modes = np.sort(np.asarray(jax.vmap(family.mode)(components)))
    np.testing.assert_allclose(modes, np.sort(np.exp(best.x[:2])), rtol=1e-3)


def test_latent_class_analysis_is_that_of_a_few_lines_of_numpy():
    generator = np.random.default_rng(0)
    n_items, n_levels, n_classes = 4, 3, 2
    tables = generator.dirichlet(np.ones(n_levels), (n_classes, n_items))
    weights = np.asarray([0.3, 0.7])
    xs = generator.integers(0, n_levels, (200, n_items))
    model = hm.Mixture(hm.Replicated(hm.Categorical(n_levels), n_items), n_classes)
    means = [
        model.obs_man.unravel(jnp.asarray(t[:, 1:].ravel()), hm.Coordinates.MEAN) for t in tables
    ]
    point = model.from_components([model.obs_man.to_natural(m) for m in means], weights)
    step = jax.jit(model.expectation_maximization)
    score = jax.jit(model.average_log_observable_density)
    one_hot = np.eye(n_levels)[xs]
    for _ in range(10):
        joint = np.log(weights) + np.einsum("nij,kij->nk", one_hot, np.log(tables))
        evidence = special.logsumexp(joint, axis=1)
        np.testing.assert_allclose(score(point, jnp.asarray(xs)), evidence.mean(), rtol=1e-9)
        shares = np.exp(joint - evidence[:, None])
        weights = shares.mean(axis=0)
        tables = np.einsum("nk,nij->kij", shares, one_hot) / shares.sum(axis=0)[:, None, None]
        point = step(point, jnp.asarray(xs))


def test_mixed_records_are_those_of_a_few_lines_of_scipy():
    generator = np.random.default_rng(1)
    n, k = 300, 3
    reals, kinds = generator.normal(size=(n, 2)) * 2, generator.integers(0, 4, n)
    counts = generator.poisson(4.0, n)
    weights, rates = np.asarray([0.2, 0.3, 0.5]), np.asarray([1.0, 4.0, 9.0])
    means, covariances = (
        generator.normal(size=(k, 2)),
        np.stack([np.eye(2) * (i + 1) for i in range(k)]),
    )
    tables = generator.dirichlet(np.ones(4), k)
    normal, category, poisson = hm.Normal(2), hm.Categorical(4), hm.Poisson()
    family = hm.Product(normal, category, poisson)
    model = hm.Mixture(family, k)
    components = [
        hm.ProductPoint(
            (
                normal.from_mean_covariance(means[i], covariances[i]),
                category.from_probabilities(tables[i]),
                poisson.from_rate(rates[i]),
            ),
            family,
            hm.Coordinates.NATURAL,
        )
        for i in range(k)
    ]
    point = model.from_components(components, weights)
    xs = (jnp.asarray(reals), jnp.asarray(kinds), jnp.asarray(counts))
    step = jax.jit(model.expectation_maximization)
    score = jax.jit(model.average_log_observable_density)
    for _ in range(10):
        joint = np.stack(
            [
                np.log(weights[i])
                + stats.multivariate_normal(means[i], covariances[i]).logpdf(reals)
                + np.log(tables[i])[kinds]
                + stats.poisson(rates[i]).logpmf(counts)
                for i in range(k)
            ],
            axis=1,
        )
        evidence = special.logsumexp(joint, axis=1)
        np.testing.assert_allclose(score(point, xs), evidence.mean(), rtol=1e-9)
        shares = np.exp(joint - evidence[:, None])
        weights = shares.mean(axis=0)
        shares = shares / shares.sum(axis=0)
        means, rates = shares.T @ reals, shares.T @ counts
        tables = shares.T @ np.eye(4)[kinds]
        centred = reals[:, None] - means
        covariances = np.einsum("nk,nki,nkj->kij", shares, centred, centred)
        point = step(point, xs)
    np.testing.assert_allclose(model.weights(point), weights, rtol=1e-8)
