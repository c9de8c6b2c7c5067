"""Partly observed data against marginals of dense Gaussians, and EM against direct maximisation."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import optimize, special, stats

import harmonium as hm
from tests.compiled import compute
from tests.oracles import dense

FULL, DIAGONAL, SCALE, IDENTITY = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale(), hm.Identity()
N_MASKS = 20


def linear(observable, latent):
    return hm.LinearGaussianModel(hm.Normal(5, observable), hm.Normal(2, latent))


def three_levels(posterior):
    middle, top = hm.Normal(3, posterior), hm.Normal(2, posterior)
    lower = hm.LinearGaussianModel(hm.Normal(5, DIAGONAL), middle)
    return hm.stack(lower, hm.LinearGaussianModel(middle, top), hm.Mixture(top, 2))


MODELS = {
    "full noise": linear(FULL, FULL),
    "diagonal noise": linear(DIAGONAL, DIAGONAL),
    "scalar noise": linear(SCALE, FULL),
    "unit noise": linear(IDENTITY, FULL),
    "mixture": hm.Mixture(hm.Normal(5), 3),
    "diagonal mixture": hm.Mixture(hm.Normal(5, DIAGONAL), 3),
    "tied mixture": hm.Mixture(hm.Normal(5), 3, hm.LocationEmbedding(hm.Normal(5))),
    "hierarchy": hm.hierarchical_mixture_of_gaussians(5, 2, 3),
    "three levels": three_levels(FULL),
    "three levels, restricted": three_levels(DIAGONAL),
}


def marginal_log_densities(gaussians, xs, observed):
    """Of the observed parts, by deleting rows and columns of dense covariances."""
    densities = []
    for x, mask in zip(np.asarray(xs), observed, strict=True):
        where = np.flatnonzero(mask)
        parts = zip(gaussians.weights, gaussians.means, gaussians.covariances, strict=True)
        logs = [
            np.log(w)
            + (stats.multivariate_normal(m[where], c[np.ix_(where, where)]).logpdf(x[where]))
            for w, m, c in parts
        ]
        densities.append(special.logsumexp(logs))
    return np.array(densities)


@pytest.mark.parametrize("name", MODELS)
def test_densities_are_marginals_of_the_dense_joint(name):
    model = MODELS[name]
    point, rng = dense.random_point(model, 3), np.random.default_rng(len(name))
    observed = rng.random((N_MASKS, 5)) < 0.6
    observed[np.arange(N_MASKS), rng.integers(0, 5, N_MASKS)] = True
    xs = 2 * rng.normal(size=(N_MASKS, 5))

    def densities(point, masks):
        # Masks that are known while compiling are grouped, and those that are arguments are not.
        grouped = model.log_observable_densities(point, holes, observed=observed)
        return grouped, model.log_observable_densities(point, xs, observed=masks)

    holes = np.where(observed, xs, np.nan)
    expected = marginal_log_densities(dense.observable(model, point), xs, observed)
    for found in compute(densities, point, observed):
        np.testing.assert_allclose(found, expected, rtol=1e-9)


def test_posteriors_condition_on_what_is_observed():
    model = MODELS["hierarchy"]
    point = dense.random_point(model, 5)
    joint, mask = dense.gaussians(model, point), np.array([True, False, True, True, False])
    order = np.r_[np.flatnonzero(mask), np.arange(5, 7)]
    kept = dense.Gaussians(
        joint.weights, joint.means[:, order], joint.covariances[:, order][:, :, order]
    )
    x = 2 * np.random.default_rng(6).normal(size=5)
    expected = kept.condition(x[mask])

    def infer(point):
        components = model.prr_man.components(model.posterior_at(point, x, mask))
        normal = model.prr_man.obs_man
        moments = jax.vmap(normal.mean)(components), jax.vmap(normal.covariance)(components)
        return model.posterior_probabilities(point, x, mask), *moments

    shares, means, covariances = compute(infer, point)
    np.testing.assert_allclose(shares, expected.weights, rtol=1e-9, atol=1e-12)
    np.testing.assert_allclose(means, expected.means, rtol=1e-9)
    np.testing.assert_allclose(covariances, expected.covariances, rtol=1e-9, atol=1e-12)


def test_records_of_several_kinds_by_enumeration():
    record = hm.Product(hm.Normal(2), hm.Categorical(3), hm.Bernoullis(2))
    model = hm.Mixture(record, 2)
    x = (np.array([0.3, -0.7]), 2, np.array([1, 0]))
    mask = (np.array([True, True]), False, np.array([True, False]))
    categories, seconds = (own.ravel() for own in np.meshgrid(np.arange(3), np.arange(2)))
    completed = np.tile(x[0], (6, 1)), categories, np.stack([np.ones(6, int), seconds], axis=1)

    def densities():
        point = model.initialize(jax.random.key(0))
        terms = jax.vmap(lambda own: model.log_observable_density(point, own))(completed)
        return model.log_observable_density(point, x, mask), terms

    found, terms = compute(densities)
    np.testing.assert_allclose(found, special.logsumexp(terms), rtol=1e-9)


def holes_in(rng, xs, share):
    observed = rng.random(xs.shape) >= share
    observed[np.arange(len(xs)), rng.integers(0, xs.shape[1], len(xs))] = True
    return observed


def fit(model, xs, observed, n_steps, n_starts=3):
    """The best average log density that EM reaches, after checking that it never falls."""
    filled = np.where(observed, xs, np.nanmean(np.where(observed, xs, np.nan), axis=0))

    def run(key):
        patterns = hm.group_observations(model, np.where(observed, xs, np.nan), observed)

        def step(point, _):
            density = model.average_log_observable_density(point, patterns)
            return model.expectation_maximization(point, patterns), density

        return jax.lax.scan(step, model.initialize_from_sample(key, filled), None, n_steps)[1]

    def run_all():
        return jax.lax.map(run, jax.random.split(jax.random.key(0), n_starts))

    histories = compute(run_all)
    assert np.all(np.diff(histories, axis=1) > -1e-10)
    return histories[:, -1].max()


def maximise(log_densities, starts):
    """The largest average log density, by quasi-Newton steps from several starts."""
    objective = jax.jit(jax.value_and_grad(lambda theta: -jnp.mean(log_densities(theta))))
    results = [
        optimize.minimize(objective, start, jac=True, tol=1e-12, options={"maxiter": 5000})
        for start in starts
    ]
    return -min(result.fun for result in results)


def masked_normal(x, mask, mean, covariance):
    """The log density of what is observed, from a covariance with ones in hidden places."""
    both = mask[:, None] & mask[None, :]
    own = jnp.where(both, covariance, jnp.diag(jnp.where(mask, 0.0, 1.0)))
    error = jnp.where(mask, x - mean, 0.0)
    quadratic = error @ jnp.linalg.solve(own, error)
    constant = jnp.sum(jnp.where(mask, jnp.log(2 * jnp.pi), 0.0))
    return -0.5 * (quadratic + jnp.linalg.slogdet(own)[1] + constant)


def test_em_of_factor_analysis_reaches_the_optimum_of_the_marginal_likelihood():
    rng = np.random.default_rng(0)
    loadings = np.array([[1.5], [-1.0], [0.8], [1.2]])
    xs = rng.normal(size=(120, 1)) @ loadings.T + 0.6 * rng.normal(size=(120, 4)) + 2.0
    observed = holes_in(rng, xs, 0.25)
    reached = fit(hm.factor_analysis(4, 1), xs, observed, 1500)

    def log_densities(theta):
        w, mean, log_noise = theta[:4], theta[4:8], theta[8:]
        covariance = w[:, None] * w[None, :] + jnp.diag(jnp.exp(log_noise))
        return jax.vmap(lambda x, o: masked_normal(x, o, mean, covariance))(xs, observed)

    starts = [np.r_[rng.normal(size=4), xs.mean(axis=0), np.zeros(4)] for _ in range(4)]
    np.testing.assert_allclose(reached, maximise(log_densities, starts), rtol=1e-8)


def test_em_of_a_mixture_reaches_the_optimum_of_the_marginal_likelihood():
    rng = np.random.default_rng(1)
    labels = rng.integers(0, 2, 150)
    xs = rng.normal(size=(150, 3)) @ np.array([[1, 0.5, 0], [0, 1, 0.3], [0, 0, 1]])
    xs = xs + 4.0 * labels[:, None] * np.array([1.0, -1.0, 0.5])
    observed = holes_in(rng, xs, 0.25)
    reached = fit(hm.Mixture(hm.Normal(3), 2), xs, observed, 400)
    lower = np.tril_indices(3)

    def log_densities(theta):
        log_odds, rest = theta[0], theta[1:].reshape(2, 9)
        log_weights = -jax.nn.softplus(jnp.stack([log_odds, -log_odds]))

        def component(own, log_weight):
            root = jnp.zeros((3, 3)).at[lower].set(own[3:])
            covariance = root @ root.T
            each = jax.vmap(lambda x, o: masked_normal(x, o, own[:3], covariance))
            return log_weight + each(xs, observed)

        return jax.nn.logsumexp(jax.vmap(component)(rest, log_weights), axis=0)

    identity = np.eye(3)[lower]
    centres = np.array([[0.0, 0.0, 0.0], [4.0, -4.0, 2.0]])
    starts = [np.r_[0.0, centres[0], identity, centres[1], identity]]
    np.testing.assert_allclose(reached, maximise(log_densities, starts), rtol=1e-8)
