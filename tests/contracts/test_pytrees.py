"""Models as values and points as pytrees: equality, hashing, copies, pickles and reprs."""

import copy
import operator
import pickle
import textwrap

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import harmonium as hm
from tests.compiled import compute
from tests.contracts.classes import public_names
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
    assert hm.Categorical(3) != hm.families.Euclidean(3)
    assert hm.geometry.Pair(hm.geometry.Null(), hm.geometry.Null()) != hm.geometry.Null()
    assert hm.Product(hm.Normal(2)) != hm.geometry.Pair(hm.Normal(2), hm.geometry.Null())
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


subtract = jax.jit(operator.sub)


@pytest.mark.parametrize("name", MODELS)
@pytest.mark.parametrize("kind", COPIES)
def test_copies_of_points_are_equal(name, kind):
    point = subject(name).natural
    other = COPIES[kind](point)
    assert jax.tree.structure(other) == jax.tree.structure(point)
    assert other.coordinates is point.coordinates
    assert other.manifold == point.manifold
    assert eqx.tree_equal(other, point)
    difference = jax.tree.leaves(subtract(point, other))
    assert difference  # copies and originals combine
    assert all(np.all(leaf == 0) for leaf in difference)


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
    assert eval(str(model), public_names()) == model


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
    normal = hm.Normal(2, hm.Diagonal())
    return jax.jit(lambda: normal.from_mean_covariance([1.0, 2.0], [1.0, 0.5]))()


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
    draw = lambda key, p: (s.model.initialize(key), s.model.sample(key, p, (2,)))  # noqa: E731
    point, sample = compute(draw, make(0), s.natural)
    assert point.manifold == s.model
    assert {leaf.shape[0] for leaf in jax.tree.leaves(sample)} == {2}


@pytest.mark.parametrize("make", [jax.random.key, jax.random.PRNGKey], ids=["typed", "legacy"])
def test_both_kinds_of_random_keys_start_fits_and_chains(make):
    s = subject("mixture")

    def run(key, point, xs, x):
        start = s.model.initialize_from_sample(key, xs)
        return start, s.model.observable_sample(key, point), s.model.gibbs_step(key, point, x)

    start, drawn, swept = compute(run, make(0), s.natural, s.observed, s.x)
    assert start.manifold == s.model
    assert drawn.shape == (2,)
    assert swept.observable.shape == (2,)


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
    xs = np.round(np.asarray(s.observed) * 8) / 8  # exact in all of these types

    def use(point, xs):
        densities = s.model.log_observable_densities(point, xs)
        return densities, s.model.expectation_maximization(point, xs)

    found, expected = compute(lambda p: (use(p, convert(xs)), use(p, xs)), s.natural)
    np.testing.assert_array_equal(found[0], expected[0])
    assert found[0].dtype == s.natural.latent.values.dtype
    assert eqx.tree_equal(found[1], expected[1])


@pytest.mark.parametrize("convert", [np.asarray, jnp.asarray, list], ids=["numpy", "jax", "list"])
def test_integers_stand_for_real_numbers(convert):
    xs = [[0, 1], [2, 5], [3, 3], [-1, 0]]
    average = hm.Normal(2).average_sufficient_statistic
    assert eqx.tree_equal(*compute(lambda: (average(convert(xs)), average(jnp.asarray(xs, float)))))


@pytest.mark.parametrize("dtype", [bool, np.uint8, np.int32, np.int64])
def test_categories_of_many_integer_types(dtype):
    xs = [0, 1, 1, 0, 1]
    point = compute(hm.Categorical(2).average_sufficient_statistic, np.asarray(xs, dtype))
    np.testing.assert_allclose(point.values, [0.6], rtol=1e-6)


def test_points_keep_the_floating_point_type_they_are_made_with():
    def points(zeros, identity, weights):
        return (
            hm.Normal(2).from_mean_covariance(zeros, identity),
            hm.Categorical(2).from_probabilities(weights),
            hm.Categorical(3).unravel(zeros),
        )

    arrays = np.zeros(2), np.eye(2), np.array([0.5, 0.5])
    made = compute(points, *(array.astype(np.float32) for array in arrays))
    assert [leaf.dtype for leaf in jax.tree.leaves(made)] == [np.float32] * 4


def test_integer_leaves_become_real_numbers():
    point = hm.geometry.VectorPoint([1, 2], hm.Categorical(3), hm.Coordinates.NATURAL)
    assert jnp.issubdtype(point.values.dtype, jnp.floating)
