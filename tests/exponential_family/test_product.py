"""Products and replicas are their parts side by side."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from harmonium.exponential_family.affine import substitute
from tests.compiled import compute
from tests.numbers import assert_close

NORMAL, CATEGORICAL = hm.Normal(2), hm.Categorical(3)
PRODUCT = hm.Product(NORMAL, CATEGORICAL)
REPLICATED = hm.Replicated(NORMAL, 3)


def test_log_densities_of_a_product_add_up(getkey):
    def densities(key, x):
        point = PRODUCT.initialize(key)
        pairs = zip(PRODUCT.parts, point.components, x, strict=True)
        return PRODUCT.log_density(point, x), [f.log_density(p, xi) for f, p, xi in pairs]

    density, parts = compute(densities, getkey(), (np.asarray([0.3, -1.0]), np.asarray(2)))
    assert_close(density, sum(parts))


def test_entropies_of_a_product_add_up(getkey):
    def divergences(key, other_key):
        points = PRODUCT.initialize(key), PRODUCT.initialize(other_key)
        pairs = zip(PRODUCT.parts, *(point.components for point in points), strict=True)
        return PRODUCT.relative_entropy(*points), [f.relative_entropy(p, q) for f, p, q in pairs]

    divergence, parts = compute(divergences, getkey(), getkey())
    assert_close(divergence, sum(parts))


def test_affine_maps_of_products_are_tuples():
    product = hm.Product(NORMAL, hm.Normal(1))

    def push(key):
        point = product.initialize(key)
        pushed = product.push_forward(point, (jnp.asarray(2.0), None), (None, jnp.ones(1)))
        first, second = point.components
        return pushed.components, (
            NORMAL.push_forward(first, jnp.asarray(2.0), None),
            hm.Normal(1).push_forward(second, None, jnp.ones(1)),
        )

    for found, expected in zip(*compute(push, jax.random.key(0)), strict=True):
        assert_close(found, expected)


def test_reals_among_other_variables_are_moved_by_themselves(getkey):
    product = hm.Product(NORMAL, hm.VonMises(), CATEGORICAL)
    scale, shift = np.asarray([2.0, 3.0]), np.asarray([1.0, -3.0])
    x, angle, category = np.asarray([0.3, 0.2]), np.asarray(0.4), np.asarray(2)
    for model in (product, hm.Mixture(product, 3)):
        density = getattr(model, "log_observable_density", model.log_density)

        def densities(key, scale, shift, model=model, density=density):
            point, affine = model.initialize(key), ((scale, None, None), (shift, None, None))
            pushed = model.push_forward(point, *affine)
            back = substitute(model, pushed, *affine)
            cases = (point, x), (pushed, scale * x + shift), (back, x)
            return [density(p, (y, angle, category)) for p, y in cases]

        before, after, again = compute(densities, getkey(), scale, shift)
        assert_close(after, before - np.log(6.0))
        assert_close(again, before)


def test_log_densities_of_replicas_add_up(getkey):
    def look(key, x):
        point = REPLICATED.initialize(key)
        parts = [NORMAL.log_density(point.replicas[i], x[i]) for i in range(3)]
        return point, REPLICATED.log_density(point, x), sum(parts)

    point, density, total = compute(look, getkey(), np.random.default_rng(0).normal(size=(3, 2)))
    assert_close(density, total)
    assert point.batch_shape == ()
    batch = compute(jax.vmap(REPLICATED.initialize), jax.random.split(getkey(), 4))
    assert batch.batch_shape == (4,) and batch.replicas.batch_shape == (4, 3)


def test_replicas_are_as_many_as_the_manifold_says(getkey):
    two = jax.jit(jax.vmap(NORMAL.initialize))(jax.random.split(getkey(), 2))
    with pytest.raises(ValueError, match="replicas"):
        hm.exponential_family.ReplicatedPoint(two, REPLICATED, hm.Coordinates.NATURAL)
    with pytest.raises(TypeError, match="consist"):
        hm.exponential_family.ReplicatedPoint(
            two, hm.Replicated(CATEGORICAL, 2), hm.Coordinates.NATURAL
        )


def test_replicas_start_from_their_own_data(getkey):
    xs = np.random.default_rng(0).normal(size=(200, 3, 2)) + np.array([-9.0, 0.0, 9.0])[:, None]

    def start(key, xs):
        point = REPLICATED.initialize_from_sample(key, xs)
        return [NORMAL.mean(point.replicas[i])[0] for i in range(3)]

    means = compute(start, getkey(), xs)
    assert means[0] < -5 < means[1] < 5 < means[2]


def test_products_start_from_their_own_data(getkey):
    xs = np.random.default_rng(0).normal(size=(50, 2)) + 7.0, np.ones(50, int)

    def start(key, xs):
        first, second = PRODUCT.initialize_from_sample(key, xs).components
        return NORMAL.mean(first), CATEGORICAL.probabilities(second)

    mean, probabilities = compute(start, getkey(), xs)
    assert mean[0] > 5
    assert probabilities[1] > 0.8
