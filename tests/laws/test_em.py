"""EM never lowers the likelihood, and equals the M-step of the average posterior statistics."""

import jax
import jax.numpy as jnp

import harmonium as hm
from tests.laws.cases import is_conjugated, names_where, over

CONJUGATED = names_where(is_conjugated)


@over(CONJUGATED)
def test_em_never_lowers_the_likelihood(case):
    step, average = (
        case.jit("expectation_maximization"),
        case.jit("average_log_observable_density"),
    )
    point, values = case.point, []
    for _ in range(5):
        values.append(float(average(point, case.observables, case.weights)))
        point = step(point, case.observables, case.weights)
    values.append(float(average(point, case.observables, case.weights)))
    # Rounding alone may lower it, by some units in the last place of the terms of the density.
    slack = 1e3 * case.eps * (1 + max(map(abs, values)))
    assert all(after >= before - slack for before, after in zip(values, values[1:], strict=False))
    # The data come from another model, so that there is something to be learned at first.
    assert values[1] > values[0] + 1e-4


def _posterior_average(model, point, xs, weights):
    means = jax.vmap(lambda x: model.posterior_statistics(point, x))(xs)
    shares = weights / jnp.sum(weights)
    return jax.tree.map(lambda leaf: jnp.tensordot(shares, leaf, axes=1), means)


@over(CONJUGATED)
def test_mean_posterior_statistics_are_the_average_of_the_posterior_statistics(case):
    arguments = (case.point, case.observables, case.weights)
    found = case.jit("mean_posterior_statistics")(*arguments)
    assert isinstance(found, hm.Mean)
    case.close(found, case.jit(_posterior_average)(*arguments), 1e3)


def _joint_statistics(model, point, x):
    """The definition: the observable's statistics, the posterior's means and their product."""
    posterior = model.pst_man.to_mean(model.posterior_at(point, x))
    observable = model.obs_man.sufficient_statistic(x)
    batch = jax.tree.map(lambda leaf: leaf[None], (x, model.int_man.project_domain(posterior)))
    interaction = model.int_man.outer_sum(*batch, jnp.ones(1, _float_of(posterior)))
    return model.point(observable, interaction, posterior)


def _float_of(point):
    return jax.tree.leaves(point)[0].dtype


@over(CONJUGATED)
def test_posterior_statistics_are_products_of_statistics_and_posterior_means(case):
    x = jax.tree.map(lambda leaf: leaf[0], case.observables)
    found = case.jit("posterior_statistics")(case.point, x)
    case.close(found, case.jit(_joint_statistics)(case.point, x), 1e3)
