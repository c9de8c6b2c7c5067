"""Mixtures: their components and weights, EM in special cases, starts on awkward data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.numbers import assert_close

NORMAL = hm.Normal(2)
MODEL = hm.Mixture(NORMAL, 3)
TIED = hm.Mixture(NORMAL, 3, hm.LocationEmbedding(NORMAL))
WEIGHTS = [0.2, 0.5, 0.3]


@pytest.fixture
def components(getkey):
    return jax.vmap(NORMAL.initialize)(jax.random.split(getkey(), 3))


def test_components_may_be_a_batch_or_a_sequence(components):
    batch = MODEL.from_components(components, WEIGHTS)
    assert_close(MODEL.from_components(list(components), WEIGHTS), batch, 0)
    assert_close(MODEL.components(batch), components)
    assert_close(MODEL.weights(batch), np.asarray(WEIGHTS))


def test_components_must_be_as_many_and_natural(components):
    with pytest.raises(ValueError, match="3 components"):
        MODEL.from_components(components[:2], WEIGHTS)
    with pytest.raises(TypeError, match="natural"):
        MODEL.from_components(jax.vmap(NORMAL.to_mean)(components), WEIGHTS)
    with pytest.raises(ValueError, match="sum to 1"):
        MODEL.from_components(components, [0.2, 0.5, 0.4])
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        MODEL.from_components(components, [0.5, 0.5])


def test_the_embedding_must_end_in_the_components_manifold():
    with pytest.raises(TypeError, match="must be the same"):
        hm.Mixture(NORMAL, 2, hm.LocationEmbedding(hm.Normal(2, hm.Diagonal())))
    with pytest.raises(ValueError, match="at least one"):
        hm.Mixture(NORMAL, 0)


def test_tied_components_share_their_precision(getkey):
    components = TIED.components(TIED.initialize(getkey()))
    for component in components:
        assert_close(component.shape, components[0].shape, 0)
    assert not np.allclose(components[0].location, components[1].location)


def test_one_component_is_the_family_itself(getkey):
    single = hm.Mixture(NORMAL, 1)
    xs = jax.random.normal(getkey(), (40, 2)) * 2.0 + 1.0
    point = single.initialize(getkey())
    component = single.components(point)[0]
    assert_close(single.log_observable_densities(point, xs), NORMAL.log_densities(component, xs))
    # One step of EM is then the maximum likelihood estimate.
    fitted = single.components(single.expectation_maximization(point, xs))[0]
    assert_close(NORMAL.mean(fitted), np.mean(xs, axis=0))
    assert_close(NORMAL.covariance(fitted), np.cov(xs, rowvar=False, bias=True))


def test_a_mixture_of_one_poisson_is_poisson():
    family = hm.Poisson()
    single = hm.Mixture(family, 1)
    xs = np.asarray([0, 2, 3, 7])
    point = single.from_components([family.from_rate(2.5)], jnp.ones(1))
    expected = scipy.stats.poisson(2.5).logpmf(xs)
    assert_close(single.log_observable_densities(point, xs), expected)
    fitted = single.components(single.expectation_maximization(point, xs))[0]
    assert_close(family.rate(fitted), np.mean(xs))


def test_equal_components_stay_equal(getkey):
    component = NORMAL.initialize(getkey())
    point = MODEL.from_components([component] * 3, WEIGHTS)
    xs = jax.random.normal(getkey(), (30, 2))
    step = MODEL.expectation_maximization(point, xs)
    assert_close(MODEL.weights(step), np.asarray(WEIGHTS))
    first, *others = MODEL.components(step)
    for other in others:
        assert_close(other, first)


def test_weighted_em_counts_observations_as_often_as_their_weights_say(getkey):
    point = MODEL.initialize(getkey())
    xs = jax.random.normal(getkey(), (12, 2))
    repeats = np.arange(12) % 3
    repeated = jnp.repeat(xs, repeats, axis=0)
    found = MODEL.expectation_maximization(point, xs, repeats)
    assert_close(found, MODEL.expectation_maximization(point, repeated), 1e4)


def test_posterior_probabilities_and_assignments_follow_bayes(components):
    point = MODEL.from_components(components, WEIGHTS)
    xs = jax.random.normal(jax.random.key(3), (9, 2)) * 3
    joint = np.stack([np.asarray(NORMAL.log_densities(c, xs), float) for c in components], axis=1)
    joint = np.exp(joint) * np.asarray(WEIGHTS)
    expected = joint / joint.sum(axis=1, keepdims=True)
    found = jax.vmap(lambda x: MODEL.posterior_probabilities(point, x))(xs)
    assert_close(found, expected)
    assert_close(MODEL.assign(point, xs), np.argmax(expected, axis=1), 0)
    assert_close(MODEL.assign(point, xs, batch_size=4), np.argmax(expected, axis=1), 0)


def test_components_that_lose_their_data_are_an_error():
    point = MODEL.from_components(
        [NORMAL.from_mean_covariance([m, 0.0], 1e-4 * np.eye(2)) for m in (0.0, 1.0, 1e3)], WEIGHTS
    )
    xs = np.asarray([[0.0, 0.0], [0.01, 0.0], [0.0, 0.01], [1.0, 0.0], [1.01, 0.0], [1.0, 0.01]])
    with pytest.raises(ValueError, match="degenerate"):
        MODEL.expectation_maximization(point, xs)


AWKWARD = {
    "constant": np.zeros((5, 2)),
    "constant_column": np.asarray([[0.0, 1], [0, 2], [0, 3], [0, 0]]),
    "one_observation": np.asarray([[1.0, -2.0]]),
    "duplicates": np.asarray([[1.0, -2.0], [0.0, 1.0]] * 4),
    "collinear": np.outer(np.arange(6.0), [1.0, 2.0]),
}
MODELS = {
    "full": MODEL,
    "tied": TIED,
    "diagonal": hm.Mixture(hm.Normal(2, hm.Diagonal()), 3),
    "scale": hm.Mixture(hm.Normal(2, hm.Scale()), 3),
    "identity": hm.Mixture(hm.Normal(2, hm.Identity()), 3),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
@pytest.mark.parametrize("xs", AWKWARD.values(), ids=AWKWARD)
def test_starts_are_valid_on_awkward_data(model, xs, getkey):
    @jax.jit
    def start(key):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.log_observable_densities(point, xs)

    valid, densities = start(getkey())
    assert bool(valid)
    assert np.all(np.isfinite(densities))


def test_starts_from_categories_and_products(getkey):
    categories = hm.Mixture(hm.Categorical(3), 2)
    point = categories.initialize_from_sample(getkey(), np.asarray([1, 1, 1]))
    assert bool(categories.in_domain(point))
    product = hm.Mixture(hm.Product(NORMAL, hm.Categorical(3)), 2)
    xs = (np.asarray([[0.0, 1.0], [2.0, 1.0]]), np.asarray([2, 2]))
    assert bool(product.in_domain(product.initialize_from_sample(getkey(), xs)))
