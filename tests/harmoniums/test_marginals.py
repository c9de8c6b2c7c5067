"""What marginals and conditionals are made of, and models that the catalogue leaves out."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.numbers import assert_close

KEY = jax.random.key(0)


def test_a_mixture_is_its_own_marginal():
    model = hm.Mixture(hm.Normal(2, hm.Diagonal()), 3)
    point = model.initialize(KEY)
    family, marginal = model.observable_distribution(point)
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
    point = jax.jit(model.initialize)(KEY)
    conditioned, given = model.condition_on(point, 1)
    assert conditioned == expected
    assert given.manifold == expected
    x = conditioned.sample(jax.random.key(1), given)
    whole = _with_category(model, x, jnp.asarray(1))
    weight = jnp.log(model.top_probabilities(point)[1])
    assert_close(conditioned.log_density(given, x) + weight, model.log_density(point, whole))


def _with_category(model, x, category):
    """An observation of what is left of a model, and the category at its top."""
    if isinstance(model, hm.Mixture) or isinstance(model.pst_man, hm.Categorical):
        return hm.Joint(x, category)
    upper = x.latent if isinstance(x, hm.Joint) else x
    return hm.Joint(x.observable, _with_category(model.pst_man, upper, category))


def test_views_of_a_hierarchy_have_a_mixture_of_joined_normals():
    model = CONDITIONED["views of a hierarchy"][0]()
    point = jax.jit(model.initialize)(KEY)
    family, marginal = jax.jit(model.observable_distribution)(point)
    assert family == hm.Mixture(hm.Normal(5), 3)
    xs = model.observable_sample(KEY, point, (4,))
    found = family.log_observable_densities(marginal, jnp.concatenate(xs, axis=1))
    assert_close(found, model.log_observable_densities(point, xs))


def test_a_mixture_of_one_component_is_marginalised_like_any_other():
    model = hm.hierarchical_mixture_of_gaussians(3, 2, 1)
    point = model.initialize(KEY)
    family, marginal = model.observable_distribution(point)
    assert family == hm.Mixture(hm.Normal(3), 1)
    xs = model.observable_sample(KEY, point, (4,))
    found = family.log_observable_densities(marginal, xs)
    assert_close(found, model.log_observable_densities(point, xs))


def test_marginals_and_conditionals_are_mapped_and_differentiated():
    model = hm.hierarchical_mixture_of_gaussians(3, 2, 2)
    points = jax.vmap(model.initialize)(jax.random.split(KEY, 3))
    mapped = jax.vmap(lambda p: model.observable_distribution(p)[1])(points)
    single = model.observable_distribution(points[1])[1]
    assert_close(mapped[1], single)
    given = jax.vmap(lambda k: model.condition_on(points[0], k)[1])(jnp.arange(2))
    assert_close(given[1], model.condition_on(points[0], 1)[1])

    xs = model.observable_sample(KEY, points[0], (4,))

    def through_the_marginal(point):
        family, marginal = model.observable_distribution(point)
        return family.average_log_observable_density(marginal, xs)

    found = jax.jit(jax.grad(through_the_marginal))(points[0])
    expected = jax.jit(jax.grad(lambda p: model.average_log_observable_density(p, xs)))(points[0])
    assert_close(model.ravel(found), model.ravel(expected), 1e4)


def test_conditioning_follows_numpy_integers():
    model = MIXED
    point = model.initialize(KEY)
    for k in (2, np.int64(2), jnp.asarray(2)):
        assert_close(model.condition_on(point, k)[1], model.components(point)[2])
