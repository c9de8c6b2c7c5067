"""Mixtures: their components and weights, EM in special cases, starts on awkward data."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

NORMAL = hm.Normal(2)
MODEL = hm.Mixture(NORMAL, 3)
TIED = hm.Mixture(NORMAL, 3, hm.LocationEmbedding(NORMAL))
WEIGHTS = [0.2, 0.5, 0.3]


@pytest.fixture
def components(getkey):
    return jax.jit(lambda key: jax.vmap(NORMAL.initialize)(jax.random.split(key, 3)))(getkey())


def test_components_may_be_a_batch_or_a_sequence(components):
    def build(components):
        batch = MODEL.from_components(components, WEIGHTS)
        sequence = MODEL.from_components(list(components), WEIGHTS)
        return batch, sequence, MODEL.components(batch), MODEL.weights(batch)

    batch, sequence, read, weights = compute(build, components)
    assert_close(sequence, batch, 0)
    assert_close(read, components)
    assert_close(weights, np.asarray(WEIGHTS))


def test_components_must_be_as_many_and_natural(components):
    with pytest.raises(ValueError, match="3 components"):
        MODEL.from_components(components[:2], WEIGHTS)
    with pytest.raises(TypeError, match="natural"):
        MODEL.from_components(jax.jit(jax.vmap(NORMAL.to_mean))(components), WEIGHTS)
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
    components = compute(lambda key: TIED.components(TIED.initialize(key)), getkey())
    for component in components:
        assert_close(component.shape, components[0].shape, 0)
    assert not np.allclose(components[0].location, components[1].location)


def test_one_component_is_the_family_itself(getkey):
    single = hm.Mixture(NORMAL, 1)
    xs = np.random.default_rng(0).normal(size=(40, 2)) * 2.0 + 1.0

    def fit(key):
        point = single.initialize(key)
        component = single.components(point)[0]
        densities = single.log_observable_densities(point, xs), NORMAL.log_densities(component, xs)
        # One step of EM is then the maximum likelihood estimate.
        fitted = single.components(single.expectation_maximization(point, xs))[0]
        return densities, NORMAL.mean(fitted), NORMAL.covariance(fitted)

    densities, mean, covariance = compute(fit, getkey())
    assert_close(*densities)
    assert_close(mean, np.mean(xs, axis=0))
    assert_close(covariance, np.cov(xs, rowvar=False, bias=True))


def test_a_mixture_of_one_poisson_is_poisson():
    family = hm.Poisson()
    single = hm.Mixture(family, 1)
    xs = np.asarray([0, 2, 3, 7])

    def fit():
        point = single.from_components([family.from_rate(2.5)], jnp.ones(1))
        fitted = single.components(single.expectation_maximization(point, xs))[0]
        return single.log_observable_densities(point, xs), family.rate(fitted)

    densities, rate = compute(fit)
    assert_close(densities, scipy.stats.poisson(2.5).logpmf(xs))
    assert_close(rate, np.mean(xs))


def test_equal_components_stay_equal(getkey):
    xs = np.random.default_rng(1).normal(size=(30, 2))

    def fit(key):
        point = MODEL.from_components([NORMAL.initialize(key)] * 3, WEIGHTS)
        step = MODEL.expectation_maximization(point, xs)
        return MODEL.weights(step), MODEL.components(step)

    weights, (first, *others) = compute(fit, getkey())
    assert_close(weights, np.asarray(WEIGHTS))
    for other in others:
        assert_close(other, first)


def test_weighted_em_counts_observations_as_often_as_their_weights_say(getkey):
    xs, repeats = np.random.default_rng(2).normal(size=(12, 2)), np.arange(12) % 3

    def fit(key):
        point = MODEL.initialize(key)
        found = MODEL.expectation_maximization(point, xs, repeats)
        return found, MODEL.expectation_maximization(point, np.repeat(xs, repeats, axis=0))

    found, expected = compute(fit, getkey())
    assert_close(found, expected, 1e4)


def test_posterior_probabilities_and_assignments_follow_bayes(components):
    xs = np.random.default_rng(3).normal(size=(9, 2)) * 3

    def infer(components):
        point = MODEL.from_components(components, WEIGHTS)
        return (
            jax.vmap(NORMAL.log_densities, (0, None))(components, xs),
            jax.vmap(lambda x: MODEL.posterior_probabilities(point, x))(xs),
            (MODEL.assign(point, xs), MODEL.assign(point, xs, batch_size=4)),
        )

    log_densities, found, assigned = compute(infer, components)
    joint = np.exp(log_densities.T) * np.asarray(WEIGHTS)
    expected = joint / joint.sum(axis=1, keepdims=True)
    assert_close(found, expected)
    assert_close(assigned, 2 * (np.argmax(expected, axis=1),), 0)


def test_components_that_lose_their_data_are_an_error():
    means = np.asarray([[0.0, 0.0], [1.0, 0.0], [1e3, 0.0]])

    @jax.jit
    def build():
        components = jax.vmap(NORMAL.from_mean_covariance, (0, None))(means, 1e-4 * np.eye(2))
        return MODEL.from_components(components, WEIGHTS)

    xs = np.asarray([[0.0, 0.0], [0.01, 0.0], [0.0, 0.01], [1.0, 0.0], [1.01, 0.0], [1.0, 0.01]])
    with pytest.raises(ValueError, match="degenerate"):
        MODEL.expectation_maximization(build(), xs)


# Eight observations each, and one.
AWKWARD = {
    "constant": np.zeros((8, 2)),
    "constant column": np.asarray([[0.0, 1], [0, 2], [0, 3], [0, 0]] * 2),
    "duplicates": np.asarray([[1.0, -2.0], [0.0, 1.0]] * 4),
    "collinear": np.outer(np.arange(8.0), [1.0, 2.0]),
}
ONE_OBSERVATION = np.asarray([[1.0, -2.0]])
MODELS = {
    "full": MODEL,
    "tied": TIED,
    "diagonal": hm.Mixture(hm.Normal(2, hm.Diagonal()), 3),
    "scale": hm.Mixture(hm.Normal(2, hm.Scale()), 3),
    "identity": hm.Mixture(hm.Normal(2, hm.Identity()), 3),
}


@pytest.mark.parametrize("model", MODELS.values(), ids=MODELS)
def test_starts_are_valid_on_awkward_data(model, getkey):
    def start(key, xs):
        point = model.initialize_from_sample(key, xs)
        return model.in_domain(point), model.log_observable_densities(point, xs)

    # In loops, which compile faster than batches.
    def start_all(key):
        def starts(xs):
            return jax.lax.map(lambda own: start(own, xs), jax.random.split(key, 4))

        return starts(ONE_OBSERVATION), jax.lax.map(starts, np.stack(list(AWKWARD.values())))

    for valid, densities in compute(start_all, getkey()):
        assert np.all(valid)
        assert np.all(np.isfinite(densities))


@pytest.mark.parametrize(
    ("model", "xs"),
    [
        (hm.Mixture(hm.Categorical(3), 2), np.asarray([1, 1, 1])),
        (
            hm.Mixture(hm.Product(NORMAL, hm.Categorical(3)), 2),
            (np.asarray([[0.0, 1.0], [2.0, 1.0]]), np.asarray([2, 2])),
        ),
    ],
    ids=["categories", "products"],
)
def test_starts_from_categories_and_products(model, xs, getkey):
    assert compute(lambda key: model.in_domain(model.initialize_from_sample(key, xs)), getkey())
