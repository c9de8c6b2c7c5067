"""Hierarchies: levels that must fit, restricted posteriors, starts, assignments."""

import jax
import numpy as np
import pytest

import harmonium as hm
from harmonium.harmoniums.embedding import embed_observable
from tests.catalogue import HIERARCHIES
from tests.compiled import compute
from tests.numbers import assert_close

FULL, DIAGONAL, SCALE = hm.PositiveDefinite(), hm.Diagonal(), hm.Scale()


def _linear(obs, lat):
    return hm.LinearGaussianModel(obs, lat)


def test_a_stack_of_one_is_itself_and_of_none_an_error():
    mixture = hm.Mixture(hm.Normal(2), 2)
    assert hm.stack(mixture) is mixture
    with pytest.raises(ValueError, match="at least one"):
        hm.stack()


def test_stacks_nest_to_the_right():
    first, second = hm.factor_analysis(4, 3), _linear(hm.Normal(3), hm.Normal(2))
    third = hm.Mixture(hm.Normal(2), 2)
    model = hm.stack(first, second, third)
    assert model == hm.Hierarchical(first, hm.Hierarchical(second, third))
    assert model.lwr_hrm == first
    assert model.upr_hrm == model.pst_upr_hrm == model.prr_upr_hrm
    assert model.obs_man == first.obs_man


@pytest.mark.parametrize(
    ("lower", "upper", "remedy"),
    [
        (hm.factor_analysis(3, 2), hm.Mixture(hm.Normal(3), 2), "same dimension"),
        (
            hm.factor_analysis(3, 2),
            hm.Mixture(hm.Normal(2, DIAGONAL), 2),
            "posterior with Diagonal",
        ),
        (
            _linear(hm.Normal(3), hm.Normal(2, SCALE)),
            hm.Mixture(hm.Normal(2), 2),
            "observable with Scale",
        ),
        (
            hm.Mixture(hm.Normal(3), 2),
            hm.Mixture(hm.Normal(2), 2),
            "an upper harmonium over Categorical(2)",
        ),
    ],
)
def test_levels_that_do_not_fit_are_refused_with_a_remedy(lower, upper, remedy):
    with pytest.raises(TypeError, match="do not fit") as error:
        hm.stack(lower, upper)
    assert remedy in str(error.value)
    assert str(lower.pst_man) in str(error.value) and str(upper.obs_man) in str(error.value)


def test_the_upper_harmonium_of_the_prior_has_a_fuller_observable():
    latent = hm.Normal(2, DIAGONAL)
    mixture = hm.Mixture(latent, 2)
    model = hm.Hierarchical(_linear(hm.Normal(3, DIAGONAL), latent), mixture)
    assert not model.is_symmetric
    assert model.pst_man == mixture
    assert model.prr_man.obs_man == hm.Normal(2)
    assert model.prr_man.obs_emb == hm.families.NormalCovarianceEmbedding(latent, hm.Normal(2))
    assert isinstance(model.pst_prr_emb, hm.harmoniums.LatentHarmoniumEmbedding)


def test_the_constructor_of_mixtures_of_gaussians_names_its_structures():
    model = hm.hierarchical_mixture_of_gaussians(5, 2, 3)
    assert model == hm.stack(hm.factor_analysis(5, 2), hm.Mixture(hm.Normal(2), 3))
    restricted = hm.hierarchical_mixture_of_gaussians(5, 2, 3, SCALE, DIAGONAL)
    latent = hm.Normal(2, DIAGONAL)
    assert restricted == hm.stack(_linear(hm.Normal(5, SCALE), latent), hm.Mixture(latent, 3))


@pytest.mark.parametrize("name", HIERARCHIES)
def test_starts_are_valid_and_differ(name, getkey):
    model = HIERARCHIES[name]()
    xs = np.random.default_rng(0).normal(size=(30, model.obs_man.data_dim))
    xs[:, 0] = 2.0 if xs.shape[1] > 2 else xs[:, 0]

    def start(key):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.log_observable_densities(point, xs)

    # In a loop, which compiles faster than a batch.
    valid, densities = compute(lambda key: jax.lax.map(start, jax.random.split(key, 2)), getkey())
    assert np.all(valid)
    assert np.all(np.isfinite(densities))
    assert not np.allclose(*densities)


def test_assignments_are_the_most_probable_categories(getkey):
    model = hm.hierarchical_mixture_of_gaussians(3, 2, 4)
    xs = np.random.default_rng(1).normal(size=(9, 3)) * 3

    def infer(key):
        point = model.initialize(key)
        return (
            jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs),
            (model.assign(point, xs), model.assign(point, xs, batch_size=4)),
            (hm.top_probabilities(model, point), model.prr_man.weights(model.prior(point))),
        )

    probabilities, assigned, weights = compute(infer, getkey())
    assert probabilities.shape == (9, 4)
    assert_close(np.sum(probabilities, axis=1), np.ones(9))
    assert_close(assigned, 2 * (np.argmax(probabilities, axis=1),), 0)
    assert_close(*weights)


def test_a_hierarchy_over_equal_components_is_the_lower_harmonium(getkey):
    lower = hm.factor_analysis(3, 2)
    model = hm.stack(lower, hm.Mixture(lower.pst_man, 2))
    xs = np.random.default_rng(2).normal(size=(7, 3))

    def infer(key):
        below = lower.initialize(key)
        standard = lower.prior(below)
        above = model.upr_hrm.from_components([standard, standard], [0.3, 0.7])
        point = model.from_levels(below, above)
        found = model.log_observable_densities(point, xs), model.expected_latents(point, xs)
        expected = lower.log_observable_densities(below, xs), lower.expected_latents(below, xs)
        return found, expected, jax.vmap(lambda x: model.posterior_probabilities(point, x))(xs)

    found, expected, probabilities = compute(infer, getkey())
    for ours, theirs in zip(found, expected, strict=True):
        assert_close(ours, theirs)
    assert_close(probabilities, np.tile([0.3, 0.7], (7, 1)))


@pytest.mark.parametrize("posterior", [DIAGONAL, SCALE], ids=repr)
def test_restricted_posteriors_refuse_priors_they_cannot_hold(posterior, getkey):
    model = hm.hierarchical_mixture_of_gaussians(3, 2, 2, DIAGONAL, posterior)
    upper = embed_observable(model.prr_man, hm.geometry.IdentityEmbedding(hm.Normal(2)))

    @jax.jit
    def parts(first, second):
        lower = model.lwr_hrm.initialize(first)
        interaction = lower.interaction
        return model.make_likelihood(lower.observable, interaction), upper.initialize(second)

    likelihood, prior = parts(getkey(), getkey())
    with pytest.raises(ValueError, match="cannot be joined"):
        model.join_conjugated(likelihood, prior)


def test_a_start_from_a_sample_goes_on_from_categories():
    """A mixture of counts, whose components depend on a class above."""
    model = hm.stack(hm.Mixture(hm.Poisson(), 3), hm.Mixture(hm.Categorical(3), 2))
    xs = np.random.default_rng(0).poisson([3.0, 30.0, 90.0], (40, 3)).reshape(-1)

    def draw():
        start = model.initialize_from_sample(jax.random.key(0), xs)
        draws = model.observable_sample(jax.random.key(1), start, (400,))
        return model.in_domain(start), draws

    valid, draws = compute(draw)
    assert valid
    assert 0.5 < np.mean(draws) / np.mean(xs) < 2
