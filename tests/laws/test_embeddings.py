"""Embeddings and their adjoints."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import EMBEDDINGS
from tests.compiled import compute
from tests.laws.cases import assert_close

MEAN = hm.Coordinates.MEAN


@pytest.fixture(
    scope="module",
    params=[
        pytest.param((name, precision), id=f"{name}-float{precision}", marks=marks)
        for name in EMBEDDINGS
        for precision, marks in ((64, ()), (32, pytest.mark.whole))
    ],
)
def found(request):
    """What the laws of an embedding compare, by one program, with leaves of NumPy."""
    name, precision = request.param
    embedding, dtype = EMBEDDINGS[name](), np.dtype(f"float{precision}")
    rng = np.random.default_rng(20240419)
    sub = [rng.normal(size=embedding.sub_man.dim).astype(dtype) for _ in range(2)]
    ambient = [rng.normal(size=embedding.amb_man.dim).astype(dtype) for _ in range(2)]
    with jax.enable_x64(precision == 64):
        values = compute(_maps(embedding), sub, ambient)
    return embedding, float(np.finfo(dtype).eps), values


def _maps(embedding):
    """The function that applies an embedding to two points of either manifold."""

    def apply(sub, ambient):
        theta, direction = map(embedding.sub_man.unravel, map(jnp.asarray, sub))
        point, eta = map(jnp.asarray, ambient)
        point, eta = embedding.amb_man.unravel(point), embedding.amb_man.unravel(eta, MEAN)
        embedded, projected = embedding.embed(theta), embedding.project(eta)
        pulled = embedding.pullback(theta, eta)
        moved = embedding.translate(point, theta)
        inner = hm.geometry.IdentityEmbedding(embedding.sub_man)
        return {
            "theta": theta,
            "embedded": embedded,
            "projected": projected,
            "pairings": (hm.dot(embedded, eta), hm.dot(theta, projected)),
            "restricted": embedding.restrict(embedded),
            "moved": (moved, point + embedded),
            "vectors": (embedding.amb_man.ravel(moved), embedding.amb_man.ravel(point)),
            "pulled": pulled,
            # The derivative of a symmetric matrix may fall on either side of the diagonal.
            "slopes": (hm.dot(direction, pulled), hm.dot(direction, projected)),
            "through": embedding.translate_through(inner, point, theta),
        }

    return apply


def test_embed_and_project_are_adjoint(found):
    embedding, eps, values = found
    ambient, sub = values["embedded"], values["projected"]
    assert isinstance(ambient, hm.Natural) and ambient.manifold == embedding.amb_man
    assert isinstance(sub, hm.Mean) and sub.manifold == embedding.sub_man
    assert_close(*values["pairings"], 1e3 * eps)


def test_restrict_undoes_embed(found):
    _, eps, values = found
    assert_close(values["restricted"], values["theta"], 10 * eps)


def test_translate_adds_what_is_embedded(found):
    embedding, eps, values = found
    assert_close(*values["moved"], 10 * eps)
    assert embedding.sub_man.dim == 0 or not np.array_equal(*values["vectors"])


def test_the_pullback_of_a_linear_embedding_is_its_projection(found):
    _, eps, values = found
    assert isinstance(values["pulled"], hm.Mean)
    assert_close(*values["slopes"], 1e3 * eps)


def test_translate_through_is_translate_of_the_composition(found):
    _, eps, values = found
    assert_close(values["through"], values["moved"][0], 10 * eps)


OBSERVED = [
    name for name, build in EMBEDDINGS.items() if isinstance(build().sub_man, hm.ExponentialFamily)
]


@pytest.mark.parametrize("name", OBSERVED)
def test_what_is_observed_has_the_projected_statistic(name):
    embedding = EMBEDDINGS[name]()
    ambient, sub = embedding.amb_man, embedding.sub_man

    def statistics(keys):
        x = ambient.sample(keys[0], ambient.initialize(keys[1]))
        found = sub.sufficient_statistic(embedding.observe(x))
        return found, embedding.project(ambient.sufficient_statistic(x))

    found, expected = compute(statistics, jax.random.split(jax.random.key(0)))
    assert_close(found, expected, 10 * _eps(found))


def _eps(tree):
    return float(np.finfo(jax.tree.leaves(tree)[0].dtype).eps)


RESTRICTIONS = [
    name
    for name, build in EMBEDDINGS.items()
    if isinstance(build(), hm.geometry.RestrictionEmbedding)
]


@pytest.mark.parametrize("name", RESTRICTIONS)
def test_a_dominated_point_may_be_added_to_any_valid_one(name):
    embedding = EMBEDDINGS[name]()
    # Natural points act as conjugation parameters do: they may be any, however large.
    shifts = 10.0 * np.random.default_rng(0).normal(size=(3, embedding.amb_man.dim))

    def are_valid(shifts):
        theta = embedding.amb_man.initialize(jax.random.key(0))

        def moved(shift):
            rho = embedding.amb_man.unravel(shift)
            return theta + rho - embedding.embed(embedding.dominate(rho))

        return jax.vmap(lambda shift: embedding.amb_man.in_domain(moved(shift)))(shifts)

    assert np.all(compute(are_valid, jnp.asarray(shifts, float)))
