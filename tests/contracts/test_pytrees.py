"""Models as values and points as pytrees: equality, hashing, copies, pickles and reprs."""

import copy
import pickle
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.contracts.subjects import MODELS, batch_of, subject

COPIES = {
    "copy": copy.copy,
    "deepcopy": copy.deepcopy,
    "pickle": lambda value: pickle.loads(pickle.dumps(value)),
    "flatten": lambda value: jax.tree.unflatten(jax.tree.structure(value), jax.tree.leaves(value)),
}


def _dtype() -> str:
    return {"float64": "f64", "float32": "f32"}[jnp.zeros(()).dtype.name]


@pytest.mark.parametrize("name", MODELS)
def test_models_have_no_leaves(name):
    assert jax.tree.leaves(MODELS[name]()) == []


@pytest.mark.parametrize("name", MODELS)
def test_models_compare_and_hash_by_value(name):
    first, second = MODELS[name](), MODELS[name]()
    assert first is not second
    assert first == second
    assert hash(first) == hash(second)


def test_different_models_differ():
    models = [make() for make in MODELS.values()]
    assert len(set(models)) == len(models)
    assert hm.Normal(2) != hm.Normal(3)
    assert hm.Categorical(3) != hm.Euclidean(3)
    assert hm.Pair(hm.Null(), hm.Null()) != hm.Null()
    assert hm.Product(hm.Normal(2)) != hm.Pair(hm.Normal(2), hm.Null())
    assert hm.Normal(2) != "Normal(2)"


def test_models_are_keys_of_dictionaries():
    table = {make(): name for name, make in MODELS.items()}
    assert {name: table[make()] for name, make in MODELS.items()} == {n: n for n in MODELS}


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_models_are_equal(name, kind):
    model = MODELS[name]()
    other = COPIES[kind](model)
    assert other == model
    assert hash(other) == hash(model)
    assert str(other) == str(model) and repr(other) == repr(model)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_points_are_equal(name, kind):
    point = subject(name).natural
    other = COPIES[kind](point)
    assert jax.tree.structure(other) == jax.tree.structure(point)
    assert other.coordinates is point.coordinates
    assert other.manifold == point.manifold
    assert eqx.tree_equal(other, point)
    assert jax.tree.leaves(point - other)  # copies and originals combine
    assert all(np.all(leaf == 0) for leaf in jax.tree.leaves(point - other))


@pytest.mark.parametrize("name", MODELS)
def test_coordinates_are_part_of_the_structure_of_points(name):
    s = subject(name)
    assert jax.tree.structure(s.natural) != jax.tree.structure(s.mean)
    assert [leaf.shape for leaf in jax.tree.leaves(s.natural)] == [
        leaf.shape for leaf in jax.tree.leaves(s.mean)
    ]


@pytest.mark.parametrize("name", MODELS)
def test_models_and_points_cannot_be_changed(name):
    with pytest.raises(AttributeError):
        MODELS[name]().n_components = 7
    with pytest.raises(AttributeError):
        subject(name).natural.coordinates = hm.Coordinates.MEAN


@pytest.mark.parametrize("name", MODELS)
def test_models_are_shown_as_the_code_that_makes_them(name):
    model = MODELS[name]()
    assert eval(str(model), vars(hm)) == model


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (lambda: hm.Normal(2), "Normal(2, PositiveDefinite())"),
        (lambda: hm.Categorical(3), "Categorical(3)"),
        (
            lambda: hm.Product(hm.Normal(2, hm.Scale()), hm.Categorical(3)),
            "Product(Normal(2, Scale()), Categorical(3))",
        ),
        (
            lambda: hm.Mixture(hm.Normal(2, hm.Diagonal()), 3),
            "Mixture(Normal(2, Diagonal()), 3)",
        ),
        (
            lambda: hm.hierarchical_mixture_of_gaussians(4, 2, 3, pst_covariance=hm.Diagonal()),
            "Hierarchical(LinearGaussianModel(Normal(4, Diagonal()), Normal(2, Diagonal())), "
            "Mixture(Normal(2, Diagonal()), 3))",
        ),
        (lambda: hm.LocationEmbedding(hm.Normal(1)), "LocationEmbedding(Normal(1, Positive"),
    ],
    ids=["normal", "categorical", "product", "mixture", "hierarchy", "embedding"],
)
def test_models_are_shown_in_one_line(model, expected):
    assert str(model()).startswith(expected) and "\n" not in str(model())
    assert str(model()).count("(") == str(model()).count(")")


def _lines(text: str) -> str:
    return textwrap.dedent(text).strip()


def _normal() -> hm.Natural:
    return hm.Normal(2, hm.Diagonal()).from_mean_covariance([1.0, 2.0], [1.0, 0.5])


def test_repr_of_a_point():
    assert repr(_normal()) == _lines(
        """
        natural point of Normal(2, Diagonal())
          location = [1., 4.]
          shape = [-0.5, -1. ]
        """
    )


def test_repr_of_a_batch():
    assert repr(batch_of(hm.Categorical(3).zeros(hm.Coordinates.MEAN), 2)) == _lines(
        """
        batch (2,) of mean points of Categorical(3)
          values = [[0., 0.], [0., 0.]]
        """
    )


def test_repr_of_a_point_of_a_mixture():
    mixture = hm.Mixture(hm.Categorical(2), 2)
    assert repr(mixture.zeros()) == _lines(
        """
        natural point of Mixture(Categorical(2), 2)
          observable:
            values = [0.]
          interaction:
            rows[0]:
              values = [[0.]]
          latent:
            values = [0.]
        """
    )


def test_repr_of_large_points_shows_shapes():
    assert repr(hm.Normal(20).zeros()) == _lines(
        f"""
        natural point of Normal(20, PositiveDefinite())
          location = {_dtype()}[20]
          shape = {_dtype()}[20,20]
        """
    )


def test_repr_inside_a_compiled_function_shows_shapes():
    seen = []

    @jax.jit
    def function(point):
        seen.append(repr(point))
        return point

    function(_normal())
    assert seen == [
        f"natural point of Normal(2, Diagonal())\n  location = {_dtype()}[2]\n"
        f"  shape = {_dtype()}[2]"
    ]


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
@pytest.mark.parametrize("name", ["normal", "categorical", "mixture", "hierarchy"])
def test_both_kinds_of_random_keys_are_accepted(name, make):
    s = subject(name)
    key = make(0)
    point = s.model.initialize(key)
    assert point.manifold == s.model
    sample = s.model.sample(key, s.natural, (2,))
    assert {leaf.shape[0] for leaf in jax.tree.leaves(sample)} == {2}


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
def test_both_kinds_of_random_keys_start_fits_and_chains(make):
    s, key = subject("mixture"), make(0)
    assert s.model.initialize_from_sample(key, s.observed).manifold == s.model
    assert s.model.observable_sample(key, s.natural).shape == (2,)
    assert s.model.gibbs_step(key, s.natural, s.x).observable.shape == (2,)


@pytest.mark.parametrize(
    "convert",
    [
        lambda xs: np.asarray(xs),
        lambda xs: np.asarray(xs).tolist(),
        lambda xs: tuple(map(tuple, np.asarray(xs).tolist())),
        lambda xs: np.asarray(xs).astype(np.float32),
        lambda xs: np.asarray(xs).astype(np.float64),
        lambda xs: np.asarray(xs).astype(np.float16),
    ],
    ids=["numpy", "list", "tuple", "float32", "float64", "float16"],
)
def test_data_of_many_kinds_are_accepted(convert):
    """Data are taken in the floating point type of the parameters."""
    s = subject("mixture")
    xs = jnp.round(s.observed * 8) / 8  # exact in all of these types
    expected = s.model.log_observable_densities(s.natural, xs)
    densities = s.model.log_observable_densities(s.natural, convert(xs))
    np.testing.assert_array_equal(densities, expected)
    assert densities.dtype == s.natural.latent.values.dtype
    fitted = s.model.expectation_maximization(s.natural, convert(xs))
    assert eqx.tree_equal(fitted, s.model.expectation_maximization(s.natural, xs))


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray, list], ids=["numpy", "jax", "list"])
def test_integers_stand_for_real_numbers(convert):
    xs = [[0, 1], [2, 5], [3, 3], [-1, 0]]
    normal = hm.Normal(2)
    expected = normal.average_sufficient_statistic(jnp.asarray(xs, float))
    assert eqx.tree_equal(normal.average_sufficient_statistic(convert(xs)), expected)


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_categories_of_many_integer_types(dtype):
    xs = [0, 1, 1, 0, 1]
    binary = hm.Categorical(2)
    point = binary.average_sufficient_statistic(np.asarray(xs, dtype))
    np.testing.assert_allclose(point.values, [0.6], rtol=1e-6)


def test_points_keep_the_floating_point_type_they_are_made_with():
    mean, covariance = jnp.zeros(2, jnp.float32), jnp.eye(2, dtype=jnp.float32)
    point = hm.Normal(2).from_mean_covariance(mean, covariance)
    assert point.location.dtype == point.shape.dtype == jnp.float32
    weights = jnp.array([0.5, 0.5], jnp.float32)
    assert hm.Categorical(2).from_probabilities(weights).values.dtype == jnp.float32
    assert hm.Categorical(3).unravel(jnp.zeros(2, jnp.float32)).values.dtype == jnp.float32


def test_integer_leaves_become_real_numbers():
    point = hm.VectorPoint([1, 2], hm.Categorical(3), hm.Coordinates.NATURAL)
    assert jnp.issubdtype(point.values.dtype, jnp.floating)
