"""What embeddings refuse, and how they compose; their laws are in `tests/laws`."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.geometry.embedding import compose
from tests.catalogue import EMBEDDINGS
from tests.compiled import compute
from tests.numbers import assert_close

MEAN = hm.Coordinates.MEAN


@pytest.mark.parametrize("build", EMBEDDINGS.values(), ids=EMBEDDINGS)
def test_embedding_means_and_projecting_naturals_is_refused(build):
    embedding = build()
    with pytest.raises(Exception, match=r"(?i)natural|Natural"):
        embedding.embed(embedding.sub_man.zeros(MEAN))
    with pytest.raises(Exception, match=r"(?i)mean|Mean"):
        embedding.project(embedding.amb_man.zeros())


def test_compositions_drop_identities():
    location = hm.LocationEmbedding(hm.Normal(2))
    assert compose(hm.geometry.IdentityEmbedding(hm.Normal(2)), location) == location
    assert compose(location, hm.geometry.IdentityEmbedding(hm.families.Euclidean(2))) == location


def test_compositions_must_fit():
    with pytest.raises(TypeError, match="same manifold"):
        hm.geometry.ComposedEmbedding(
            hm.LocationEmbedding(hm.Normal(2)),
            hm.geometry.IdentityEmbedding(hm.families.Euclidean(3)),
        )


def test_translations_of_compositions_associate():
    model = hm.Mixture(hm.Normal(2), 2)
    diagonal = hm.Normal(2, hm.Diagonal())
    first = hm.harmoniums.ObservableEmbedding(model)
    second = hm.families.NormalCovarianceEmbedding(diagonal, hm.Normal(2))
    third = hm.LocationEmbedding(diagonal)
    left = hm.geometry.ComposedEmbedding(hm.geometry.ComposedEmbedding(first, second), third)
    right = hm.geometry.ComposedEmbedding(first, hm.geometry.ComposedEmbedding(second, third))

    def translate(key):
        point, shift = (
            model.initialize(key),
            hm.families.Euclidean(2).unravel(jnp.asarray([1.0, -2.0])),
        )
        return left.translate(point, shift), right.translate(point, shift)

    assert_close(*compute(translate, jax.random.key(0)), 10)


@pytest.mark.parametrize(
    ("sub", "amb"),
    [
        (hm.Normal(2), hm.Normal(2, hm.Diagonal())),
        (hm.Normal(2, hm.Diagonal()), hm.Normal(2, hm.Scale())),
        (hm.Normal(2, hm.Identity()), hm.Normal(2)),
        (hm.Normal(2, hm.Identity()), hm.Normal(2, hm.Scale())),
    ],
    ids=repr,
)
def test_fuller_covariances_do_not_embed_into_sparser_ones(sub, amb):
    with pytest.raises(TypeError, match="cannot embed"):
        hm.families.NormalCovarianceEmbedding(sub, amb)


def test_covariances_of_other_lengths_do_not_embed():
    with pytest.raises(TypeError, match="different lengths"):
        hm.families.NormalCovarianceEmbedding(hm.Normal(2, hm.Diagonal()), hm.Normal(3))


def test_the_embedded_normal_is_the_same_distribution(getkey):
    sub, amb = hm.Normal(2, hm.Diagonal()), hm.Normal(2)

    def densities(key, x):
        point = sub.initialize(key)
        embedded = hm.families.NormalCovarianceEmbedding(sub, amb).embed(point)
        return amb.log_density(embedded, x), sub.log_density(point, x)

    assert_close(*compute(densities, getkey(), np.asarray([0.3, -1.0])))


def test_embeddings_keep_the_floating_point_type(getkey):
    embedding = hm.harmoniums.ObservableEmbedding(hm.Mixture(hm.Normal(2), 2))

    def embed(key):
        point = jax.tree.map(lambda a: a.astype(jnp.float32), hm.Normal(2).initialize(key))
        return embedding.embed(point)

    embedded = jax.eval_shape(embed, getkey())
    assert {leaf.dtype for leaf in jax.tree.leaves(embedded)} == {jnp.dtype("float32")}


def test_some_statistics_must_be_distinct_and_those_of_the_family():
    with pytest.raises(ValueError, match="distinct numbers from 0 to 1"):
        hm.StatisticEmbedding(hm.Gamma(), (2,))
    with pytest.raises(ValueError, match="distinct"):
        hm.StatisticEmbedding(hm.Gamma(), (1, 1))
    with pytest.raises(ValueError, match="has 2 statistics"):
        hm.StatisticEmbedding(hm.Gamma(), ())


def test_some_statistics_are_observed_one_by_one_and_in_batches():
    embedding = hm.StatisticEmbedding(hm.Dirichlet(3), (2, 0))
    xs = np.asarray([[0.2, 0.3, 0.5], [0.1, 0.1, 0.8]])
    one, batch = compute(lambda xs: (embedding.observe(xs[1]), embedding.observe(xs)), xs)
    assert_close(one, np.log([0.8, 0.1]))
    assert_close(batch, np.log([[0.5, 0.2], [0.8, 0.1]]))
