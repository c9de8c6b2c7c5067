"""Products and replicas are their parts side by side."""

import jax
import jax.numpy as jnp
import pytest

import harmonium as hm
from tests.numbers import assert_close

NORMAL, CATEGORICAL = hm.Normal(2), hm.Categorical(3)
PRODUCT = hm.Product(NORMAL, CATEGORICAL)
REPLICATED = hm.Replicated(NORMAL, 3)


@pytest.fixture
def point(getkey):
    return PRODUCT.initialize(getkey())


def test_log_densities_of_a_product_add_up(point):
    x = (jnp.asarray([0.3, -1.0]), jnp.asarray(2))
    parts = [
        f.log_density(p, xi) for f, p, xi in zip(PRODUCT.parts, point.components, x, strict=True)
    ]
    assert_close(PRODUCT.log_density(point, x), sum(parts))


def test_entropies_of_a_product_add_up(point, getkey):
    other = PRODUCT.initialize(getkey())
    divergences = [
        f.relative_entropy(p, q)
        for f, p, q in zip(PRODUCT.parts, point.components, other.components, strict=True)
    ]
    assert_close(PRODUCT.relative_entropy(point, other), sum(divergences))


def test_affine_maps_of_products_are_tuples(point):
    product = hm.Product(NORMAL, hm.Normal(1))
    point = product.initialize(jax.random.key(0))
    pushed = product.push_forward(point, (jnp.asarray(2.0), None), (None, jnp.ones(1)))
    first, second = point.components
    assert_close(pushed.components[0], NORMAL.push_forward(first, jnp.asarray(2.0), None))
    assert_close(pushed.components[1], hm.Normal(1).push_forward(second, None, jnp.ones(1)))


def test_reals_among_other_variables_are_moved_by_themselves(getkey):
    product = hm.Product(NORMAL, hm.VonMises(), CATEGORICAL)
    scale, shift = jnp.asarray([2.0, 3.0]), jnp.asarray([1.0, -3.0])
    x, angle, category = jnp.asarray([0.3, 0.2]), jnp.asarray(0.4), jnp.asarray(2)
    moved = scale * x + shift
    for model in (product, hm.Mixture(product, 3)):
        point = model.initialize(getkey())
        pushed = model.push_forward(point, (scale, None, None), (shift, None, None))
        density = getattr(model, "log_observable_density", model.log_density)
        before, after = (density(p, (y, angle, category)) for p, y in ((point, x), (pushed, moved)))
        assert_close(after, before - jnp.log(6.0))
        back = model.substitute(pushed, (scale, None, None), (shift, None, None))
        assert_close(density(back, (x, angle, category)), before)


def test_log_densities_of_replicas_add_up(getkey):
    point = REPLICATED.initialize(getkey())
    x = jax.random.normal(getkey(), (3, 2))
    parts = [NORMAL.log_density(point.replicas[i], x[i]) for i in range(3)]
    assert_close(REPLICATED.log_density(point, x), sum(parts))
    assert point.batch_shape == ()
    batch = jax.vmap(REPLICATED.initialize)(jax.random.split(getkey(), 4))
    assert batch.batch_shape == (4,) and batch.replicas.batch_shape == (4, 3)


def test_replicas_are_as_many_as_the_manifold_says(getkey):
    two = jax.vmap(NORMAL.initialize)(jax.random.split(getkey(), 2))
    with pytest.raises(ValueError, match="replicas"):
        hm.ReplicatedPoint(two, REPLICATED, hm.Coordinates.NATURAL)
    with pytest.raises(TypeError, match="consist"):
        hm.ReplicatedPoint(two, hm.Replicated(CATEGORICAL, 2), hm.Coordinates.NATURAL)


def test_replicas_start_from_their_own_data(getkey):
    xs = jax.random.normal(getkey(), (200, 3, 2)) + jnp.asarray([-9.0, 0.0, 9.0])[None, :, None]
    point = REPLICATED.initialize_from_sample(getkey(), xs)
    means = [float(NORMAL.mean(point.replicas[i])[0]) for i in range(3)]
    assert means[0] < -5 < means[1] < 5 < means[2]


def test_products_start_from_their_own_data(getkey):
    xs = (jax.random.normal(getkey(), (50, 2)) + 7.0, jnp.ones(50, int))
    point = PRODUCT.initialize_from_sample(getkey(), xs)
    assert float(NORMAL.mean(point.components[0])[0]) > 5
    assert float(CATEGORICAL.probabilities(point.components[1])[1]) > 0.8
