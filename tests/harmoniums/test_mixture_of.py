"""Mixtures of harmoniums: construction, starts, components, and what they refuse."""

import jax
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

FACTORS = hm.factor_analysis(3, 1)
SHARED = hm.Mixture(FACTORS, 2, hm.free_parameters(FACTORS, hm.LocationEmbedding(FACTORS.obs_man)))


def analyses(n, model=FACTORS):
    """A batch of points, as arrays of JAX."""
    return jax.jit(jax.vmap(model.initialize))(jax.random.split(jax.random.key(0), n))


def test_components_and_weights_are_found_again():
    model, components = hm.Mixture(FACTORS, 3), analyses(3)
    weights = np.array([0.5, 0.2, 0.3])

    def build(components):
        point = model.from_components(components, weights)
        family, given = hm.condition_on(model, point, 2)
        assert family == FACTORS
        loadings = FACTORS.loadings(given), FACTORS.loadings(components[2])
        return model.weights(point), model.components(point), loadings

    found_weights, found, loadings = compute(build, components)
    np.testing.assert_allclose(found_weights, weights, rtol=1e-5)
    for ours, theirs in zip(jax.tree.leaves(found), jax.tree.leaves(components), strict=True):
        np.testing.assert_allclose(ours, theirs, atol=1e-5)
    np.testing.assert_allclose(*loadings, rtol=1e-4, atol=1e-5)


def test_observables_are_a_mixture_of_dense_normals():
    model = hm.Mixture(FACTORS, 2)
    xs = np.random.default_rng(0).normal(size=(5, 3))

    def densities(key):
        point = model.initialize(key)
        family, marginal = hm.observable_distribution(model, point)
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


@pytest.mark.parametrize("model", [hm.Mixture(FACTORS, 3), SHARED], ids=["own", "shared"])
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


def test_refuses_embeddings_of_other_families():
    with pytest.raises(ValueError, match="at least one component, got 0"):
        hm.Mixture(FACTORS, 0)
    with pytest.raises(TypeError, match=r"embeds into Normal\(2.*observe Normal\(3"):
        hm.free_parameters(FACTORS, hm.LocationEmbedding(hm.Normal(2)))
    with pytest.raises(TypeError, match=r"embeds into Normal\(3.*components are in Linear"):
        hm.Mixture(FACTORS, 2, hm.LocationEmbedding(FACTORS.obs_man))


def test_refuses_bad_components():
    model = hm.Mixture(FACTORS, 3)
    with pytest.raises(ValueError, match=r"3 components, got a batch of shape \(2,\)"):
        model.from_components(analyses(2), np.ones(2) / 2)
    with pytest.raises(TypeError, match="expected a point of LinearGaussianModel"):
        model.from_components(analyses(3, hm.factor_analysis(3, 2)), np.ones(3) / 3)
    with pytest.raises(TypeError, match="natural points, not mean points"):
        means = jax.jit(jax.vmap(FACTORS.to_mean))(analyses(3))
        model.from_components(means, np.ones(3) / 3)
    with pytest.raises(Exception, match="sum to 1"):
        compute(model.from_components, analyses(3), np.ones(3))
    with pytest.raises(Exception, match="these differ in others"):
        compute(SHARED.from_components, analyses(2), np.ones(2) / 2)
