"""Gradients of the exact log-likelihood, by finite differences and by the identity behind EM."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import harmonium as hm
from tests.compiled import compute

from . import dense

FULL, DIAGONAL, SCALE = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale()


def three_levels(structure):
    return hm.stack(
        hm.LinearGaussianModel(hm.Normal(4, DIAGONAL), hm.Normal(3, structure)),
        hm.LinearGaussianModel(hm.Normal(3, structure), hm.Normal(2, structure)),
        hm.Mixture(hm.Normal(2, structure), 2),
    )


MODELS = {
    "symmetric": hm.hierarchical_mixture_of_gaussians(4, 2, 3),
    "diagonal": hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=DIAGONAL),
    "scale": hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=SCALE),
    "symmetric-three-levels": three_levels(FULL),
    "diagonal-three-levels": three_levels(DIAGONAL),
    "tied-mixture": hm.Mixture(hm.Normal(4), 3, hm.LocationEmbedding(hm.Normal(4))),
}


@pytest.mark.parametrize("name", MODELS)
def test_gradient_is_that_of_finite_differences_and_of_em(name):
    model = MODELS[name]
    point = dense.random_point(model, seed=81)
    xs = np.random.default_rng(82).normal(size=(12, 4)) * 1.5

    def gradients(point, xs):
        by_autodiff = jax.grad(model.average_log_observable_density)(point, xs)
        difference = model.mean_posterior_statistics(point, xs) - model.to_mean(point)
        return by_autodiff, difference

    gradient, difference = compute(gradients, point, xs)
    assert gradient.coordinates is hm.Coordinates.NATURAL
    assert difference.coordinates is hm.Coordinates.MEAN
    for ours, theirs in zip(jax.tree.leaves(gradient), jax.tree.leaves(difference), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-8, atol=1e-10)

    # Finite differences of the dense density, along random directions of symmetric matrices.
    def likelihood(at):
        return dense.observable(model, at).log_densities(xs).mean()

    point = jax.device_get(point)
    for seed in range(3):
        direction = jax.device_get(dense.random_point(model, seed=83 + seed))
        ahead, behind = (
            jax.tree.map(lambda p, d, h=h: p + h * d, point, direction) for h in (1e-5, -1e-5)
        )
        slope = (likelihood(ahead) - likelihood(behind)) / 2e-5
        pairs = zip(jax.tree.leaves(gradient), jax.tree.leaves(direction), strict=True)
        found = sum(float(np.sum(g * d)) for g, d in pairs)
        np.testing.assert_allclose(found, slope, rtol=1e-6, atol=1e-8)


def test_gradient_ascent_raises_the_likelihood_of_an_asymmetric_hierarchy():
    model = MODELS["diagonal"]
    rng = np.random.default_rng(84)
    xs = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 4)) + 0.3 * rng.normal(size=(50, 4))
    optimiser = optax.adam(0.02)
    point = dense.random_point(model, seed=85)

    def step(state, _):
        point, state = state
        value, gradient = jax.value_and_grad(model.average_log_observable_density)(point, xs)
        # Optax itself relies on promotion.
        with jax.numpy_dtype_promotion("standard"):
            updates, state = optimiser.update(jax.tree.map(jnp.negative, gradient), state, point)
            return (optax.apply_updates(point, updates), state), value

    def ascend(point):
        start = point, optimiser.init(point)
        (point, _), values = jax.lax.scan(step, start, None, 60)
        return point, jnp.append(values, model.average_log_observable_density(point, xs))

    point, values = compute(ascend, point)
    assert np.isfinite(values).all()
    assert values[-2] > values[0] + 0.5
    # What it claims is what the dense model has, with a valid covariance everywhere.
    np.testing.assert_allclose(
        values[-1], dense.observable(model, point).log_densities(xs).mean(), rtol=1e-9
    )
