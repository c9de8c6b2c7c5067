"""Maps of several blocks, both ways against dense matrices, and moved to larger manifolds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

OBSERVABLE = hm.Normal(3, hm.Diagonal())
LATENT = hm.Product(hm.Normal(2), hm.Categorical(3))
LOCATION = hm.ComposedEmbedding(
    hm.ComponentEmbedding(LATENT, 0), hm.LocationEmbedding(hm.Normal(2))
)
LOCATIONS = hm.LinearMap(LOCATION, hm.LocationEmbedding(OBSERVABLE))
COMPONENTS = hm.LinearMap(hm.ComponentEmbedding(LATENT, 1), hm.IdentityEmbedding(OBSERVABLE))
NORMALS = hm.LinearMap(hm.ComponentEmbedding(LATENT, 0), hm.IdentityEmbedding(OBSERVABLE))
BLOCKS = hm.BlockMap((LOCATIONS, COMPONENTS))
ONE_DOMAIN = hm.BlockMap(
    (NORMALS, hm.LinearMap(hm.ComponentEmbedding(LATENT, 0), hm.LocationEmbedding(OBSERVABLE)))
)
MAPS = {
    "locations": LOCATIONS,
    "components": COMPONENTS,
    "normals": NORMALS,
    "blocks": BLOCKS,
    "one_domain": ONE_DOMAIN,
}

XS = np.asarray([[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]])
Z = (np.asarray([0.7, -1.1]), np.asarray(2))


@pytest.fixture(params=MAPS)
def linear_map(request):
    return MAPS[request.param]


def _random(manifold, seed=0):
    """A point of random numbers; inside of `compute`, a constant."""
    return manifold.unravel(np.random.default_rng(seed).normal(size=manifold.dim))


def _blocks(linear_map):
    return linear_map.maps if isinstance(linear_map, hm.BlockMap) else (linear_map,)


def _matrices(linear_map, vector):
    """The matrix of each block in minimal coordinates: codomain times domain."""
    start = 0
    for block in _blocks(linear_map):
        shape = block.cod_emb.sub_man.dim, block.dom_emb.sub_man.dim
        yield block, vector[start : start + shape[0] * shape[1]].reshape(shape)
        start += shape[0] * shape[1]


def _statistic(embedding, x):
    family = embedding.sub_man
    return family.ravel(family.sufficient_statistic(embedding.observe(x)))


def _embedded(embedding, vector):
    point = embedding.sub_man.unravel(vector)
    return embedding.amb_man.ravel(embedding.embed(point))


def _row(batch, n):
    return jax.tree.map(lambda leaf: leaf[n], batch)


def test_forwards_it_adds_the_product_with_the_statistic(linear_map):
    def both(z):
        point, observable = _random(linear_map), _random(OBSERVABLE, 1)
        found = linear_map.translate_codomain(observable, point, z)
        expected = OBSERVABLE.ravel(observable)
        for block, matrix in _matrices(linear_map, linear_map.ravel(point)):
            expected += _embedded(block.cod_emb, matrix @ _statistic(block.dom_emb, z))
        return OBSERVABLE.ravel(found), expected

    assert_close(*compute(both, Z))


def test_a_larger_latent_manifold_may_hold_the_domain(linear_map):
    outer = hm.ComponentEmbedding(hm.Product(LATENT, hm.Normal(1)), 0)
    larger = linear_map.compose_domain(outer)

    def adopt(z):
        point, observable = _random(linear_map), _random(OBSERVABLE, 1)
        adopted = larger.adopt(point)
        found = larger.translate_codomain(observable, adopted, (z, jnp.zeros(1)))
        expected = linear_map.translate_codomain(observable, point, z)
        return adopted, (found, expected), (linear_map.adopt(adopted), point)

    adopted, images, points = compute(adopt, Z)
    assert larger.dim == linear_map.dim and adopted.manifold == larger
    assert_close(*images)
    assert_close(*points, 0)


def test_a_larger_observable_manifold_may_hold_the_codomain(linear_map):
    outer = hm.NormalCovarianceEmbedding(OBSERVABLE, hm.Normal(3))
    larger = linear_map.compose_codomain(outer)

    def both(z):
        point, observable = _random(linear_map), _random(OBSERVABLE, 1)
        found = larger.translate_codomain(outer.embed(observable), larger.adopt(point), z)
        return found, outer.embed(linear_map.translate_codomain(observable, point, z))

    assert_close(*compute(both, Z))


def test_blocks_between_other_statistics_are_not_adopted():
    with pytest.raises(TypeError, match="interacting statistics differ"):
        BLOCKS.adopt(_random(hm.BlockMap((COMPONENTS, LOCATIONS))))


def test_rows_of_the_wrong_shape_are_refused():
    rows = hm.VectorPoint(jnp.asarray(np.zeros((5, 3))), hm.Euclidean(3), hm.Coordinates.NATURAL)
    with pytest.raises(ValueError, match="batch axes"):
        hm.LinearMapPoint((rows,), LOCATIONS, hm.Coordinates.NATURAL)
