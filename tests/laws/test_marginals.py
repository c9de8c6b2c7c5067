"""Marginals as distributions, models given a category, and joints seen from the other side."""

import jax
import jax.numpy as jnp
import numpy as np

import harmonium as hm
from tests.catalogue import LINEAR_GAUSSIANS, MIXTURES
from tests.laws.cases import CONJUGATED_KINDS, KINDS, is_conjugated, names_where, over


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


def _marginal_densities(given):
    family, marginal = hm.observable_distribution(given.model, given.point)
    found = _observable_densities(family, marginal, given.data)
    return found, given.log_observable_densities


# Given the category, a branch with a level more is a harmonium and a leaf beside it is none, so
# that there is no model of both.
UNEVEN = ["tree_uneven", "tree_uneven_posterior_diagonal"]
EVEN = [name for name in KINDS if name not in UNEVEN]
# Observables in no family at hand: a normal view beside a mixture of counts, mixtures of mixtures.
WITHOUT_MARGINAL = ["beside", "tree_of_normals_and_categories", "mixture_of_hierarchies", *UNEVEN]
WITH_MARGINAL = [name for name in CONJUGATED_KINDS if name not in WITHOUT_MARGINAL]


@over([name for name in WITH_MARGINAL if name not in MIXTURES], _marginal_densities)
def test_the_marginal_distribution_has_the_density_of_the_observables(case, found):
    case.close(*found, 1e3)


def _conditional_densities(given):
    """Those given each category, weights of categories, and what these make by Bayes' rule."""
    model, point, xs = given.model, given.point, given.data

    def one(component):  # the model does not depend on which
        conditioned, own = hm.condition_on(model, point, component)
        if is_conjugated(conditioned):
            return conditioned.log_observable_densities(own, xs)
        return conditioned.log_densities(own, xs)  # no latents are left

    densities = jax.vmap(one)(jnp.arange(_top(model)))
    posteriors = jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs)
    weights = hm.top_probabilities(model, point)
    return densities, weights, given.log_observable_densities, posteriors


def _conditions(model):
    return is_conjugated(model) and _top(model) is not None


@over(names_where(_conditions, EVEN), _conditional_densities)
def test_conditional_densities_with_the_weights_of_the_categories_make_the_marginal(case, found):
    densities, weights, expected, posteriors = (array.astype(float) for array in found)
    case.close(np.log(weights @ np.exp(densities)), expected, 1e3)
    # And by Bayes they give the posterior of the category.
    case.close(posteriors, (weights[:, None] * np.exp(densities - expected)).T, 1e3)


def _seen_from_both_sides(given):
    model, point, xs = given.model, given.point, given.xs
    transposed, other = model.transpose(point)
    swapped = hm.Joint(xs.latent, xs.observable)
    again, back = transposed.transpose(other)
    return {
        "joint": (given.log_densities, transposed.log_densities(other, swapped)),
        "latent": (
            model.prr_man.log_densities(model.prior(point), xs.latent),
            transposed.log_observable_densities(other, xs.latent),
        ),
        "observable": (
            given.log_observable_densities,
            transposed.prr_man.log_densities(transposed.prior(other), xs.observable),
        ),
        "again": (given.log_densities, again.log_densities(back, xs)),
    }


@over([name for name in LINEAR_GAUSSIANS if name in KINDS], _seen_from_both_sides)
def test_transposed_models_have_the_same_joint_and_both_marginals(case, found):
    for ours, theirs in found.values():
        case.close(theirs, ours, 3e3)


def _divergences(given):
    """Of observables from the second point, from the point itself, and of joints; log ratios."""
    xs = given.model.data_of(given.draws)
    divergences = [
        hm.observable_relative_entropy(given.model, given.point, q)
        for q in (given.other, given.point)
    ]
    points = given.point, given.other
    densities = [given.call("log_observable_densities", p, xs) for p in points]
    return *divergences, given.relative_entropies[0], densities[0] - densities[1]


@over(names_where(_is_linear_gaussian, WITH_MARGINAL), _divergences)
def test_the_divergence_of_observables_is_at_most_that_of_joints(case, found):
    divergence, itself, of_joints, ratios = found
    assert 0 < divergence <= of_joints
    case.close(itself, 0.0, 1e2)
    # It is the average log ratio of exact densities; five standard errors.
    assert abs(np.mean(ratios) - divergence) <= 5 * np.std(ratios) / len(ratios) ** 0.5
