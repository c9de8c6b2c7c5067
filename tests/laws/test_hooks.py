"""Performance hooks: special versions equal the defaults they stand for."""

import jax
import jax.numpy as jnp
import pytest

import harmonium as hm
from harmonium.exponential_family.duality import solve_dual
from harmonium.geometry.embedding import map_translations
from tests.catalogue import EMBEDDINGS, FAMILIES
from tests.laws.cases import CONJUGATED, assert_close, over

N_SHIFTS = 5


def _posteriors(model, point, xs):
    shifts = model.int_man.shifts(point.interaction, xs)
    weights = jnp.linspace(-1, 1, len(jax.tree.leaves(shifts)[0]), dtype=_dtype(point))[:, None]
    found = model.int_man.translations(point.latent, shifts)
    expected = map_translations(
        model.pst_man,
        model.int_man.translate_domain,
        model.int_man.project_domain,
        jax.tree.map(lambda leaf: leaf[None], point.latent),
        shifts,
    )
    return [
        (t.log_partitions, jax.tree.leaves(t.projections), t.total(weights))
        for t in (found, expected)
    ]


def _dtype(point):
    return jax.tree.leaves(point)[0].dtype


@over(CONJUGATED)
def test_translations_of_the_latent_equal_those_mapped_one_by_one(case):
    found, expected = case.jit(_posteriors)(case.point, case.observables)
    case.close(found, expected, 1e4)


def _dual(model, mean, start):
    return solve_dual(model, mean, start)


# The solver sees a model through its log partition function only: a few models stand for all.
CLOSED_FORM = [*FAMILIES, "linear_diagonal_full", "mixture_diagonal", "hierarchy_2_full"]


@over(CLOSED_FORM)
def test_closed_forms_of_to_natural_equal_the_numerical_dual(case):
    found = case.jit(_dual)(case.mean, case.other)
    case.close(found, case.jit("to_natural")(case.mean), 3e4)


def _into_families():
    kinds = hm.Normal, hm.Product
    return [name for name in EMBEDDINGS if isinstance(EMBEDDINGS[name]().amb_man, kinds)]


@pytest.mark.parametrize("name", _into_families())
def test_translations_of_an_embedding_equal_those_mapped_one_by_one(name, getkey):
    embedding = EMBEDDINGS[name]()
    points = jax.vmap(embedding.amb_man.initialize)(jax.random.split(getkey(), 2))
    vectors = 0.1 * jax.random.normal(getkey(), (N_SHIFTS, embedding.sub_man.dim))
    shifts = jax.vmap(embedding.sub_man.unravel)(vectors)
    weights = jax.random.normal(getkey(), (N_SHIFTS, 2))
    found = embedding.translations(points, shifts)
    expected = map_translations(
        embedding.amb_man, embedding.translate, embedding.project, points, shifts
    )
    eps = float(jnp.finfo(weights.dtype).eps)
    assert_close(found.log_partitions, expected.log_partitions, 1e4 * eps)
    assert_close(found.projections, expected.projections, 1e4 * eps)
    assert_close(found.total(weights), expected.total(weights), 1e4 * eps)
