"""Reverse-mode gradients, against identities that hold exactly and against differences."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.laws.cases import CONJUGATED_KINDS, GENERIC, GENERIC_CONJUGATED, KINDS, NUMERICAL, over


def _density_gradient(given):
    x = jax.tree.map(lambda leaf: leaf[0], given.xs)
    found = hm.gradient(given.model.log_density)(given.point, x)
    return found, given.model.sufficient_statistic(x) - given.mean


@over(KINDS, _density_gradient)
def test_the_gradient_of_the_log_density_is_statistic_minus_mean(case, found):
    assert isinstance(found[0], hm.Mean)
    case.close(*found, 1e2)


def _observable_gradient(given):
    model, xs = given.model, given.observables
    found = hm.gradient(model.average_log_observable_density)(given.point, xs)
    return found, model.mean_posterior_statistics(given.point, xs) - given.mean


@over(CONJUGATED_KINDS, _observable_gradient)
def test_the_gradient_of_the_likelihood_is_posterior_minus_prior_mean(case, found):
    # Fisher's identity, which ties the exact likelihood to the E-step of EM.
    case.close(*found, 1e3)


def _mean_gradient(given):
    model = given.model

    def function(vector):
        return given.direction @ model.ravel(given.call("to_mean", model.unravel(vector)))

    # The Fisher matrix, which is symmetric, comes from forward mode.
    expected = given.fisher_matrix @ given.direction
    return jax.grad(function)(model.ravel(given.point)), expected


@over(GENERIC, _mean_gradient)
def test_the_gradient_of_the_mean_is_the_fisher_matrix(case, found):
    case.close(*found, 1e3)


def _natural_gradient(given):
    model = given.model

    def function(vector):
        natural = given.call("to_natural", model.unravel(vector, hm.Coordinates.MEAN))
        return given.direction @ model.ravel(natural)

    found = jax.grad(function)(model.ravel(given.mean))
    # The error of the gradient is relative to its size, which is that of the inverse.
    size = 1 + jnp.max(jnp.abs(found))
    return given.fisher_matrix @ found / size, given.direction / size


@over(GENERIC, _natural_gradient)
def test_the_gradient_of_to_natural_is_the_inverse_of_the_fisher_matrix(case, found):
    case.close(*found, 1e4)


def _em_gradient(given):
    """The slope of a step of EM in one direction, and the difference quotient."""
    model, weights = given.model, given.direction

    def function(vector):
        step = given.call("expectation_maximization", model.unravel(vector), given.observables)
        return weights @ model.ravel(step)

    vector, step = model.ravel(given.point), given.eps ** (1 / 3) / 4
    both = jnp.stack([vector + step * weights, vector - step * weights])
    ahead, behind = jax.vmap(function)(both)
    return jax.grad(function)(vector) @ weights, (ahead - behind) / (2 * step)


@over([name for name in GENERIC_CONJUGATED if name not in NUMERICAL], _em_gradient)
def test_the_gradient_of_an_em_step_is_that_of_differences(case, found):
    # The curvature of an EM step is large where a component has little data.
    case.close(*found, 3e3, power=2 / 3)
