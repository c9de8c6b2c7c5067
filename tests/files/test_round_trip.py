"""What is saved is loaded again, to the last bit and in its precision."""

import contextlib
import enum
import inspect
import os

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import harmonium as hm
from harmonium.files import container, structure
from tests.catalogue import CATALOGUE, EMBEDDINGS, FAMILIES, MANIFOLDS
from tests.contracts.classes import public_names
from tests.files.subjects import bits, random_point, some_fit

NATURAL, MEAN = hm.Coordinates.NATURAL, hm.Coordinates.MEAN
MIXTURE = hm.Mixture(hm.Normal(2), 3)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved.safetensors"


@pytest.fixture(params=[32, 64])
def dtype(request):
    with jax.enable_x64(request.param == 64):
        yield np.dtype(f"float{request.param}")


def through_file(path, value, **settings):
    hm.save(path, value)
    return hm.load(path, **settings)


def _assert_round_trip(path, model, dtypes):
    """That a model, a point in each of its coordinates and a batch are loaded as they were."""
    pairs = zip(hm.Coordinates, dtypes, strict=True)
    saved = {
        "model": model,
        "points": [random_point(model, kind, dtype) for kind, dtype in pairs],
        "batch": random_point(model, NATURAL, dtypes[0], (2, 3)),
    }
    loaded = through_file(path, saved)
    assert bits(loaded) == bits(saved)
    assert loaded["model"] == model and type(loaded["model"]) is type(model)
    assert [point.coordinates for point in loaded["points"]] == list(hm.Coordinates)


@pytest.mark.parametrize("name", CATALOGUE | MANIFOLDS)
def test_models_and_their_points(name, path):
    with jax.enable_x64(True):
        _assert_round_trip(path, (CATALOGUE | MANIFOLDS)[name](), (np.float64, np.float32))


# A file holds the leaves of points one by one: those of harmoniums are those of families.
@pytest.mark.parametrize("name", FAMILIES)
def test_points_where_there_is_no_double_precision(name, path):
    with jax.enable_x64(False):
        _assert_round_trip(path, FAMILIES[name](), (np.float32, np.float32))


@pytest.mark.parametrize("name", EMBEDDINGS)
def test_embeddings(name, path):
    embedding = EMBEDDINGS[name]()
    loaded = through_file(path, embedding)
    assert loaded == embedding and type(loaded) is type(embedding)


def test_fits_and_priors(path, dtype):
    prior = hm.ConjugatePrior(random_point(MIXTURE, MEAN, dtype), jnp.asarray(3, dtype))
    saved = (some_fit(MIXTURE, dtype), prior)
    loaded = through_file(path, saved)
    assert bits(loaded) == bits(saved)
    assert repr(loaded[0]) == repr(saved[0])
    assert loaded[0].result is hm.Result.CONVERGED


def test_trees_of_all_that_a_file_holds(path):
    saved = {
        "numbers": [1, -(10**40), 2.5, -0.0, float("inf"), float("-inf"), float("nan"), True, None],
        "text": ("", 'a "quoted"\n\u03b8', {}, [], ()),
        "arrays": [np.arange(6).reshape(2, 3).T, np.zeros((0, 3), np.float32), np.bool_(True)],
        "more arrays": [np.float16(2), np.asarray(3, ">f8").astype("=f8"), np.asarray(2, np.uint8)],
        "keys": [jax.random.key(3), jax.random.split(jax.random.key(4, impl="rbg"), 2)],
        "joint": hm.Joint(jnp.ones(3), hm.Joint(jnp.zeros(2), jnp.asarray(1))),
        "enum": hm.Result.DIVERGED,
        "methods": (hm.EM("squarem"), hm.NaturalGradient(0.5)),
    }
    assert bits(through_file(path, saved)) == bits(saved)


def test_numpy_numbers_in_models_become_numbers(path):
    loaded = through_file(path, [hm.Laplace(np.float64(0.3)), hm.Normal(True)])
    assert loaded == [hm.Laplace(0.3), hm.Normal(1)]
    assert type(loaded[0].location) is float and type(loaded[1].data_dim) is int


def test_double_precision_is_not_rounded_unless_asked_for(path):
    with jax.enable_x64(True):
        saved = [jnp.asarray([1 / 3]), jnp.asarray([1, 2]), random_point(MIXTURE, MEAN, float)]
        hm.save(path, saved)
    with jax.enable_x64(False):
        with pytest.raises(hm.FileError, match=r"jax_enable_x64.*narrow=True"):
            hm.load(path)
        loaded = hm.load(path, narrow=True)
    assert [leaf.dtype for leaf in loaded[:2]] == [np.float32, np.int32]
    np.testing.assert_array_equal(loaded[0], np.asarray([1 / 3], np.float32))
    assert loaded[2].latent.values.dtype == np.float32


def test_integers_that_would_not_fit_are_not_narrowed(path):
    with jax.enable_x64(True):
        hm.save(path, jnp.asarray([2**40]))
    with jax.enable_x64(False), pytest.raises(hm.FileError, match="int32"):
        hm.load(path, narrow=True)


def test_single_precision_stays_in_64_bit_mode(path):
    with jax.enable_x64(False):
        hm.save(path, jnp.ones(3))
    with jax.enable_x64(True):
        assert hm.load(path).dtype == np.float32


def test_arrays_of_numpy_keep_their_precision_in_any_mode(path):
    hm.save(path, np.asarray([1 / 3, 2**40 + 0.5]))
    with jax.enable_x64(False):
        loaded = hm.load(path)
    assert isinstance(loaded, np.ndarray) and loaded.dtype == np.float64


class Levels(enum.Enum):
    LOW = 1


class Swapped(hm.geometry.Manifold):
    """A manifold whose constructor does not take its fields in order."""

    first: int = eqx.field(static=True)
    second: int = eqx.field(static=True)

    def __init__(self, second, first):
        self.first = first
        self.second = second

    dim = 0
    zeros = hm.families.Euclidean.zeros
    ravel = hm.families.Euclidean.ravel
    unravel = hm.families.Euclidean.unravel


def test_classes_of_users_are_loaded_if_they_are_passed(path):
    concrete = type("Own", (eqx.Module,), {"__annotations__": {"size": int}, "__module__": "mine"})
    hm.save(path, concrete(3))
    with pytest.raises(hm.FileError, match=r"unknown class, 'Own'.*classes="):
        hm.load(path)
    loaded = hm.load(path, classes=(concrete,))
    assert type(loaded) is concrete and loaded.size == 3
    hm.save(path, Levels.LOW)
    with pytest.raises(hm.FileError, match="unknown constant 'Levels'"):
        hm.load(path)
    assert hm.load(path, classes=(Levels,)) is Levels.LOW


def test_classes_of_users_have_names_of_their_own(path):
    hm.save(path, 1)
    impostor = type("Normal", (eqx.Module,), {"__module__": "mine"})
    with pytest.raises(ValueError, match="Normal of its own: rename"):
        hm.load(path, classes=(impostor,))
    with pytest.raises(TypeError, match="Normal of its own: rename"):
        hm.save(path, impostor())


def test_structures_that_could_not_be_built_again_are_not_written(path):
    with pytest.raises(TypeError, match=r"in order: first, second"):
        hm.save(path, Swapped(1, 2))
    assert not path.exists()


def _nested(depth):
    value = []
    for _ in range(depth):
        value = [value]
    return value


@pytest.mark.parametrize(
    ("value", "message"),
    [
        (lambda: len, "files hold models, .*builtin_function"),
        (lambda: hm.Gradient(optax.adam(0.1)), "type function"),
        (lambda: {1: 2}, "dictionaries by strings"),
        (lambda: {1, 2}, "type set"),
        (lambda: np.asarray([1j]), "complex"),
        (lambda: jnp.ones(2, jnp.bfloat16), "bfloat16"),
        (lambda: np.asarray(["a"]), "got str"),
        (lambda: np.asarray([None]), "got object"),
        (lambda: structure._Encoder(), "type _Encoder"),
    ],
)
def test_what_files_do_not_hold(value, message, path):
    with pytest.raises(TypeError, match=message):
        hm.save(path, value())
    assert not path.exists()


def test_traced_arrays_are_not_written(path):
    with pytest.raises(TypeError, match=r"outside of jax\.jit"):
        jax.jit(lambda x: hm.save(path, x))(jnp.ones(2))


def test_what_is_too_deep_or_too_much_is_not_written(path, monkeypatch):
    monkeypatch.setattr(container, "MAX_NODES", 200)
    with pytest.raises(ValueError, match="deep"):
        hm.save(path, _nested(structure.MAX_DEPTH + 1))
    with pytest.raises(ValueError, match="Stack arrays"):
        hm.save(path, [0] * (container.MAX_NODES + 1))
    with pytest.raises(ValueError, match="Stack arrays"):
        hm.save(path, "a" * container.MAX_HEADER_BYTES)
    assert list(path.parent.iterdir()) == []
    through_file(path, _nested(structure.MAX_DEPTH - 1))


def test_models_of_many_levels_fit_into_a_file(path):
    levels = [
        hm.LinearGaussianModel(hm.Normal(40 - i, hm.PositiveDefinite()), hm.Normal(39 - i))
        for i in range(20)
    ]
    model = hm.stack(*levels, hm.Mixture(hm.Normal(20), 5))
    assert through_file(path, model) == model


def test_every_public_class_that_is_final_can_be_named_by_a_file():
    known = structure.registry()
    final = {
        name: value
        for name, value in public_names().items()
        if inspect.isclass(value)
        and issubclass(value, eqx.Module)
        and not inspect.isabstract(value)
        and not getattr(value, "__abstractvars__", ())
    }
    assert len(final) > 50 and set(final) <= set(known)
    assert all(known[name] is value for name, value in final.items())
    assert all(cls.__module__.startswith("harmonium.") for cls in known.values())


# --- writing


class Stop(Exception):
    """Stands for a process that ends at this place."""


@pytest.mark.parametrize("place", ["save", "os.fsync", "os.replace"])
def test_a_file_is_whole_wherever_writing_ends(place, path, monkeypatch):
    hm.save(path, [1, np.arange(3)])

    def stop(*args):
        raise Stop

    with monkeypatch.context() as patch, pytest.raises(Stop):
        patch.setattr(f"harmonium.files.container.{place}", stop)
        hm.save(path, [2, np.arange(4)])
    assert hm.load(path)[0] == 1
    assert list(path.parent.iterdir()) == [path]


def test_leftovers_of_killed_writers_are_removed(path):
    ours, others = path.parent / f".{path.name}.00ff.part", path.parent / ".other.00ff.part"
    for file in (ours, others):
        file.write_bytes(b"half of")
    container.remove_leftovers(path)
    assert list(path.parent.iterdir()) == [others]


def test_links_are_followed_and_permissions_are_the_usual_ones(path, tmp_path):
    target = tmp_path / "folder" / "target"
    target.parent.mkdir()
    path.symlink_to(target)
    hm.save(path, 1)
    other = tmp_path / "plain"
    other.write_bytes(b"")
    assert path.is_symlink() and hm.load(target) == 1
    assert target.stat().st_mode == other.stat().st_mode


def test_paths_may_be_text(path):
    hm.save(str(path), 1)
    assert hm.load(str(path)) == hm.load(path) == 1


def test_where_nothing_can_be_written_or_read(path, tmp_path):
    missing = tmp_path / "missing" / "file"
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        hm.save(missing, 1)
    with pytest.raises(FileNotFoundError):
        hm.load(missing)
    with pytest.raises(IsADirectoryError, match="it is a folder"):
        hm.save(tmp_path, 1)
    with pytest.raises(hm.FileError, match="folder or a device"):
        hm.load(tmp_path)


def test_pipes_are_not_waited_for(path):
    os.mkfifo(path)
    with pytest.raises(hm.FileError, match="a device"):
        hm.load(path)


def test_reading_a_file_leaves_it_alone(path):
    hm.save(path, np.arange(3))
    before = path.read_bytes()
    loaded = hm.load(path)
    loaded += 1
    with contextlib.suppress(hm.FileError):
        hm.load(path, classes=(Levels,))
    assert path.read_bytes() == before
