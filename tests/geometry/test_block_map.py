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


def test_backwards_it_adds_the_transposed_product_with_the_statistic(linear_map):
    def both(xs):
        point, latent = _random(linear_map), _random(LATENT, 2)
        shifts = linear_map.shifts(point, xs)

        def expected(x):
            total = LATENT.ravel(latent)
            for block, matrix in _matrices(linear_map, linear_map.ravel(point)):
                product = matrix.T @ _statistic(block.cod_emb, x)
                total += _embedded(block.dom_emb, product)
            return total

        found = [linear_map.translate_domain(latent, _row(shifts, n)) for n in range(len(XS))]
        return [LATENT.ravel(moved) for moved in found], list(jax.vmap(expected)(xs))

    assert_close(*compute(both, XS))


def test_outer_sums_are_weighted_sums_of_outer_products(linear_map):
    blocks = _blocks(linear_map)

    def look(xs, z):
        mean = linear_map.project_domain(LATENT.sufficient_statistic(z))
        means = jax.tree.map(lambda leaf: jnp.stack([leaf, 2 * leaf]), mean)
        total, found = linear_map.outer_sum(xs, means, jnp.asarray([0.5, -2.0]))
        statistics = jax.vmap(lambda x: OBSERVABLE.ravel(OBSERVABLE.sufficient_statistic(x)))(xs)
        rows = [jax.vmap(lambda x, b=b: _statistic(b.cod_emb, x))(xs) for b in blocks]
        columns = [_statistic(block.dom_emb, z) for block in blocks]
        ravelled = OBSERVABLE.ravel(total), linear_map.ravel(found)
        return (total, found), ravelled, statistics, rows, columns

    sums, (total, found), statistics, rows, columns = compute(look, XS, Z)
    assert all(isinstance(point, hm.Mean) for point in sums)
    assert_close(total, 0.5 * statistics[0] - 2.0 * statistics[1])
    expected = [
        np.outer(0.5 * row[0] - 4.0 * row[1], column).reshape(-1)
        for row, column in zip(rows, columns, strict=True)
    ]
    assert_close(found, np.concatenate(expected))


def test_the_energy_is_the_same_forwards_and_backwards(linear_map):
    def energies(xs, z):
        point = _random(linear_map)
        latent, observable = LATENT.sufficient_statistic(z), OBSERVABLE.sufficient_statistic(xs[0])
        batch = jax.tree.map(lambda leaf: leaf[None], linear_map.project_domain(latent))
        outer = linear_map.outer_sum(xs[:1], batch, jnp.ones(1))[1]
        forwards = linear_map.translate_codomain(OBSERVABLE.zeros(), point, z)
        shift = _row(linear_map.shifts(point, xs[:1]), 0)
        backwards = linear_map.translate_domain(LATENT.zeros(), shift)
        return hm.dot(point, outer), hm.dot(forwards, observable), hm.dot(backwards, latent)

    energy, forwards, backwards = compute(energies, XS, Z)
    assert_close(forwards, energy)
    assert_close(backwards, energy)


def _translations(linear_map, point, latent, xs, weights):
    """Translations of all observations, and one observation at a time."""
    shifts = linear_map.shifts(point, xs)
    found = linear_map.translations(latent, shifts)
    projections = [_row(found.projections, (n, 0)) for n in range(len(XS))]
    translated = [linear_map.translate_domain(latent, _row(shifts, n)) for n in range(len(XS))]
    means = [LATENT.to_mean(point) for point in translated]
    at_once = list(found.log_partitions[:, 0]), projections, found.total(weights)[0]
    one_by_one = (
        [LATENT.log_partition_function(point) for point in translated],
        [linear_map.project_domain(mean) for mean in means],
        means[0] * weights[0, 0] + means[1] * weights[1, 0],
    )
    return at_once, one_by_one


def test_translations_are_those_of_one_observation_at_a_time(linear_map):
    def both(key, xs):
        point, latent = linear_map.unravel(0.01 * jnp.ones(linear_map.dim)), LATENT.initialize(key)
        return _translations(linear_map, point, latent, xs, jnp.asarray([[0.3], [2.0]]))

    found, expected = compute(both, jax.random.key(2), XS)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)


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


def test_translations_are_those_of_all_blocks_together():
    def both(key, xs):
        point, latent = _random(BLOCKS) * 0.1, LATENT.initialize(key)
        return _translations(BLOCKS, point, latent, xs, jnp.ones((2, 1)))

    found, expected = compute(both, jax.random.key(3), XS)
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)


def test_blocks_between_other_statistics_are_not_adopted():
    with pytest.raises(TypeError, match="interacting statistics differ"):
        BLOCKS.adopt(_random(hm.BlockMap((COMPONENTS, LOCATIONS))))


def test_rows_of_the_wrong_shape_are_refused():
    rows = hm.VectorPoint(jnp.asarray(np.zeros((5, 3))), hm.Euclidean(3), hm.Coordinates.NATURAL)
    with pytest.raises(ValueError, match="batch axes"):
        hm.LinearMapPoint((rows,), LOCATIONS, hm.Coordinates.NATURAL)
