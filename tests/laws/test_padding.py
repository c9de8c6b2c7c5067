"""Batches are padded where users call, and never while a function is traced: the results agree."""

import jax
import numpy as np

import harmonium as hm
from tests.catalogue import CATALOGUE, REPRESENTATIVES
from tests.laws.cases import is_conjugated, names_where, over

N_ROWS = 11  # padded to 16
FAMILIES = [name for name in REPRESENTATIVES if not is_conjugated(CATALOGUE[name]())]
# Padding is written once for all models: these are a few that compile fast, one of each kind.
MODELS = [
    "linear_diagonal_full",
    "mixture_full",
    "mixture_product",
    "hierarchy_2_scale",
    "mixture_of_factor_analyses",
]
CLUSTERED = names_where(lambda model: hasattr(model, "n_components"), MODELS)


def _first(tree):
    return jax.tree.map(lambda leaf: leaf[:N_ROWS], tree)


def _masks(case):
    """Masks of the rows, of few patterns."""

    def draw(form):
        random = np.random.default_rng(3)
        patterns = random.random((3, *form.shape)) < 0.6
        return patterns[np.arange(N_ROWS) % 3]

    return (jax.tree.map(draw, case.model.obs_man.data_man.mask),)


def _of_families(given):
    model, point, weights = given.model, given.point, _first(given.weights)
    xs = _first(given.xs)
    return [
        model.log_densities(point, xs),
        model.average_log_density(point, xs),
        model.average_log_density(point, xs, weights),
        model.average_sufficient_statistic(xs),
        model.average_sufficient_statistic(xs, weights),
    ]


@over(FAMILIES, _of_families)
def test_padding_makes_no_difference_to_families(case, found):
    case.close(_of_families(case), found, 100)


def _densities(given, observed):
    model, point, weights = given.model, given.point, _first(given.weights)
    xs = _first(given.observables)
    return [
        model.log_observable_densities(point, xs),
        model.log_observable_densities(point, xs, observed=observed),
        model.average_log_observable_density(point, xs, weights),
    ]


@over(MODELS, _densities, _masks)
def test_padding_makes_no_difference_to_densities(case, found):
    case.close(_densities(case, *_masks(case)), found, 100)


def _posteriors(given, observed):
    model, point, weights = given.model, given.point, _first(given.weights)
    xs = _first(given.observables)
    return [
        model.mean_posterior_statistics(point, xs),
        model.mean_posterior_statistics(point, xs, weights),
        model.mean_posterior_statistics(point, xs, weights, observed=observed),
        model.expected_latents(point, xs),
    ]


@over(MODELS, _posteriors, _masks)
def test_padding_makes_no_difference_to_the_e_step(case, found):
    case.close(_posteriors(case, *_masks(case)), found, 100)


def _steps(given):
    weights = _first(given.weights)
    return given.model.expectation_maximization(given.point, _first(given.observables), weights)


@over(MODELS, _steps)
def test_padding_makes_no_difference_to_a_step_of_em(case, found):
    case.close(_steps(case), found, 1e4)


def _filled(given, observed):
    return hm.impute(given.model, given.point, _first(given.observables), observed)


@over(MODELS, _filled, _masks)
def test_padding_makes_no_difference_to_what_is_filled_in(case, found):
    case.close(_filled(case, *_masks(case)), found, 100)


def _assigned(given):
    return given.model.assign(given.point, _first(given.observables))


@over(CLUSTERED, _assigned)
def test_padding_makes_no_difference_to_clusters(case, found):
    np.testing.assert_array_equal(_assigned(case), found)
