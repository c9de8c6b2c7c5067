"""Linear and affine maps against dense matrices, and sums of maps."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.catalogue import MANIFOLDS
from tests.compiled import compute

LATENT, OBSERVABLE = hm.Normal(2), hm.Normal(3, hm.Diagonal())
LOCATIONS = hm.LinearMap(hm.LocationEmbedding(LATENT), hm.LocationEmbedding(OBSERVABLE))
SHAPES = hm.LinearMap(hm.IdentityEmbedding(LATENT), hm.IdentityEmbedding(OBSERVABLE))


XS = np.random.default_rng(2).normal(size=(4, 3))
ZS = np.random.default_rng(3).normal(size=(4, 2))


def random_point(manifold, seed=0, coordinates=hm.Coordinates.NATURAL):
    """A point of random numbers; inside of `compute`, a constant."""
    return manifold.unravel(np.random.default_rng(seed).normal(size=manifold.dim), coordinates)


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interaction", [LOCATIONS, SHAPES], ids=["locations", "shapes"])
def test_maps_are_the_matrices_of_their_minimal_coordinates(interaction):
    domain, codomain = interaction.dom_emb.sub_man, interaction.cod_emb.sub_man

    def look(xs):
        point, statistic = random_point(interaction), random_point(domain, 1, hm.Coordinates.MEAN)
        image = codomain.ravel(interaction.apply(point, statistic))
        observed = jax.vmap(lambda x: codomain.ravel(codomain.sufficient_statistic(x)))(xs)
        shifts = jax.vmap(lambda x: domain.ravel(interaction.pull(point, x)))(xs)
        return interaction.ravel(point), domain.ravel(statistic), image, observed, shifts

    vector, statistic, image, observed, shifts = compute(look, XS)
    matrix = vector.reshape(codomain.dim, domain.dim)
    close(image, matrix @ statistic)
    close(shifts, observed @ matrix)


def test_likelihoods_and_posteriors_of_a_map_agree():
    """The energy s_X(x) . Theta s_Z(z) is the same from either side."""
    codomain, domain = SHAPES.cod_emb.sub_man, SHAPES.dom_emb.sub_man

    def energies(x, z):
        point, statistic = random_point(SHAPES), domain.sufficient_statistic(z)
        forward = SHAPES.apply(point, statistic)
        backward = SHAPES.pull(point, x)
        return hm.dot(forward, codomain.sufficient_statistic(x)), hm.dot(backward, statistic)

    close(*compute(energies, np.array([1.0, -2.0, 0.5]), np.array([0.3, 0.7])))


def test_block_maps_add_their_blocks():
    blocks = MANIFOLDS["block_map"]()
    first, second = blocks.maps

    def look(latent):
        point = random_point(blocks)
        vectors = blocks.ravel(point), first.ravel(point.blocks[0]), second.ravel(point.blocks[1])
        observable = random_point(hm.Normal(3, hm.Diagonal()), 1)
        both = blocks.translate_codomain(observable, point, latent)
        separate = first.translate_codomain(observable, point.blocks[0], latent)
        separate = second.translate_codomain(separate, point.blocks[1], latent)
        return vectors, (both, separate)

    latent = np.array([0.3, -0.2]), np.asarray(2)
    (vector, *parts), (both, separate) = compute(look, latent)
    close(vector, np.concatenate(parts))
    close(both.location, separate.location)
    close(both.shape, separate.shape)


def test_affine_maps_give_natural_parameters():
    affine = hm.AffineMap(OBSERVABLE, LOCATIONS)
    z = np.array([0.3, 0.7])

    def look(z):
        point = random_point(affine)
        vector = affine.ravel(point)
        return point, affine.apply(point, z), vector, affine.ravel(affine.unravel(vector))

    point, result, vector, again = compute(look, z)
    close(result.location, point.observable.location + z @ point.interaction.rows[0].values)
    close(result.shape, point.observable.shape)
    close(again, vector)


def test_maps_adopt_points_of_the_same_statistics_only():
    point = random_point(LOCATIONS)
    fuller = hm.LinearMap(LOCATIONS.dom_emb, hm.LocationEmbedding(hm.Normal(3)))
    adopted = fuller.adopt(point)  # without arithmetic
    assert adopted.manifold == fuller
    close(adopted.rows[0].values, point.rows[0].values)
    with pytest.raises(TypeError, match="interacting statistics differ"):
        SHAPES.adopt(point)


def test_substitution_on_both_sides_keeps_the_energy():
    scale, factors = np.array([[2.0, 0.5], [0.0, 1.5]]), np.array([2.0, 3.0, 0.5])

    def apply(point, z):
        return LOCATIONS.apply(point, hm.Euclidean(2).sufficient_statistic(z)).values

    def look(z):
        point = random_point(LOCATIONS)
        images = apply(LOCATIONS.substitute_domain(point, scale), z), apply(point, scale @ z)
        replaced = LOCATIONS.substitute_codomain(point, factors, jnp.ones(3))
        return images, replaced.rows[0].values, point.rows[0].values

    images, replaced, values = compute(look, np.array([0.3, 0.7]))
    close(*images)
    close(replaced, values * factors[None])
