"""What harmoniums side by side refuse; their densities are in `tests/oracles/test_trees.py`."""

import jax
import pytest

import harmonium as hm
from harmonium.harmoniums.embedding import embed_observable

FACTORS = hm.factor_analysis(3, 2)


@pytest.mark.parametrize("build", [hm.Parallel, hm.Beside])
def test_parts_are_conjugated_harmoniums(build):
    with pytest.raises(ValueError, match="at least one harmonium"):
        build()
    with pytest.raises(TypeError, match="Normal"):
        build(FACTORS, hm.Normal(2))
    assert str(build(FACTORS, FACTORS)).startswith(f"{build.__name__}(LinearGaussianModel")


def test_views_share_their_latent():
    with pytest.raises(TypeError, match="share their latent"):
        hm.Parallel(FACTORS, hm.factor_analysis(3, 1))
    diagonal = hm.LinearGaussianModel(hm.Normal(3), hm.Normal(2, hm.Diagonal()))
    with pytest.raises(TypeError, match="share their latent"):
        hm.Parallel(FACTORS, diagonal)


@pytest.mark.parametrize("build", [hm.Parallel, hm.Beside])
def test_observables_are_embedded_part_by_part(build):
    model = build(FACTORS, FACTORS)
    with pytest.raises(TypeError, match="ProductEmbedding"):
        embed_observable(model, hm.geometry.IdentityEmbedding(model.obs_man))
    fuller = hm.families.NormalCovarianceEmbedding(hm.Normal(3, hm.Diagonal()), hm.Normal(3))
    embedded = embed_observable(model, hm.exponential_family.ProductEmbedding(fuller, fuller))
    assert embedded.obs_man == hm.Product(hm.Normal(3), hm.Normal(3))


def test_views_that_do_not_fit_do_not_stack():
    leaves = hm.Beside(FACTORS, hm.factor_analysis(2, 1))
    with pytest.raises(TypeError, match="levels do not fit"):
        hm.stack(leaves, hm.Parallel(hm.Mixture(hm.Normal(1), 2), hm.Mixture(hm.Normal(1), 2)))


def test_joint_embeddings_are_into_one_manifold():
    product = hm.Product(hm.Normal(2), hm.Categorical(3))
    first = hm.geometry.ComponentEmbedding(product, 0)
    with pytest.raises(ValueError, match="at least one"):
        hm.geometry.JointEmbedding(())
    with pytest.raises(TypeError, match="into the same manifold"):
        hm.geometry.JointEmbedding((first, hm.LocationEmbedding(hm.Normal(2))))


def test_trees_with_uneven_leaves_are_not_conditioned_on_their_category():
    deep = hm.stack(hm.factor_analysis(2, 1), hm.Mixture(hm.Normal(1), 2))
    leaf = hm.Attached(hm.Mixture(hm.Poisson(), 2), hm.harmoniums.PosteriorEmbedding(deep.pst_man))
    model = hm.Parallel(deep, leaf)
    with pytest.raises(TypeError, match="cannot be conditioned on a category"):
        jax.eval_shape(
            lambda key: hm.condition_on(model, model.initialize(key), 0), jax.random.key(0)
        )
