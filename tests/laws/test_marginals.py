"""Marginals as distributions, models given a category, and joints seen from the other side."""

import math

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.catalogue import LINEAR_GAUSSIANS, MIXTURES
from tests.laws.cases import CONJUGATED, is_conjugated, names_where, over


def _top(model):
    """The number of categories at the top, if there is a categorical."""
    while is_conjugated(model):
        model = model.prr_man
    return model.n_categories if isinstance(model, hm.Categorical) else None


def _is_linear_gaussian(model):
    return is_conjugated(model) and _top(model) is None


def _observable_densities(model, point, xs):
    """Log densities of the observables of a harmonium, or of the observations of a family.

    Where that is one vector, those of a model with several are joined.
    """
    observed = model.obs_man if is_conjugated(model) else model
    if isinstance(observed, hm.Normal):
        xs = jnp.concatenate(jax.tree.leaves(xs), axis=1)
    name = "log_observable_densities" if is_conjugated(model) else "log_densities"
    return getattr(model, name)(point, xs)


def _marginal_densities(model, point, xs):
    return _observable_densities(*model.observable_distribution(point), xs)


# Given the category, a branch with a level more is a harmonium and a leaf beside it is none, so
# that there is no model of both.
UNEVEN = ["tree_uneven", "tree_uneven_posterior_diagonal"]
# Observables in no family at hand: a normal view beside a mixture of counts, mixtures of mixtures.
WITHOUT_MARGINAL = ["beside", "tree_of_normals_and_categories", "mixture_of_hierarchies", *UNEVEN]
WITH_MARGINAL = [name for name in CONJUGATED if name not in WITHOUT_MARGINAL]


@over([name for name in WITH_MARGINAL if name not in MIXTURES])
def test_the_marginal_distribution_has_the_density_of_the_observables(case):
    xs = case.xs.observable
    expected = case.jit("log_observable_densities")(case.point, xs)
    case.close(case.jit(_marginal_densities)(case.point, xs), expected, 1e3)


def _conditional_densities(model, point, xs):
    """Those given each category: the model does not depend on which."""

    def one(component):
        conditioned, own = model.condition_on(point, component)
        if conditioned == model.obs_man:  # no latents are left
            return conditioned.log_densities(own, xs)
        return conditioned.log_observable_densities(own, xs)

    return jax.vmap(one)(jnp.arange(_top(model))), model.top_probabilities(point)


def _conditions(model):
    return is_conjugated(model) and _top(model) is not None


@over([name for name in names_where(_conditions) if name not in UNEVEN])
def test_conditional_densities_with_the_weights_of_the_categories_make_the_marginal(case):
    xs = case.xs.observable
    densities, weights = case.jit(_conditional_densities)(case.point, xs)
    densities, weights = np.asarray(densities, float), np.asarray(weights, float)
    expected = case.jit("log_observable_densities")(case.point, xs)
    case.close(np.log(weights @ np.exp(densities)), expected, 1e3)
    # And by Bayes they give the posterior of the category.
    posterior = case.jit(_posteriors)(case.point, xs)
    shares = weights[:, None] * np.exp(densities - np.asarray(expected, float)[None])
    case.close(posterior, shares.T, 1e3)


def _posteriors(model, point, xs):
    return jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs)


def _seen_from_both_sides(model, point, xs):
    transposed, other = model.transpose(point)
    swapped = hm.Joint(xs.latent, xs.observable)
    again, back = transposed.transpose(other)
    return {
        "joint": (model.log_densities(point, xs), transposed.log_densities(other, swapped)),
        "latent": (
            model.prr_man.log_densities(model.prior(point), xs.latent),
            transposed.log_observable_densities(other, xs.latent),
        ),
        "observable": (
            model.log_observable_densities(point, xs.observable),
            transposed.prr_man.log_densities(transposed.prior(other), xs.observable),
        ),
        "again": (model.log_densities(point, xs), again.log_densities(back, xs)),
    }


@over(LINEAR_GAUSSIANS)
def test_transposed_models_have_the_same_joint_and_both_marginals(case):
    for ours, theirs in case.jit(_seen_from_both_sides)(case.point, case.xs).values():
        case.close(theirs, ours, 3e3)


@over([name for name in names_where(_is_linear_gaussian) if name in WITH_MARGINAL])
def test_the_divergence_of_observables_is_at_most_that_of_joints(case):
    divergence = case.jit("observable_relative_entropy")
    found = float(divergence(case.point, case.other))
    assert 0 < found <= float(case.jit("relative_entropy")(case.point, case.other))
    case.close(divergence(case.point, case.point), 0.0, 1e2)
    # It is the average log ratio of exact densities; five standard errors.
    densities = case.jit("log_observable_densities")
    xs = case.draws.observable
    ratios = densities(case.point, xs) - densities(case.other, xs)
    error = float(jnp.std(ratios)) / math.sqrt(len(ratios))
    assert abs(float(jnp.mean(ratios)) - found) <= 5 * error
