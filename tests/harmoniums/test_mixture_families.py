"""Mixtures over every kind of family: planted parameters are recovered, EM is monotone."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import harmonium as hm
from tests.compiled import compute
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


def fit(model: Any, xs: Any, key: Any, n_steps: int = STEPS) -> tuple[Any, Any]:
    """EM from several starts on the data.

    Returns the best point, and the mean log-likelihoods (starts, steps + 1) at the starts and after
    each step but the last.
    """

    def body(point, _):
        score = model.average_log_observable_density(point, xs)
        return model.expectation_maximization(point, xs), score

    def run(key):
        return jax.lax.scan(body, model.initialize_from_sample(key, xs), None, n_steps + 1)

    # In a loop, which compiles faster than a batch.
    points, scores = jax.lax.map(run, jax.random.split(key, N_STARTS))
    return points[jnp.argmax(scores[:, -1])], scores


def assert_monotone(scores):
    """The log-likelihoods of all starts rise."""
    slack = 1e3 * float(np.finfo(scores.dtype).eps) * np.max(1 + np.abs(scores), axis=1)
    assert np.all(np.isfinite(scores))
    assert np.all(np.diff(scores, axis=1) >= -slack[:, None])
    assert np.all(scores[:, -1] > scores[:, 0])


@pytest.mark.parametrize("name", PLANTED)
def test_planted_parameters_are_recovered(name):
    family, constructor, *arguments = PLANTED[name]
    model = hm.Mixture(family, 2)

    def recover():
        planted = [component(family, constructor, each) for each in arguments]
        truth = model.from_components(planted, WEIGHTS)
        xs = model.observable_sample(jax.random.key(7), truth, (N,))
        point, scores = fit(model, xs, jax.random.key(1))
        shares, found = model.weights(point), model.components(point)
        order = jnp.argsort(shares)
        divergences = jnp.stack(
            [family.relative_entropy(own, found[order[k]]) for k, own in enumerate(planted)]
        )
        return scores, shares[order], divergences

    scores, shares, divergences = compute(recover)
    assert_monotone(scores)
    # Components that are hardly mixed up have weights and parameters with the errors of samples of
    # their own: five standard deviations of a binomial share, and a deviance 2 n D(planted, found)
    # which is chi squared with `dim` degrees of freedom, here to one in a billion.
    assert np.all(np.abs(shares - WEIGHTS) < 5 * np.sqrt(0.24 / N))
    assert np.all(2 * N * WEIGHTS * divergences < stats.chi2.isf(1e-9, family.dim))


def test_counts_more_dispersed_than_the_family_still_have_a_mixture():
    # Zeros beside large counts: no single CoM-Poisson has such a mean.
    xs = np.random.default_rng(3).negative_binomial(0.5, 0.05, 1500)
    family = hm.CoMPoisson()
    model = hm.Mixture(family, 2)
    mixed = hm.Mixture(hm.Product(hm.Replicated(family, 2), hm.Bernoulli()), 2)
    records = (np.stack([xs, xs[::-1]], axis=1), xs % 2)
    assert not mixed.is_exact

    def fit_both():
        point, scores = fit(model, xs, jax.random.key(1), 20)
        whole = family.check(family.average_sufficient_statistic(xs))
        parts = jax.vmap(family.check)(model.components(point))
        return whole, parts, scores, fit(mixed, records, jax.random.key(2), 20)[1]

    whole, parts, *scores = compute(fit_both)
    assert not whole
    assert np.all(parts)
    for own in scores:
        assert_monotone(own)


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
    support = np.arange(400)
    shares = np.exp(_com_poisson_scores(support, (3.0, 15.0), 2.0, WEIGHTS))
    counts = np.random.default_rng(7).choice(support, 1000, p=shares / shares.sum())

    def fit_planted(counts):
        point, scores = fit(model, counts, jax.random.key(1), 30)
        components = model.components(point)
        return scores, jax.vmap(family.dispersion)(components), jax.vmap(family.mode)(components)

    scores, dispersions, modes = compute(fit_planted, counts)
    assert_monotone(scores)
    assert_close(dispersions[0], dispersions[1], 10)

    def loss(v):
        weights = np.asarray([1 / (1 + np.exp(-v[3])), 1 / (1 + np.exp(v[3]))])
        return -np.mean(_com_poisson_scores(counts, np.exp(v[:2]), np.exp(v[2]), weights))

    origin = np.asarray([np.log(3.0), np.log(15.0), np.log(2.0), 0.0])
    best = optimize.minimize(loss, origin, method="Nelder-Mead", options={"xatol": 1e-9})
    np.testing.assert_allclose(np.max(scores[:, -1]), -best.fun, rtol=1e-7)
    np.testing.assert_allclose(np.sort(modes), np.sort(np.exp(best.x[:2])), rtol=1e-3)


def ten_steps(model, point, xs):
    """The average log densities before each of ten steps of EM, and the weights after them."""

    def step(point, _):
        score = model.average_log_observable_density(point, xs)
        return model.expectation_maximization(point, xs), score

    point, scores = jax.lax.scan(step, point, None, 10)
    return scores, model.weights(point)


def test_latent_class_analysis_is_that_of_a_few_lines_of_numpy():
    generator = np.random.default_rng(0)
    n_items, n_levels, n_classes = 4, 3, 2
    tables = generator.dirichlet(np.ones(n_levels), (n_classes, n_items))
    weights = np.asarray([0.3, 0.7])
    xs = generator.integers(0, n_levels, (200, n_items))
    model = hm.Mixture(hm.Replicated(hm.Categorical(n_levels), n_items), n_classes)

    def fit(tables, weights):
        means = [model.obs_man.unravel(t[:, 1:].ravel(), hm.Coordinates.MEAN) for t in tables]
        components = [model.obs_man.to_natural(mean) for mean in means]
        return ten_steps(model, model.from_components(components, weights), xs)

    scores, _ = compute(fit, tables, weights)
    one_hot = np.eye(n_levels)[xs]
    for score in scores:
        joint = np.log(weights) + np.einsum("nij,kij->nk", one_hot, np.log(tables))
        evidence = special.logsumexp(joint, axis=1)
        np.testing.assert_allclose(score, evidence.mean(), rtol=1e-9)
        shares = np.exp(joint - evidence[:, None])
        weights = shares.mean(axis=0)
        tables = np.einsum("nk,nij->kij", shares, one_hot) / shares.sum(axis=0)[:, None, None]


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

    def fit(means, covariances, tables, rates):
        normals = jax.vmap(normal.from_mean_covariance)(means, covariances)
        categories = jax.vmap(category.from_probabilities)(tables)
        poissons = jax.vmap(poisson.from_rate)(rates)
        parts = normals, categories, poissons
        components = hm.geometry.ProductPoint(parts, family, hm.Coordinates.NATURAL)
        point = model.from_components(components, weights)
        return ten_steps(model, point, (reals, kinds, counts))

    scores, found_weights = compute(fit, means, covariances, tables, rates)
    for score in scores:
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
        np.testing.assert_allclose(score, evidence.mean(), rtol=1e-9)
        shares = np.exp(joint - evidence[:, None])
        weights = shares.mean(axis=0)
        shares = shares / shares.sum(axis=0)
        means, rates = shares.T @ reals, shares.T @ counts
        tables = shares.T @ np.eye(4)[kinds]
        centred = reals[:, None] - means
        covariances = np.einsum("nk,nki,nkj->kij", shares, centred, centred)
    np.testing.assert_allclose(found_weights, weights, rtol=1e-8)
