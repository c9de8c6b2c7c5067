"""Linear Gaussian models: loadings, EM in special cases, small samples for large ones."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.harmoniums.condense import two_moment_sample
from tests.catalogue import LINEAR_GAUSSIANS
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


def test_loadings_round_trip(getkey):
    loadings = np.asarray(jax.random.normal(getkey(), (3, 2)))
    point = FACTORS.from_loadings(loadings, [1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
    assert_close(FACTORS.loadings(point), loadings)
    likelihood = FACTORS.likelihood_at(point, [0.3, -1.0])
    expected = loadings @ np.asarray([0.3, -1.0]) + np.asarray([1.0, 0.0, 2.0])
    assert_close(FACTORS.obs_man.mean(likelihood), expected)


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
    point = model.initialize(getkey())
    posterior = model.posterior_at(point, [0.3, -1.0, 2.0])
    assert posterior.manifold == model.pst_man
    assert bool(model.pst_man.in_domain(posterior))


def test_no_interaction_leaves_observables_alone(getkey):
    point = FACTORS.from_loadings(np.zeros((3, 2)), [1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
    xs = jax.random.normal(getkey(), (7, 3))
    normal = FACTORS.obs_man.from_mean_covariance([1.0, 0.0, 2.0], [0.5, 1.0, 2.0])
    densities = FACTORS.log_observable_densities(point, xs)
    assert_close(densities, FACTORS.obs_man.log_densities(normal, xs))
    assert_close(FACTORS.expected_latents(point, xs), np.zeros((7, 2)))


@pytest.mark.parametrize("name", ["linear_diagonal_full", "linear_scale_full"])
def test_em_ends_where_the_gradient_vanishes(name, getkey):
    model = MODELS[name]
    xs = jax.random.normal(getkey(), (60, 3)) @ jax.random.normal(getkey(), (3, 3))
    few, weights = model.condense(xs)
    step = jax.jit(lambda p: model.expectation_maximization(p, few, weights))
    point = model.initialize_from_sample(getkey(), xs)
    for _ in range(2000):
        point = step(point)
    gradient = hm.gradient(model.average_log_observable_density)(point, xs)
    assert_close(model.ravel(gradient), np.zeros(model.dim), 10, power=0.4)


def test_expected_latents_are_the_same_in_chunks(getkey):
    point = FACTORS.initialize(getkey())
    xs = jax.random.normal(getkey(), (11, 3))
    whole = FACTORS.expected_latents(point, xs)
    assert whole.shape == (11, 2)
    assert_close(FACTORS.expected_latents(point, xs, batch_size=4), whole)
    posterior = FACTORS.posterior_at(point, xs[5])
    assert_close(whole[5], FACTORS.pst_man.mean(posterior))


def test_there_are_no_categories_at_the_top(getkey):
    point = FACTORS.initialize(getkey())
    with pytest.raises(TypeError, match="no categorical"):
        FACTORS.posterior_probabilities(point, jnp.zeros(3))


AWKWARD = {
    "constant": np.zeros((5, 3)),
    "constant_column": np.asarray([[0.0, 1, 2], [0, 2, 1], [0, 3, 5], [0, 0, 1]]),
    "one_observation": np.asarray([[1.0, -2.0, 3.0]]),
    "duplicates": np.asarray([[1.0, -2.0, 3.0], [0.0, 1, 1]] * 4),
}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("awkward", AWKWARD)
def test_starts_are_valid_on_awkward_data(name, awkward, getkey):
    model, xs = MODELS[name], AWKWARD[awkward]

    @jax.jit
    def start(key):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.log_observable_densities(point, xs)

    valid, densities = start(getkey())
    assert bool(valid)
    assert np.all(np.isfinite(densities))


def test_pseudo_observations_have_the_two_moments(getkey):
    xs = jax.random.normal(getkey(), (50, 4)) @ jax.random.normal(getkey(), (4, 4)) + 3.0
    weights = jax.random.uniform(getkey(), (50,))
    weights = weights / jnp.sum(weights)
    few, equal = two_moment_sample(xs, weights)
    assert few.shape == (8, 4)
    assert_close(equal, np.full(8, 1 / 8))
    assert_close(_moments(few, equal), _moments(xs, weights))


def test_pseudo_observations_of_constant_columns(getkey):
    xs = jax.random.normal(getkey(), (50, 3)).at[:, 1].set(2.0)
    few, equal = two_moment_sample(xs, jnp.full(50, 1 / 50))
    assert np.all(np.isfinite(few))
    # The square root of a variance of rounding size is of the size of the root of that.
    assert_close(few[:, 1], np.full(6, 2.0), 10, power=0.5)
    assert_close(_moments(few, equal), _moments(xs, jnp.full(50, 1 / 50)))


def test_few_observations_are_kept_as_they_are(getkey):
    xs = jax.random.normal(getkey(), (6, 3))
    kept, weights = FACTORS.condense(xs, np.arange(1.0, 7.0))
    assert_close(kept, xs, 0)
    assert_close(weights, np.arange(1.0, 7.0) / 21)


def test_means_of_independent_parts_are_where_the_numerical_dual_starts(getkey):
    model = MODELS["linear_full_diagonal"]
    mean = model.to_mean(model.initialize(getkey()))
    start = model.natural_start(mean)
    assert bool(model.in_domain(start))
    again = model.to_mean(start)
    assert_close(again.observable, mean.observable)
    assert_close(again.latent, mean.latent)
