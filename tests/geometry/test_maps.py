"""Linear and affine maps against dense matrices."""

import jax
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute

LATENT, OBSERVABLE = hm.Normal(2), hm.Normal(3, hm.Diagonal())
LOCATIONS = hm.geometry.LinearMap(hm.families.Euclidean(2), hm.families.Euclidean(3))
SHAPES = hm.geometry.LinearMap(LATENT, OBSERVABLE)
MEAN = hm.Coordinates.MEAN


def random_point(manifold, seed=0, coordinates=hm.Coordinates.NATURAL):
    """A point of random numbers; inside of `compute`, a constant."""
    return manifold.unravel(np.random.default_rng(seed).normal(size=manifold.dim), coordinates)


def close(actual, expected):
    np.testing.assert_allclose(np.asarray(actual), expected, rtol=1e-12, atol=1e-12)


@pytest.mark.parametrize("interaction", [LOCATIONS, SHAPES], ids=["locations", "shapes"])
def test_maps_are_the_matrices_of_their_minimal_coordinates(interaction):
    domain, codomain = interaction.dom_man, interaction.cod_man

    def look():
        point, statistic = random_point(interaction), random_point(domain, 1, MEAN)
        observed = random_point(codomain, 2, MEAN)
        image = codomain.ravel(interaction.apply(point, statistic))
        back = domain.ravel(interaction.apply_transposed(point, observed))
        vectors = domain.ravel(statistic), codomain.ravel(observed)
        return interaction.ravel(point), vectors, image, back

    vector, (statistic, observed), image, back = compute(look)
    matrix = vector.reshape(codomain.dim, domain.dim)
    close(image, matrix @ statistic)
    close(back, matrix.T @ observed)


def test_likelihoods_and_posteriors_of_a_map_agree():
    """The energy s_X(x) . Theta s_Z(z) is the same from either side."""

    def energies():
        point, statistic = random_point(SHAPES), random_point(LATENT, 1, MEAN)
        observed = random_point(OBSERVABLE, 2, MEAN)
        forward = SHAPES.apply(point, statistic)
        backward = SHAPES.apply_transposed(point, observed)
        return hm.dot(forward, observed), hm.dot(backward, statistic)

    close(*compute(energies))


def test_affine_maps_are_an_offset_and_a_map():
    affine = hm.geometry.AffineMap(OBSERVABLE, LOCATIONS)

    def look():
        point = random_point(affine)
        vector = affine.ravel(point)
        parts = OBSERVABLE.ravel(point.observable), LOCATIONS.ravel(point.interaction)
        return vector, parts, affine.ravel(affine.unravel(vector))

    vector, parts, again = compute(look)
    close(vector, np.concatenate(parts))
    close(again, vector)


def test_rows_of_the_wrong_shape_are_refused():
    rows = hm.geometry.VectorPoint(
        jax.numpy.zeros((5, 3)), hm.families.Euclidean(3), hm.Coordinates.NATURAL
    )
    with pytest.raises(ValueError, match="batch axes"):
        hm.geometry.LinearMapPoint((rows,), LOCATIONS, hm.Coordinates.NATURAL)
