"""What marginals and conditionals are made of, and models that the catalogue leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.numbers import assert_close

KEY = jax.random.key(0)


def test_a_mixture_is_its_own_marginal():
    model = hm.Mixture(hm.Normal(2, hm.Diagonal()), 3)
    point = jax.jit(model.initialize)(KEY)
    family, marginal = hm.observable_distribution(model, point)
    assert family is model
    assert marginal is point


MIXED = hm.Mixture(hm.Normal(2), 3)
CONDITIONED = {
    "mixture": (lambda: MIXED, hm.Normal(2)),
    "mixture of harmoniums": (
        lambda: hm.Mixture(hm.factor_analysis(3, 2), 2),
        hm.factor_analysis(3, 2),
    ),
    "hierarchy": (lambda: hm.stack(hm.factor_analysis(3, 2), MIXED), hm.factor_analysis(3, 2)),
    "deep hierarchy": (
        lambda: hm.stack(
            hm.factor_analysis(4, 3), hm.LinearGaussianModel(hm.Normal(3), hm.Normal(2)), MIXED
        ),
        hm.stack(hm.factor_analysis(4, 3), hm.LinearGaussianModel(hm.Normal(3), hm.Normal(2))),
    ),
    "mixture of categories": (
        lambda: hm.stack(MIXED, hm.Mixture(hm.Categorical(3), 2)),
        MIXED,
    ),
    "views of a category": (
        lambda: hm.Parallel(hm.Mixture(hm.Poisson(), 2), hm.Mixture(hm.Bernoulli(), 2)),
        hm.Product(hm.Poisson(), hm.Bernoulli()),
    ),
    "views of views": (
        lambda: hm.Parallel(hm.Parallel(MIXED, MIXED), hm.Mixture(hm.Poisson(), 3)),
        hm.Product(hm.Product(hm.Normal(2), hm.Normal(2)), hm.Poisson()),
    ),
    "views of a hierarchy": (
        lambda: hm.Parallel(
            hm.stack(hm.factor_analysis(3, 2), MIXED), hm.stack(hm.factor_analysis(2, 2), MIXED)
        ),
        hm.Parallel(hm.factor_analysis(3, 2), hm.factor_analysis(2, 2)),
    ),
}


@pytest.mark.parametrize("name", CONDITIONED)
def test_a_model_given_its_category_is_what_is_left_of_it(name):
    """And its joint density follows from that of the whole by Bayes, for each category."""
    build, expected = CONDITIONED[name]
    model = build()

    def densities(key):
        point = model.initialize(key)
        conditioned, given = hm.condition_on(model, point, 1)
        assert conditioned == expected
        assert given.manifold == expected
        x = conditioned.sample(jax.random.key(1), given)
        whole = _with_category(model, x, jnp.asarray(1))
        weight = jnp.log(hm.top_probabilities(model, point)[1])
        return conditioned.log_density(given, x) + weight, model.log_density(point, whole)

    assert_close(*compute(densities, KEY))


def _with_category(model, x, category):
    """An observation of what is left of a model, and the category at its top."""
    if isinstance(model, hm.Mixture) or isinstance(model.pst_man, hm.Categorical):
        return hm.Joint(x, category)
    upper = x.latent if isinstance(x, hm.Joint) else x
    return hm.Joint(x.observable, _with_category(model.pst_man, upper, category))


MARGINALISED = {
    "views of a hierarchy": (CONDITIONED["views of a hierarchy"][0], hm.Mixture(hm.Normal(5), 3)),
    "one component": (
        lambda: hm.hierarchical_mixture_of_gaussians(3, 2, 1),
        hm.Mixture(hm.Normal(3), 1),
    ),
}


def _both_densities(model, point, xs):
    family, marginal = hm.observable_distribution(model, point)
    joined = jnp.concatenate(jax.tree.leaves(xs), axis=1)
    return (
        family.log_observable_densities(marginal, joined),
        model.log_observable_densities(point, xs),
    )


@pytest.mark.parametrize("name", MARGINALISED)
def test_marginals_that_the_catalogue_leaves_out(name):
    build, expected = MARGINALISED[name]
    model = build()

    def densities(key):
        point = model.initialize(key)
        assert hm.observable_distribution(model, point)[0] == expected
        return _both_densities(model, point, model.observable_sample(key, point, (4,)))

    assert_close(*compute(densities, KEY))


def test_marginals_are_mapped_and_differentiated():
    model = hm.hierarchical_mixture_of_gaussians(2, 1, 2)
    xs = np.array([[0.3, -1.0], [2.0, 0.5]])

    def gradients(key):
        point = model.initialize(key)
        by_marginal = jax.grad(lambda p: jnp.sum(_both_densities(model, p, xs)[0]))(point)
        expected = jax.grad(lambda p: jnp.sum(_both_densities(model, p, xs)[1]))(point)
        return model.ravel(by_marginal), model.ravel(expected)

    assert_close(*compute(lambda key: jax.vmap(gradients)(jax.random.split(key, 3)), KEY), 1e4)


def test_conditioning_follows_numpy_integers():
    def condition(key, traced):
        point = MIXED.initialize(key)
        own = [hm.condition_on(MIXED, point, k)[1] for k in (2, np.int64(2), traced)]
        return own, MIXED.components(point)[2]

    own, expected = compute(condition, KEY, 2)
    for component in own:
        assert_close(component, expected)
