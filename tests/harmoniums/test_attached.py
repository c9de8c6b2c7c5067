"""What attached harmoniums refuse; their densities are in `tests/oracles/test_trees.py`."""

import jax
import numpy as np
import pytest

import harmonium as hm
from harmonium.harmoniums.embedding import embed_observable
from tests.compiled import compute

UPPER = hm.Mixture(hm.Normal(1), 3)
TOP = hm.harmoniums.PosteriorEmbedding(UPPER)
COUNTS = hm.Mixture(hm.Poisson(), 3)


def test_the_latent_is_the_part_that_is_embedded():
    with pytest.raises(TypeError, match="these must be the same"):
        hm.Attached(hm.Mixture(hm.Poisson(), 2), TOP)
    with pytest.raises(TypeError, match="these must be the same"):
        hm.Attached(COUNTS, hm.harmoniums.ObservableEmbedding(UPPER))


def test_the_larger_latents_of_posterior_and_prior_fit():
    with pytest.raises(TypeError, match="pst_prr_emb embeds"):
        hm.Attached(COUNTS, TOP, hm.geometry.IdentityEmbedding(COUNTS))


def test_posterior_and_prior_of_the_attached_harmonium_agree():
    latent = hm.Normal(1, hm.Diagonal())
    restricted = hm.LinearGaussianModel(hm.Normal(2), latent)
    with pytest.raises(TypeError, match="differ"):
        hm.Attached(restricted, hm.harmoniums.ObservableEmbedding(hm.Mixture(latent, 2)))


def test_parallel_harmoniums_share_the_larger_latent():
    deep = hm.stack(hm.factor_analysis(2, 1), hm.Mixture(hm.Normal(1), 2))
    with pytest.raises(TypeError, match="share their latent"):
        hm.Parallel(deep, hm.Attached(COUNTS, TOP))


def test_the_observable_is_embedded_in_a_fuller_one():
    mixture = hm.Mixture(hm.Normal(2, hm.Diagonal()), 3)
    fuller = hm.families.NormalCovarianceEmbedding(mixture.obs_man, hm.Normal(2))
    embedded = embed_observable(hm.Attached(mixture, TOP), fuller)
    assert embedded == hm.Attached(embed_observable(mixture, fuller), TOP)
    assert embedded.obs_man == hm.Normal(2)


def test_a_start_from_a_sample_is_near_it():
    xs = np.random.default_rng(0).poisson(50.0, 40)
    model = hm.Attached(COUNTS, TOP)

    def draw():
        start = model.initialize_from_sample(jax.random.key(0), xs)
        return model.observable_sample(jax.random.key(1), start, (200,))

    assert 40 < np.mean(compute(draw)) < 60
