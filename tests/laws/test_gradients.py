"""Reverse-mode gradients, against identities that hold exactly and against differences."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.catalogue import CATALOGUE
from tests.laws.cases import CONJUGATED, GENERIC, GENERIC_CONJUGATED, NUMERICAL, over


def _density_gradient(model, point, x):
    found = hm.gradient(model.log_density)(point, x)
    return found, model.sufficient_statistic(x) - model.to_mean(point)


@over(CATALOGUE)
def test_the_gradient_of_the_log_density_is_statistic_minus_mean(case):
    x = jax.tree.map(lambda leaf: leaf[0], case.xs)
    found, expected = case.jit(_density_gradient)(case.point, x)
    assert isinstance(found, hm.Mean)
    case.close(found, expected, 1e2)


def _observable_gradient(model, point, xs):
    found = hm.gradient(model.average_log_observable_density)(point, xs)
    return found, model.mean_posterior_statistics(point, xs) - model.to_mean(point)


@over(CONJUGATED)
def test_the_gradient_of_the_likelihood_is_posterior_minus_prior_mean(case):
    # Fisher's identity, which ties the exact likelihood to the E-step of EM.
    found, expected = case.jit(_observable_gradient)(case.point, case.observables)
    case.close(found, expected, 1e3)


def _direction(case):
    return jnp.cos(1.3 * jnp.arange(case.model.dim, dtype=case.dtype))


def _mean_gradient(model, point, weights):
    def function(vector):
        return weights @ model.ravel(model.to_mean(model.unravel(vector)))

    return jax.grad(function)(model.ravel(point))


@over(GENERIC)
def test_the_gradient_of_the_mean_is_the_fisher_matrix(case):
    weights = _direction(case)
    found = case.jit(_mean_gradient)(case.point, weights)
    # The Fisher matrix, which is symmetric, comes from forward mode.
    case.close(found, case.jit("fisher_matrix")(case.point) @ weights, 1e3)


def _natural_gradient(model, mean, weights):
    def function(vector):
        return weights @ model.ravel(model.to_natural(model.unravel(vector, hm.Coordinates.MEAN)))

    return jax.grad(function)(model.ravel(mean))


@over(GENERIC)
def test_the_gradient_of_to_natural_is_the_inverse_of_the_fisher_matrix(case):
    weights = _direction(case)
    found = case.jit(_natural_gradient)(case.mean, weights)
    # The error of the gradient is relative to its size, which is that of the inverse.
    size = 1 + jnp.max(jnp.abs(found))
    case.close(case.jit("fisher_matrix")(case.point) @ found / size, weights / size, 1e4)


def _em_gradient(model, point, xs, weights):
    def function(vector):
        step = model.expectation_maximization(model.unravel(vector), xs)
        return weights @ model.ravel(step)

    return jax.grad(function)(model.ravel(point))


def _em_difference(model, step, point, xs, weights):
    """The difference quotient along the weights, both points at once."""
    signs = jnp.asarray([step, -step], weights.dtype)
    vectors = model.ravel(point)[None] + signs[:, None] * weights[None]
    steps = jax.vmap(lambda v: model.expectation_maximization(model.unravel(v), xs))(vectors)
    ahead, behind = jax.vmap(model.ravel)(steps) @ weights
    return (ahead - behind) / (2 * step)


@over([name for name in GENERIC_CONJUGATED if name not in NUMERICAL])
def test_the_gradient_of_an_em_step_is_that_of_differences(case):
    weights = _direction(case)
    slope = case.jit(_em_gradient)(case.point, case.observables, weights) @ weights
    step = case.eps ** (1 / 3) / 4
    expected = case.jit(_em_difference, step)(case.point, case.observables, weights)
    # The curvature of an EM step is large where a component has little data.
    case.close(slope, expected, 3e3, power=2 / 3)
