"""EM never lowers the likelihood, and equals the M-step of the average posterior statistics."""

import itertools

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.laws.cases import CONJUGATED, GENERIC_CONJUGATED, SOLVED, over


def _steps(model, points, xs, weights):
    """One step of EM from each of several points at once, and the likelihoods before it."""

    def one(point):
        value = model.average_log_observable_density(point, xs, weights)
        return model.expectation_maximization(point, xs, weights), value

    return jax.vmap(one)(points)


@over(CONJUGATED, both=SOLVED)
def test_em_never_lowers_the_likelihood(case):
    points, values = case.points, []
    for _ in range(6):
        points, value = case.jit(_steps)(points, case.observables, case.weights)
        values.append([float(v) for v in value])
    for history in zip(*values, strict=True):
        # Rounding alone may lower it, by some units in the last place of the terms of the density.
        slack = 1e3 * case.eps * (1 + max(map(abs, history)))
        assert all(after >= before - slack for before, after in itertools.pairwise(history))
    # The data come from the second point, so that the first has something to learn.
    assert values[1][0] > values[0][0] + 1e-4


def _em_in_chunks(model, size, point, xs, weights):
    return model.expectation_maximization(point, xs, weights, batch_size=size)


@over([name for name in CONJUGATED if name in SOLVED])
def test_em_is_the_same_in_chunks_and_for_many_points_at_once(case):
    xs, weights = case.observables, case.weights
    at_once, _ = case.jit(_steps)(case.points, xs, weights)
    # 8 does not divide 23: the last chunk overlaps the one before it.
    found = case.jit(_em_in_chunks, 8)(case.point, xs, weights)
    # The sums of the E-step differ by rounding, which the M-step amplifies by its conditioning.
    case.close(found, at_once[0], 1e4)
    # What EM returns has standard latents already.
    case.close(case.jit("standardize")(found), found, 1e4)


def _posterior_average(model, point, xs, weights):
    """Averages of statistics, and of log densities without base measures, one by one."""
    means = jax.vmap(lambda x: model.posterior_statistics(point, x))(xs)
    shares = weights / jnp.sum(weights)
    densities = jax.vmap(lambda x: model.log_observable_density(point, x))(xs)
    densities = densities - jax.vmap(model.obs_man.log_base_measure)(xs)
    average = jax.tree.map(lambda leaf: jnp.tensordot(shares, leaf, axes=1), means)
    return average, shares @ densities


@over(GENERIC_CONJUGATED)
def test_mean_posterior_statistics_are_the_average_of_the_posterior_statistics(case):
    arguments = (case.point, case.observables, case.weights)
    found, evidence = case.jit("expectation")(*arguments)
    assert isinstance(found, hm.Mean)
    expected, density = case.jit(_posterior_average)(*arguments)
    case.close(found, expected, 1e3)
    case.close(evidence, density, 1e3)


def _joint_statistics(model, point, x):
    """The definition: the observable's statistics, the posterior's means and their product."""
    posterior = model.pst_man.to_mean(model.posterior_at(point, x))
    observable = model.obs_man.sufficient_statistic(x)
    batch = jax.tree.map(lambda leaf: leaf[None], (x, model.int_man.project_domain(posterior)))
    _, interaction = model.int_man.outer_sum(*batch, jnp.ones(1, _float_of(posterior)))
    return model.point(observable, interaction, posterior)


def _float_of(point):
    return jax.tree.leaves(point)[0].dtype


@over(CONJUGATED)
def test_posterior_statistics_are_products_of_statistics_and_posterior_means(case):
    x = jax.tree.map(lambda leaf: leaf[0], case.observables)
    found = case.jit("posterior_statistics")(case.point, x)
    case.close(found, case.jit(_joint_statistics)(case.point, x), 1e3)
