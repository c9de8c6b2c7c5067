"""Mixtures of harmoniums: construction, starts, components, and what they refuse."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

FACTORS = hm.factor_analysis(3, 1)
SHARED = hm.MixtureOf(FACTORS, 2, hm.LocationEmbedding(FACTORS.obs_man))


def analyses(n, model=FACTORS):
    """A batch of points, as arrays of JAX."""
    return jax.jit(jax.vmap(model.initialize))(jax.random.split(jax.random.key(0), n))


def test_components_and_weights_are_found_again():
    model, components = hm.MixtureOf(FACTORS, 3), analyses(3)
    weights = np.array([0.5, 0.2, 0.3])

    def build(components):
        point = model.from_components(components, weights)
        family, given = model.condition_on(point, 2)
        assert family == FACTORS
        loadings = FACTORS.loadings(given), FACTORS.loadings(components[2])
        return model.weights(point), model.components(point), loadings

    found_weights, found, loadings = compute(build, components)
    np.testing.assert_allclose(found_weights, weights, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(components), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(*loadings, rtol=1e-4, atol=1e-5)


def test_observables_are_a_mixture_of_dense_normals():
    model = hm.MixtureOf(FACTORS, 2)
    xs = np.random.default_rng(0).normal(size=(5, 3))

    def densities(key):
        point = model.initialize(key)
        family, marginal = model.observable_distribution(point)
        assert family == hm.Mixture(hm.Normal(3), 2)
        by_marginal = family.log_observable_densities(marginal, xs)
        return by_marginal, model.log_observable_densities(point, xs)

    np.testing.assert_allclose(*compute(densities, jax.random.key(1)), rtol=1e-4)


# Twenty observations each, and four.
AWKWARD = {
    "constant": np.zeros((20, 3)),
    "two points": np.repeat(np.array([[1.0, 2.0, 3.0], [4.0, 0.0, 1.0]]), 10, axis=0),
}
FEW = np.random.default_rng(0).normal(size=(4, 3))


@pytest.mark.parametrize("model", [hm.MixtureOf(FACTORS, 3), SHARED], ids=["own", "shared"])
def test_starts_on_awkward_data_are_valid(model):
    def start(key, xs):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.weights(point)

    # In loops, which compile faster than batches.
    def start_all(key):
        def starts(xs):
            return jax.lax.map(lambda own: start(own, xs), jax.random.split(key, 4))

        return starts(FEW), jax.lax.map(starts, np.stack(list(AWKWARD.values())))

    for valid, weights in compute(start_all, jax.random.key(0)):
        assert np.all(valid)
        np.testing.assert_allclose(weights, 1 / model.n_components, rtol=1e-5)


def test_refuses_what_is_no_conjugated_harmonium():
    with pytest.raises(TypeError, match=r"conjugated harmonium, got Normal.*hm\.Mixture"):
        hm.MixtureOf(hm.Normal(2), 3)
    with pytest.raises(ValueError, match="at least one component, got 0"):
        hm.MixtureOf(FACTORS, 0)
    with pytest.raises(TypeError, match=r"embeds into Normal\(2.*observe Normal\(3"):
        hm.MixtureOf(FACTORS, 2, hm.LocationEmbedding(hm.Normal(2)))


def test_refuses_bad_components():
    model = hm.MixtureOf(FACTORS, 3)
    with pytest.raises(ValueError, match=r"3 components, got a batch of shape \(2,\)"):
        model.from_components(analyses(2), np.ones(2) / 2)
    with pytest.raises(TypeError, match="expected a point of LinearGaussianModel"):
        model.from_components(analyses(3, hm.factor_analysis(3, 2)), np.ones(3) / 3)
    with pytest.raises(TypeError, match="natural points, got mean points"):
        means = jax.jit(jax.vmap(FACTORS.to_mean))(analyses(3))
        model.from_components(means, np.ones(3) / 3)
    with pytest.raises(Exception, match="sum to 1"):
        compute(model.from_components, analyses(3), np.ones(3))
    with pytest.raises(Exception, match="share parameters in which these differ"):
        compute(SHARED.from_components, analyses(2), np.ones(2) / 2)


def test_latents_are_substituted_component_by_component():
    model = hm.MixtureOf(FACTORS, 2)
    point = jax.jit(model.initialize)(jax.random.key(0))
    with pytest.raises(TypeError, match="those of its components"):
        model.substitute_latent(point, 2.0, jnp.zeros(1))


def test_embeddings_of_mixtures_fit_their_components():
    diagonal, full = hm.Normal(2, hm.Diagonal()), hm.Normal(2)
    embedding = hm.NormalCovarianceEmbedding(diagonal, full)
    with pytest.raises(TypeError, match="cannot be made of"):
        hm.MixtureEmbedding(embedding, hm.Mixture(diagonal, 2), hm.Mixture(full, 3))
