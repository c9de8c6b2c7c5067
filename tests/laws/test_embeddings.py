"""Embeddings and their adjoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import EMBEDDINGS
from tests.laws.cases import assert_close

TOLERANCE = 1e3


@pytest.fixture(params=EMBEDDINGS)
def embedding(request):
    return EMBEDDINGS[request.param]()


@pytest.fixture(params=[64, 32], autouse=True)
def precision(request):
    with jax.enable_x64(request.param == 64):
        yield request.param


def _eps():
    return float(jnp.finfo(jnp.zeros(()).dtype).eps)


def _random(key, manifold, coordinates=hm.Coordinates.NATURAL):
    return manifold.unravel(jax.random.normal(key, (manifold.dim,)), coordinates)


def test_embed_and_project_are_adjoint(embedding, getkey):
    theta = _random(getkey(), embedding.sub_man)
    eta = _random(getkey(), embedding.amb_man, hm.Coordinates.MEAN)
    ambient, sub = embedding.embed(theta), embedding.project(eta)
    assert isinstance(ambient, hm.Natural) and ambient.manifold == embedding.amb_man
    assert isinstance(sub, hm.Mean) and sub.manifold == embedding.sub_man
    assert_close(hm.dot(ambient, eta), hm.dot(theta, sub), TOLERANCE * _eps())


def test_restrict_undoes_embed(embedding, getkey):
    theta = _random(getkey(), embedding.sub_man)
    assert_close(embedding.restrict(embedding.embed(theta)), theta, 10 * _eps())


def test_translate_adds_what_is_embedded(embedding, getkey):
    point, shift = _random(getkey(), embedding.amb_man), _random(getkey(), embedding.sub_man)
    moved = embedding.translate(point, shift)
    assert_close(moved, point + embedding.embed(shift), 10 * _eps())
    assert embedding.sub_man.dim == 0 or not np.array_equal(
        embedding.amb_man.ravel(moved), embedding.amb_man.ravel(point)
    )


def test_the_pullback_of_a_linear_embedding_is_its_projection(embedding, getkey):
    theta = _random(getkey(), embedding.sub_man)
    eta = _random(getkey(), embedding.amb_man, hm.Coordinates.MEAN)
    found = embedding.pullback(theta, eta)
    assert isinstance(found, hm.Mean)
    manifold = embedding.sub_man
    # The derivative of a symmetric matrix may fall on either side of the diagonal.
    direction = _random(getkey(), manifold)
    expected = hm.dot(direction, embedding.project(eta))
    assert_close(hm.dot(direction, found), expected, TOLERANCE * _eps())


def test_translate_through_is_translate_of_the_composition(embedding, getkey):
    inner = hm.IdentityEmbedding(embedding.sub_man)
    point, shift = _random(getkey(), embedding.amb_man), _random(getkey(), embedding.sub_man)
    found = embedding.translate_through(inner, point, shift)
    assert_close(found, embedding.translate(point, shift), 10 * _eps())


OBSERVED = {
    name: build
    for name, build in EMBEDDINGS.items()
    if isinstance(build().sub_man, hm.ExponentialFamily)
}


@pytest.mark.parametrize("name", OBSERVED)
def test_what_is_observed_has_the_projected_statistic(name, getkey):
    embedding = OBSERVED[name]()
    ambient, sub = embedding.amb_man, embedding.sub_man
    x = ambient.sample(getkey(), ambient.initialize(getkey()))
    found = sub.sufficient_statistic(embedding.observe(x))
    assert_close(found, embedding.project(ambient.sufficient_statistic(x)), 10 * _eps())


RESTRICTIONS = {
    name: build
    for name, build in EMBEDDINGS.items()
    if isinstance(build(), hm.RestrictionEmbedding)
}


@pytest.mark.parametrize("name", RESTRICTIONS)
def test_a_dominated_point_may_be_added_to_any_valid_one(name, getkey):
    embedding = RESTRICTIONS[name]()
    theta = embedding.amb_man.initialize(getkey())
    for _ in range(3):
        # Natural points act as conjugation parameters do: they may be any, however large.
        rho = 10.0 * _random(getkey(), embedding.amb_man)
        moved = theta + rho - embedding.embed(embedding.dominate(rho))
        assert bool(embedding.amb_man.in_domain(moved))
