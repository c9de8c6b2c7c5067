"""Linear and affine maps against dense matrices, and sums of maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import MANIFOLDS

LATENT, OBSERVABLE = hm.Normal(2), hm.Normal(3, hm.Diagonal())
LOCATIONS = hm.LinearMap(hm.LocationEmbedding(LATENT), hm.LocationEmbedding(OBSERVABLE))
SHAPES = hm.LinearMap(hm.IdentityEmbedding(LATENT), hm.IdentityEmbedding(OBSERVABLE))


def random_point(manifold, seed=0, coordinates=hm.Coordinates.NATURAL):
    vector = jax.random.normal(jax.random.key(seed), (manifold.dim,))
    return manifold.unravel(vector, coordinates)


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interaction", [LOCATIONS, SHAPES], ids=["locations", "shapes"])
def test_maps_are_the_matrices_of_their_minimal_coordinates(interaction):
    point = random_point(interaction)
    domain, codomain = interaction.dom_emb.sub_man, interaction.cod_emb.sub_man
    matrix = interaction.ravel(point).reshape(codomain.dim, domain.dim)
    statistic = random_point(domain, 1, hm.Coordinates.MEAN)
    close(codomain.ravel(interaction.apply(point, statistic)), matrix @ domain.ravel(statistic))
    xs = jax.random.normal(jax.random.key(2), (4, 3))
    shifts = interaction.shifts(point, xs)
    for n in range(4):
        observed = codomain.ravel(codomain.sufficient_statistic(xs[n]))
        shift = jax.tree.map(lambda leaf, n=n: leaf[n], shifts)
        close(domain.ravel(shift), matrix.T @ observed)


@pytest.mark.parametrize("interaction", [LOCATIONS, SHAPES], ids=["locations", "shapes"])
def test_outer_sums_are_sums_of_outer_products(interaction):
    domain, codomain = interaction.dom_emb.sub_man, interaction.cod_emb.sub_man
    xs = jax.random.normal(jax.random.key(2), (4, 3))
    zs = jax.random.normal(jax.random.key(3), (4, 2))
    weights = jnp.array([0.5, -1.0, 2.0, 0.0])
    statistics = jax.vmap(domain.sufficient_statistic)(zs)
    observable, total = interaction.outer_sum(xs, statistics, weights)
    assert isinstance(observable, hm.Mean) and isinstance(total, hm.Mean)
    family = interaction.cod_emb.amb_man
    summed = sum(
        w * family.ravel(family.sufficient_statistic(x)) for w, x in zip(weights, xs, strict=True)
    )
    close(family.ravel(observable), summed)
    expected = sum(
        w * np.outer(codomain.ravel(codomain.sufficient_statistic(x)), domain.ravel(s))
        for w, x, s in zip(weights, xs, statistics, strict=True)
    )
    close(interaction.ravel(total), expected.reshape(-1))


def test_likelihoods_and_posteriors_of_a_map_agree():
    """The energy s_X(x) . Theta s_Z(z) is the same from either side."""
    point = random_point(SHAPES)
    x, z = jnp.array([1.0, -2.0, 0.5]), jnp.array([0.3, 0.7])
    codomain, domain = SHAPES.cod_emb.sub_man, SHAPES.dom_emb.sub_man
    forward = SHAPES.apply(point, domain.sufficient_statistic(z))
    (backward,) = SHAPES.shifts(point, x[None])
    close(
        hm.dot(forward, codomain.sufficient_statistic(x)),
        hm.dot(backward, domain.sufficient_statistic(z)),
    )


def test_block_maps_add_their_blocks():
    blocks = MANIFOLDS["block_map"]()
    point = random_point(blocks)
    observable = random_point(hm.Normal(3, hm.Diagonal()), 1)
    latent = (jnp.array([0.3, -0.2]), jnp.asarray(2))
    both = blocks.translate_codomain(observable, point, latent)
    first, second = blocks.maps
    separate = first.translate_codomain(observable, point.blocks[0], latent)
    separate = second.translate_codomain(separate, point.blocks[1], latent)
    close(
        blocks.ravel(point),
        np.concatenate([first.ravel(point.blocks[0]), second.ravel(point.blocks[1])]),
    )
    close(both.location, separate.location)
    close(both.shape, separate.shape)
    xs = jax.random.normal(jax.random.key(2), (4, 3))
    shifts = blocks.shifts(point, xs)
    prior = first.dom_emb.amb_man.zeros()
    moved = blocks.translate_domain(prior, jax.tree.map(lambda leaf: leaf[0], shifts))
    close(moved.components[0].location, xs[0] @ point.blocks[0].rows[0].values.T)
    close(moved.components[1].values, second.shifts(point.blocks[1], xs).values[0])


def test_affine_maps_give_natural_parameters():
    affine = hm.AffineMap(OBSERVABLE, LOCATIONS)
    point = random_point(affine)
    z = jnp.array([0.3, 0.7])
    result = affine.apply(point, z)
    close(result.location, point.observable.location + z @ point.interaction.rows[0].values)
    close(result.shape, point.observable.shape)
    close(affine.ravel(affine.unravel(affine.ravel(point))), affine.ravel(point))


def test_maps_adopt_points_of_the_same_statistics_only():
    point = random_point(LOCATIONS)
    fuller = hm.LinearMap(LOCATIONS.dom_emb, hm.LocationEmbedding(hm.Normal(3)))
    adopted = fuller.adopt(point)
    assert adopted.manifold == fuller
    close(adopted.rows[0].values, point.rows[0].values)
    with pytest.raises(TypeError, match="interacting statistics differ"):
        SHAPES.adopt(point)


def test_substitution_on_both_sides_keeps_the_energy():
    point = random_point(LOCATIONS)
    scale = jnp.array([[2.0, 0.5], [0.0, 1.5]])
    z = jnp.array([0.3, 0.7])
    replaced = LOCATIONS.substitute_domain(point, scale)
    close(
        LOCATIONS.apply(replaced, hm.Euclidean(2).sufficient_statistic(z)).values,
        LOCATIONS.apply(point, hm.Euclidean(2).sufficient_statistic(scale @ z)).values,
    )
    factors = jnp.array([2.0, 3.0, 0.5])
    replaced = LOCATIONS.substitute_codomain(point, factors, jnp.ones(3))
    close(replaced.rows[0].values, point.rows[0].values * factors[None])
