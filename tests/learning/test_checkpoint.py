"""Runs go on from their checkpoints, after whatever ended them, to the same numbers."""

import os
import random
import select
import signal
import subprocess
import sys
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import harmonium as hm
from harmonium.files.container import read_container
from harmonium.learning.checkpoint import KIND, Checkpoint, load_state, save_state
from harmonium.learning.fingerprint import describe
from tests.files.subjects import bits

# Runs of a method for as many steps share their programs.
ROOT = Path(__file__).parent.parent.parent
MODEL = hm.Mixture(hm.Normal(2), 2)
XS = np.random.default_rng(0).normal(size=(60, 2)) + np.repeat([[0.0], [2.0]], 30, 0)
N_KILLS = 20


@pytest.fixture(autouse=True)
def double_precision():
    # Optax relies on promotion.
    with jax.enable_x64(True), jax.numpy_dtype_promotion("standard"):
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "run.checkpoint"


def fit(data=XS, **changes):
    settings = {"key": jax.random.key(0), "n_starts": 2, "n_candidates": 1, "tolerance": 0.0}
    settings |= changes
    return hm.fit(MODEL, data, **settings)


def interrupt(*_):
    raise KeyboardInterrupt


METHODS = {
    "em": (lambda: XS, hm.EM(), 12),
    "squarem": (lambda: XS, hm.EM("squarem"), 12),
    "adam": (lambda: XS, hm.Gradient(optax.adam(0.01)), 12),
    "streamed": (lambda: hm.Batches(XS), hm.EM(), 4),
    "online": (lambda: XS, hm.OnlineEM(batch_size=10), 4),
    "online, from the middle of a pass": (
        lambda: hm.Batches(lambda: iter([XS[:25], XS[25:]])),
        hm.OnlineEM(batch_size=10, interval=40),
        5,
    ),
}


@pytest.mark.parametrize("name", METHODS)
def test_interrupted_runs_end_with_the_same_bits(name, path):
    data, method, max_steps = METHODS[name]
    settings = {"method": method, "max_steps": max_steps}
    whole = fit(data(), **settings)
    found = None
    n_calls = 0
    while found is None or found.result is hm.Result.INTERRUPTED:
        found = fit(data(), checkpoint=path, callback=interrupt, **settings)
        n_calls += 1
        assert n_calls <= max_steps + 1
    assert n_calls > 1
    assert bits(found) == bits(whole)
    assert bits(fit(data(), checkpoint=path, callback=interrupt, **settings)) == bits(whole)


def test_more_steps_and_smaller_tolerances_go_on(path):
    whole = fit(max_steps=200, tolerance=1e-9)
    assert fit(max_steps=12, checkpoint=path, tolerance=1e-9).result is hm.Result.STEP_LIMIT
    assert fit(max_steps=200, checkpoint=path, tolerance=1e-4).converged
    found = fit(max_steps=200, checkpoint=path, tolerance=1e-9)
    assert bits(found) == bits(whole)
    with pytest.raises(ValueError, match=r"has taken .* steps, and max_steps is 2"):
        fit(max_steps=2, checkpoint=path, tolerance=1e-9)


@pytest.mark.parametrize(
    ("change", "what"),
    [
        ({"data": XS + 1}, "data"),
        ({"data": XS[:50]}, "data"),
        ({"weights": np.ones(60)}, "weights"),
        ({"key": jax.random.key(1)}, "starts"),
        ({"prior": None}, "prior"),
        ({"method": hm.EM("squarem")}, "method"),
        ({"scale": False}, "scale"),
    ],
)
def test_checkpoints_of_other_runs_are_refused_and_stay(change, what, path):
    Checkpoint(path, 0, _fingerprint()).save(((), ()))
    before = path.read_bytes()
    with pytest.raises(hm.FileError, match=rf"another run, which differs in .*{what}"):
        fit(checkpoint=path, **change)
    assert path.read_bytes() == before


def _fingerprint():
    arguments = {"model": MODEL, "method": hm.EM(), "starts": (jax.random.key(0), 2, None)}
    arguments |= {"prior": "default", "scale": True, "batch_size": 16384}
    arguments |= {"data": XS, "weights": None, "observed": (None, "error")}
    return {name: describe(value) for name, value in arguments.items()}


def test_files_of_other_kinds_are_refused_and_stay(path):
    hm.save(path, 1)
    with pytest.raises(hm.FileError, match=r"expected a checkpoint .* holds an object"):
        fit(checkpoint=path)
    assert hm.load(path) == 1
    Checkpoint(path, 0, {}).save(jnp.ones(2))
    with pytest.raises(hm.FileError, match=r"expected an object .* holds a checkpoint"):
        hm.load(path)
    path.write_bytes(path.read_bytes()[:-5])
    with pytest.raises(hm.FileError, match=r"not all of one|damaged"):
        fit(checkpoint=path)


def test_checkpoints_where_there_can_be_none(path):
    with pytest.raises(FileNotFoundError, match="there is no folder"):
        fit(checkpoint=path / "missing")
    with pytest.raises(ValueError, match="number of seconds"):
        fit(checkpoint=path, every=-1)
    with pytest.raises(TypeError, match="inside of compiled functions"):
        jax.jit(lambda xs: fit(xs, checkpoint=path).objective)(XS)


def test_states_are_any_pytrees(path):
    state = {
        "optimiser": optax.adam(0.1).init(jnp.ones(3)),
        "key": jax.random.key(3),
        "numbers": (2, 0.5, np.float32(3)),
        "any": jnp.arange(4),
    }
    assert load_state(path, {}, state) is None
    save_state(path, {"data": "a"}, state)
    assert bits(load_state(path, {"data": "a"}, {**state, "any": ...})) == bits(state)
    with pytest.raises(hm.FileError, match="data: there a; here b"):
        load_state(path, {"data": "b"}, state)
    with pytest.raises(hm.FileError, match="other shapes or types"):
        load_state(path, {"data": "a"}, {**state, "any": jnp.arange(5)})


def test_arrays_are_told_apart_wherever_they_are():
    rng = np.random.default_rng(0)
    for dtype in ("float64", "float32", "float16", "int64", "int8", "bool"):
        array = np.maximum(rng.normal(size=(30, 4)) * 50, 0).astype(dtype)
        text = describe(array)
        assert describe(jnp.asarray(array)) == text == describe(array.copy())
        assert describe(array[::-1]) != text != describe(array.T)
        changed = array.copy()
        changed[7, 2] = not changed[7, 2] if dtype == "bool" else changed[7, 2] + 1
        assert describe(changed) != text
    # Columns of other signs, scales and orders, of which changes may cancel in sums.
    array = rng.normal(size=(64, 3))
    others = [array * [1, -1, 1], -array, array * [1, 2, 0.5], array[:, [0, 2, 1]]]
    assert len({describe(own) for own in (array, *others)}) == 5


def test_optimisers_are_told_apart():
    assert describe(optax.adam(0.1)) == describe(optax.adam(0.1))
    assert describe(optax.adam(0.1)) != describe(optax.adam(0.2))
    assert describe(optax.sgd(lambda step: 0.1)) != describe(optax.sgd(lambda step: 0.2))


# --- kill -9


class Nursery:
    """Starts processes that fit, see `nursery.py`."""

    def __init__(self, folder):
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.learning.nursery", str(folder / "cache")],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            cwd=ROOT,
            env={**os.environ, "JAX_PLATFORMS": "cpu"},
            text=True,
            bufsize=1,
        )

    def start(self, checkpoint, result):
        self.process.stdin.write(f"{checkpoint} {result}\n")
        return int(self.process.stdout.readline())

    def has_ended(self, seconds):
        return bool(select.select([self.process.stdout], [], [], seconds)[0])

    def status(self):
        return int(self.process.stdout.readline())


@pytest.fixture
def nursery(tmp_path):
    nursery = Nursery(tmp_path)
    yield nursery
    nursery.process.communicate()


def _steps_told(path):
    log = Path(f"{path}.log")
    return [int(line) for line in log.read_text().split()] if log.exists() else []


def _steps_kept(path):
    if not path.exists():
        return 0
    _, arrays = read_container(path, KIND)
    return max(array.shape[1] for array in arrays if array.ndim == 2)


@pytest.mark.whole  # many processes, which are killed
def test_kills_at_random_moments_change_nothing(nursery, tmp_path):
    rng = random.Random(0)
    result, reference = tmp_path / "result", tmp_path / "reference"
    nursery.start(tmp_path / "whole", reference)
    assert nursery.status() == 0
    path, n_kills, n_runs = tmp_path / "run0", 0, 0
    while True:
        before, kept = len(_steps_told(path)), _steps_kept(path)
        child = nursery.start(path, result)
        # Killed before it begins, or after a few chunks, each written to disk before the next.
        n_chunks = rng.choice([0, 1, 2, 5])
        while n_kills < N_KILLS and len(_steps_told(path)) < before + n_chunks:
            if nursery.has_ended(0.001):
                break
        if n_kills < N_KILLS:
            time.sleep(rng.uniform(0, 0.02))
            if not nursery.has_ended(0):
                os.kill(child, signal.SIGKILL)
        status = nursery.status()
        told = _steps_told(path)
        if status == signal.SIGKILL:
            n_kills += 1
            # It went on from what was kept, and all but the chunk under way is kept now.
            assert all(n_steps > kept for n_steps in told[before:])
            assert _steps_kept(path) >= ([kept, *told[before:]])[-2:][0]
            continue
        assert status == 0
        assert bits(hm.load(result)) == bits(hm.load(reference))
        if n_kills == N_KILLS:
            break
        n_runs += 1
        path = tmp_path / f"run{n_runs}"
    assert not list(tmp_path.glob(".*.part"))
