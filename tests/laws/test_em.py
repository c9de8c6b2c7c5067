"""EM never lowers the likelihood, and equals the M-step of the average posterior statistics."""

import itertools

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.laws.cases import (
    CONJUGATED,
    CONJUGATED_KINDS,
    GENERIC_CONJUGATED,
    SOLVED_KINDS,
    SOLVED_OR_KINDS,
    names_where,
    over,
)


def _likelihoods(given):
    return given.em_steps[1]


@over([name for name in CONJUGATED if name in SOLVED_OR_KINDS], _likelihoods)
def test_em_never_lowers_the_likelihood(case, found):
    for history in found.T.tolist():
        # Rounding alone may lower it, by some units in the last place of the terms of the density.
        slack = 1e3 * case.eps * (1 + max(map(abs, history)))
        assert all(after >= before - slack for before, after in itertools.pairwise(history))
    # The data come from the second point, so that the first has something to learn.
    assert found[1, 0] > found[0, 0] + 1e-4


def _step_in_chunks(given):
    model = given.model
    at_once = jax.tree.map(lambda leaf: leaf[0], given.em_steps[0])
    # 8 does not divide 23: the last chunk overlaps the one before it.
    chunks = model.expectation_maximization(
        given.point, given.observables, given.weights, batch_size=8
    )
    return at_once, chunks, given.call("standardize", chunks)


@over([name for name in CONJUGATED_KINDS if name in SOLVED_KINDS], _step_in_chunks)
def test_em_is_the_same_in_chunks_and_for_many_points_at_once(case, found):
    at_once, chunks, standard = found
    # The sums of the E-step differ by rounding, which the M-step amplifies by its conditioning.
    case.close(chunks, at_once, 1e4)
    # What EM returns has standard latents already.
    case.close(standard, chunks, 1e4)


def _averages(given):
    """What the E-step returns: statistics, and log densities without base measures.

    Both as averages as well, one observation after the other.
    """
    model, xs, shares = given.model, given.observables, given.weights / given.weights.sum()
    found = model.expectation(given.point, xs, given.weights)
    means = jax.vmap(lambda x: given.call("posterior_statistics", given.point, x))(xs)
    densities = jax.vmap(lambda x: given.call("log_observable_density", given.point, x))(xs)
    densities = densities - jax.vmap(model.data_man.log_base_measure)(xs)
    average = jax.tree.map(lambda leaf: jnp.tensordot(shares, leaf, axes=1), means)
    return found, (average, shares @ densities)


@over(GENERIC_CONJUGATED, _averages)
def test_mean_posterior_statistics_are_the_average_of_the_posterior_statistics(case, found):
    (statistics, evidence), (expected, density) = found
    assert isinstance(statistics, hm.Mean)
    case.close(statistics, expected, 1e3)
    case.close(evidence, density, 1e3)


def _joint_statistics(given):
    """Paired with another point, and the expected energy of that, linear in posterior means."""
    model, x = given.model, jax.tree.map(lambda leaf: leaf[0], given.observables)
    posterior = model.pst_man.to_mean(model.posterior_at(given.point, x))
    statistics = given.call("posterior_statistics", given.point, x)
    latent, rest = model.condition(given.other, x, None)
    return hm.dot(given.other, statistics), hm.dot(latent, posterior) + rest


@over(
    names_where(lambda model: model.data_man == model.obs_man, CONJUGATED_KINDS), _joint_statistics
)
def test_posterior_statistics_pair_as_products_of_statistics_and_posterior_means(case, found):
    case.close(*found, 1e3)
