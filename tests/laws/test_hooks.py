"""Performance hooks: special versions equal the defaults they stand for."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family.duality import solve_dual
from harmonium.geometry.embedding import map_translations
from tests.catalogue import EMBEDDINGS, FAMILIES
from tests.compiled import compute
from tests.laws.cases import CONJUGATED_KINDS, assert_close, over

N_SHIFTS = 5


def _posteriors(given):
    model, latent, interaction = given.model, given.point.latent, given.model.int_man
    shifts = interaction.shifts(given.point.interaction, given.observables)
    n_shifts = len(jax.tree.leaves(shifts)[0])
    weights = jnp.linspace(-1, 1, n_shifts, dtype=given.dtype)[:, None]
    found = interaction.translations(latent, shifts)
    expected = map_translations(
        model.pst_man,
        interaction.translate_domain,
        interaction.project_domain,
        jax.tree.map(lambda leaf: leaf[None], latent),
        shifts,
    )
    return [_numbers(translations, weights) for translations in (found, expected)]


def _numbers(translations, weights):
    return translations.log_partitions, translations.projections, translations.total(weights)


@over(CONJUGATED_KINDS, _posteriors)
def test_translations_of_the_latent_equal_those_mapped_one_by_one(case, found):
    case.close(*found, 1e4)


def _dual(given):
    found = solve_dual(given.model, given.mean, given.other)
    return found, jax.tree.map(lambda leaf: leaf[0], given.to_natural[1])


# The solver sees a model through its log partition function only: a few models stand for all.
CLOSED_FORM = [*FAMILIES, "linear_diagonal_full", "mixture_full", "hierarchy_2"]


@over(CLOSED_FORM, _dual)
def test_closed_forms_of_to_natural_equal_the_numerical_dual(case, found):
    case.close(*found, 3e4)


def _into_families():
    kinds = hm.Normal, hm.Product
    return [name for name in EMBEDDINGS if isinstance(EMBEDDINGS[name]().amb_man, kinds)]


@pytest.mark.parametrize("name", _into_families())
def test_translations_of_an_embedding_equal_those_mapped_one_by_one(name):
    embedding = EMBEDDINGS[name]()
    rng = np.random.default_rng(0)
    vectors = 0.1 * rng.normal(size=(N_SHIFTS, embedding.sub_man.dim))
    weights = rng.normal(size=(N_SHIFTS, 2))

    def translate(vectors, weights):
        points = jax.vmap(embedding.amb_man.initialize)(jax.random.split(jax.random.key(0), 2))
        shifts = jax.vmap(embedding.sub_man.unravel)(vectors)
        found = embedding.translations(points, shifts)
        functions = embedding.translate, embedding.project
        expected = map_translations(embedding.amb_man, *functions, points, shifts)
        return [_numbers(translations, weights) for translations in (found, expected)]

    vectors, weights = (jnp.asarray(array, float) for array in (vectors, weights))
    found, expected = compute(translate, vectors, weights)
    for actual, wanted in zip(found, expected, strict=True):
        assert_close(actual, wanted, 1e4 * float(jnp.finfo(weights.dtype).eps))
