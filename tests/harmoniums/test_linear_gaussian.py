"""Linear Gaussian models: loadings, EM in special cases, small samples for large ones."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from harmonium.harmoniums.condense import two_moment_sample
from tests.catalogue import LINEAR_GAUSSIANS
from tests.compiled import compute
from tests.numbers import assert_close

MODELS = {name: build() for name, build in LINEAR_GAUSSIANS.items()}
FACTORS = hm.factor_analysis(3, 2)


def _moments(xs, weights):
    xs, weights = np.asarray(xs, float), np.asarray(weights, float)
    mean = weights @ xs
    return mean, (xs - mean).T @ (weights[:, None] * (xs - mean))


def test_constructors_name_their_structures():
    assert hm.factor_analysis(3, 2) == hm.LinearGaussianModel(
        hm.Normal(3, hm.Diagonal()), hm.Normal(2)
    )
    assert hm.principal_component_analysis(3, 2) == hm.LinearGaussianModel(
        hm.Normal(3, hm.Scale()), hm.Normal(2)
    )


def test_posteriors_with_fixed_covariance_are_refused():
    with pytest.raises(TypeError, match="not offered"):
        hm.LinearGaussianModel(hm.Normal(3), hm.Normal(2, hm.Identity()))


def test_loadings_round_trip():
    loadings = np.random.default_rng(0).normal(size=(3, 2))

    def round_trip(loadings):
        point = FACTORS.from_loadings(loadings, [1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
        likelihood = FACTORS.likelihood_at(point, [0.3, -1.0])
        return FACTORS.loadings(point), FACTORS.obs_man.mean(likelihood)

    read, mean = compute(round_trip, loadings)
    assert_close(read, loadings)
    expected = loadings @ np.asarray([0.3, -1.0]) + np.asarray([1.0, 0.0, 2.0])
    assert_close(mean, expected)


@pytest.mark.parametrize("name", MODELS)
def test_symmetric_models_have_one_latent_manifold(name):
    model = MODELS[name]
    assert model.is_symmetric == (model.pst_man.covariance_structure == hm.PositiveDefinite())
    if model.is_symmetric:
        assert model.lat_man == model.pst_man == model.prr_man
    else:
        assert model.prr_man == hm.Normal(2)
        with pytest.raises(TypeError, match="pst_man or prr_man"):
            model.lat_man  # noqa: B018


@pytest.mark.parametrize("name", MODELS)
def test_posteriors_stay_in_their_manifold(name, getkey):
    model = MODELS[name]

    def infer(key):
        posterior = model.posterior_at(model.initialize(key), [0.3, -1.0, 2.0])
        return posterior, model.pst_man.in_domain(posterior)

    posterior, valid = compute(infer, getkey())
    assert posterior.manifold == model.pst_man
    assert valid


def test_no_interaction_leaves_observables_alone():
    offset, noise = [1.0, 0.0, 2.0], [0.5, 1.0, 2.0]
    xs = np.random.default_rng(1).normal(size=(7, 3))

    def evaluate():
        point = FACTORS.from_loadings(np.zeros((3, 2)), offset, noise)
        return FACTORS.log_observable_densities(point, xs), FACTORS.expected_latents(point, xs)

    densities, latents = compute(evaluate)
    expected = scipy.stats.norm(offset, np.sqrt(noise)).logpdf(xs).sum(axis=1)
    assert_close(densities, expected)
    assert_close(latents, np.zeros((7, 2)))


@pytest.mark.parametrize("name", ["linear_diagonal_full", "linear_scale_full"])
def test_em_ends_where_the_gradient_vanishes(name, getkey):
    model, rng = MODELS[name], np.random.default_rng(2)
    xs = rng.normal(size=(60, 3)) @ rng.normal(size=(3, 3))

    def gradient_after_em(key):
        few, weights = hm.condense(model, xs)
        start = model.initialize_from_sample(key, xs)
        point = jax.lax.fori_loop(
            0, 2000, lambda _, p: model.expectation_maximization(p, few, weights), start
        )
        return model.ravel(hm.gradient(model.average_log_observable_density)(point, xs))

    assert_close(compute(gradient_after_em, getkey()), np.zeros(model.dim), 10, power=0.4)


def test_expected_latents_are_the_same_in_chunks(getkey):
    xs = np.random.default_rng(3).normal(size=(11, 3))

    def infer(key):
        point = FACTORS.initialize(key)
        posterior = FACTORS.posterior_at(point, xs[5])
        chunks = FACTORS.expected_latents(point, xs, batch_size=4)
        return FACTORS.expected_latents(point, xs), chunks, FACTORS.pst_man.mean(posterior)

    whole, chunks, mean = compute(infer, getkey())
    assert whole.shape == (11, 2)
    assert_close(chunks, whole)
    assert_close(whole[5], mean)


def test_there_are_no_categories_at_the_top(getkey):
    point = jax.jit(FACTORS.initialize)(getkey())
    with pytest.raises(TypeError, match="no categorical"):
        FACTORS.posterior_probabilities(point, jnp.zeros(3))


# Eight observations each, and one.
AWKWARD = {
    "constant": np.zeros((8, 3)),
    "constant column": np.asarray([[0.0, 1, 2], [0, 2, 1], [0, 3, 5], [0, 0, 1]] * 2),
    "duplicates": np.asarray([[1.0, -2.0, 3.0], [0.0, 1, 1]] * 4),
}
ONE_OBSERVATION = np.asarray([[1.0, -2.0, 3.0]])


@pytest.mark.parametrize("name", MODELS)
def test_starts_are_valid_on_awkward_data(name, getkey):
    model = MODELS[name]

    def start(key, xs):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.log_observable_densities(point, xs)

    # In loops, which compile faster than batches.
    def start_all(key):
        def starts(xs):
            return jax.lax.map(lambda own: start(own, xs), jax.random.split(key, 4))

        return starts(ONE_OBSERVATION), jax.lax.map(starts, np.stack(list(AWKWARD.values())))

    for valid, densities in compute(start_all, getkey()):
        assert np.all(valid)
        assert np.all(np.isfinite(densities))


def test_pseudo_observations_have_the_two_moments():
    rng = np.random.default_rng(4)
    xs = rng.normal(size=(50, 4)) @ rng.normal(size=(4, 4)) + 3.0
    weights = rng.dirichlet(np.ones(50))
    few, equal = compute(two_moment_sample, xs, weights)
    assert few.shape == (8, 4)
    assert_close(equal, np.full(8, 1 / 8))
    assert_close(_moments(few, equal), _moments(xs, weights))


def test_pseudo_observations_of_constant_columns():
    xs, weights = np.random.default_rng(5).normal(size=(50, 3)), np.full(50, 1 / 50)
    xs[:, 1] = 2.0
    few, equal = compute(two_moment_sample, xs, weights)
    assert np.all(np.isfinite(few))
    # The square root of a variance of rounding size is of the size of the root of that.
    assert_close(few[:, 1], np.full(6, 2.0), 10, power=0.5)
    assert_close(_moments(few, equal), _moments(xs, weights))


def test_few_observations_are_kept_as_they_are():
    xs = np.random.default_rng(6).normal(size=(6, 3))
    kept, weights = compute(functools.partial(hm.condense, FACTORS), xs, np.arange(1.0, 7.0))
    assert_close(kept, xs, 0)
    assert_close(weights, np.arange(1.0, 7.0) / 21)


def test_means_of_independent_parts_are_where_the_numerical_dual_starts(getkey):
    model = MODELS["linear_full_diagonal"]

    def restart(key):
        mean = model.to_mean(model.initialize(key))
        start = model.natural_start(mean)
        return model.in_domain(start), model.to_mean(start), mean

    valid, again, mean = compute(restart, getkey())
    assert valid
    assert_close(again.observable, mean.observable)
    assert_close(again.latent, mean.latent)
