"""Maps of several blocks, both ways against dense matrices, and moved to larger manifolds."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
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

X = np.asarray([[0.3, -1.0, 2.0], [1.5, 0.2, -0.4]])
Z = (np.asarray([0.7, -1.1]), 2)


@pytest.fixture(params=MAPS)
def linear_map(request):
    return MAPS[request.param]


@pytest.fixture
def xs():
    return jnp.asarray(X, float)


@pytest.fixture
def z():
    return (jnp.asarray(Z[0], float), jnp.asarray(Z[1]))


def _random(manifold, seed=0):
    return manifold.unravel(jax.random.normal(jax.random.key(seed), (manifold.dim,)))


def _blocks(linear_map):
    return linear_map.maps if isinstance(linear_map, hm.BlockMap) else (linear_map,)


def _matrices(linear_map, point):
    """The matrix of each block in minimal coordinates: codomain times domain."""
    start, vector = 0, np.asarray(linear_map.ravel(point))
    for block in _blocks(linear_map):
        shape = block.cod_emb.sub_man.dim, block.dom_emb.sub_man.dim
        yield block, vector[start : start + shape[0] * shape[1]].reshape(shape)
        start += shape[0] * shape[1]


def _statistic(embedding, x):
    family = embedding.sub_man
    return np.asarray(family.ravel(family.sufficient_statistic(embedding.observe(x))))


def _embedded(embedding, vector):
    point = embedding.sub_man.unravel(jnp.asarray(vector))
    return np.asarray(embedding.amb_man.ravel(embedding.embed(point)))


def test_forwards_it_adds_the_product_with_the_statistic(linear_map, z):
    point, observable = _random(linear_map), _random(OBSERVABLE, 1)
    found = linear_map.translate_codomain(observable, point, z)
    expected = np.asarray(OBSERVABLE.ravel(observable))
    for block, matrix in _matrices(linear_map, point):
        expected = expected + _embedded(block.cod_emb, matrix @ _statistic(block.dom_emb, z))
    assert_close(OBSERVABLE.ravel(found), expected)


def test_backwards_it_adds_the_transposed_product_with_the_statistic(linear_map, xs):
    point, latent = _random(linear_map), _random(LATENT, 2)
    shifts = linear_map.shifts(point, xs)
    for n, x in enumerate(xs):
        shift = jax.tree.map(lambda leaf, n=n: leaf[n], shifts)
        found = linear_map.translate_domain(latent, shift)
        expected = np.asarray(LATENT.ravel(latent))
        for block, matrix in _matrices(linear_map, point):
            product = matrix.T @ _statistic(block.cod_emb, x)
            expected = expected + _embedded(block.dom_emb, product)
        assert_close(LATENT.ravel(found), expected)


def test_outer_sums_are_weighted_sums_of_outer_products(linear_map, xs, z):
    latent = LATENT.sufficient_statistic(z)
    means = jax.tree.map(
        lambda leaf: jnp.stack([leaf, 2 * leaf]), linear_map.project_domain(latent)
    )
    total, found = linear_map.outer_sum(xs, means, jnp.asarray([0.5, -2.0]))
    assert isinstance(total, hm.Mean) and isinstance(found, hm.Mean)
    first, second = (OBSERVABLE.ravel(OBSERVABLE.sufficient_statistic(x)) for x in xs)
    assert_close(OBSERVABLE.ravel(total), 0.5 * first - 2.0 * second)
    expected = []
    for block in _blocks(linear_map):
        rows = [_statistic(block.cod_emb, x) for x in xs]
        column = _statistic(block.dom_emb, z)
        expected.append(np.outer(0.5 * rows[0] - 4.0 * rows[1], column).reshape(-1))
    assert_close(linear_map.ravel(found), np.concatenate(expected))


def test_the_energy_is_the_same_forwards_and_backwards(linear_map, xs, z):
    point, latent = _random(linear_map), LATENT.sufficient_statistic(z)
    batch = jax.tree.map(lambda leaf: leaf[None], linear_map.project_domain(latent))
    energy = hm.dot(point, linear_map.outer_sum(xs[:1], batch, jnp.ones(1))[1])
    forwards = linear_map.translate_codomain(OBSERVABLE.zeros(), point, z)
    assert_close(hm.dot(forwards, OBSERVABLE.sufficient_statistic(xs[0])), energy)
    shift = jax.tree.map(lambda leaf: leaf[0], linear_map.shifts(point, xs[:1]))
    backwards = linear_map.translate_domain(LATENT.zeros(), shift)
    assert_close(hm.dot(backwards, latent), energy)


def test_translations_are_those_of_one_observation_at_a_time(linear_map, xs):
    point = linear_map.unravel(0.01 * jnp.ones(linear_map.dim))
    latent = LATENT.initialize(jax.random.key(2))
    shifts, weights = linear_map.shifts(point, xs), jnp.asarray([[0.3], [2.0]])
    found = linear_map.translations(latent, shifts)
    means = []
    for n in range(len(X)):
        shift = jax.tree.map(lambda leaf, n=n: leaf[n], shifts)
        translated = linear_map.translate_domain(latent, shift)
        means.append(LATENT.to_mean(translated))
        assert_close(found.log_partitions[n, 0], LATENT.log_partition_function(translated))
        projection = jax.tree.map(lambda leaf, n=n: leaf[n, 0], found.projections)
        assert_close(projection, linear_map.project_domain(means[n]))
    assert_close(found.total(weights)[0], means[0] * 0.3 + means[1] * 2.0)


def test_a_larger_latent_manifold_may_hold_the_domain(linear_map, z):
    outer = hm.ComponentEmbedding(hm.Product(LATENT, hm.Normal(1)), 0)
    larger = linear_map.compose_domain(outer)
    point, observable = _random(linear_map), _random(OBSERVABLE, 1)
    adopted = larger.adopt(point)
    assert larger.dim == linear_map.dim and adopted.manifold == larger
    found = larger.translate_codomain(observable, adopted, (z, jnp.zeros(1)))
    assert_close(found, linear_map.translate_codomain(observable, point, z))
    assert_close(linear_map.adopt(adopted), point, 0)


def test_a_larger_observable_manifold_may_hold_the_codomain(linear_map, z):
    outer = hm.NormalCovarianceEmbedding(OBSERVABLE, hm.Normal(3))
    larger = linear_map.compose_codomain(outer)
    point, observable = _random(linear_map), _random(OBSERVABLE, 1)
    found = larger.translate_codomain(outer.embed(observable), larger.adopt(point), z)
    assert_close(found, outer.embed(linear_map.translate_codomain(observable, point, z)))


def test_translations_are_those_of_all_blocks_together(xs):
    point, latent = _random(BLOCKS) * 0.1, LATENT.initialize(jax.random.key(3))
    shifts = BLOCKS.shifts(point, xs)
    found = BLOCKS.translations(latent, shifts)
    total = LATENT.zeros(hm.Coordinates.MEAN)
    for n in range(2):
        shift = jax.tree.map(lambda leaf, n=n: leaf[n], shifts)
        moved = BLOCKS.translate_domain(latent, shift)
        assert_close(found.log_partitions[n, 0], LATENT.log_partition_function(moved))
        total = total + LATENT.to_mean(moved)
    assert_close(found.total(jnp.ones((2, 1)))[0], total)


def test_blocks_between_other_statistics_are_not_adopted():
    with pytest.raises(TypeError, match="interacting statistics differ"):
        BLOCKS.adopt(_random(hm.BlockMap((COMPONENTS, LOCATIONS))))


def test_rows_of_the_wrong_shape_are_refused():
    rows = jax.vmap(lambda _: hm.Euclidean(3).zeros())(jnp.zeros(5))
    with pytest.raises(ValueError, match="batch axes"):
        hm.LinearMapPoint((rows,), LOCATIONS, hm.Coordinates.NATURAL)
