"""Files that are damaged or meant to do harm end in an error, and cost neither time nor memory."""

import json
import os
import subprocess
import sys
from pathlib import Path

import jax
import numpy as np
import pytest

import harmonium as hm
from harmonium.files import container
from tests.files import corrupt

ROOT = Path(__file__).parent.parent.parent
MAX_MEMORY = 100 * 2**20


@pytest.fixture(autouse=True)
def double_precision():
    with jax.enable_x64(True):
        yield


@pytest.fixture
def path(tmp_path):
    return tmp_path / "saved.safetensors"


def test_corrupted_files_are_refused_or_loaded_as_they_were(tmp_path):
    corrupt.write_all(tmp_path)
    # In a process of its own, which a crash would end and whose memory is its own.
    run = subprocess.run(
        [sys.executable, "-m", "tests.files.corrupt", str(tmp_path)],
        capture_output=True,
        text=True,
        cwd=ROOT,
        env={**os.environ, "JAX_PLATFORMS": "cpu"},
        timeout=600,
    )
    assert run.returncode == 0, run.stderr
    outcomes = json.loads(run.stdout)
    assert len(outcomes) == corrupt.N_CORRUPTIONS
    refused = [name for name, outcome, _ in outcomes if outcome == "refused"]
    others = [name for name, outcome, _ in outcomes if outcome == "another object"]
    assert len(refused) > 0.9 * len(outcomes)
    # Who makes a checksum fit may write whatever valid file they like, but nobody else.
    assert all("sealed" in name for name in others)
    assert sum(growth for *_, growth in outcomes) < MAX_MEMORY


def saved(path, value):
    hm.save(path, value)
    return container.read_container(path, "an object")


def resave(path, tree, arrays=()):
    container.write_container(path, "an object", tree, arrays)


def test_no_bit_of_a_number_changes_unseen(path):
    hm.save(path, np.arange(30.0))
    content = path.read_bytes()
    for place in range(1, 240, 7):
        flipped = bytearray(content)
        flipped[-place] ^= 1 << place % 8
        path.write_bytes(flipped)
        with pytest.raises(hm.FileError, match="does not match its checksum"):
            hm.load(path)


def test_files_of_others(path):
    path.write_bytes(b"PK" + bytes(100))
    with pytest.raises(hm.FileError, match="no safetensors file"):
        hm.load(path)
    header = b'{"__metadata__":{"format":"pt"}}'
    path.write_bytes(len(header).to_bytes(8, "little") + header)
    with pytest.raises(hm.FileError, match="none that harmonium wrote"):
        hm.load(path)


def test_files_of_the_future(path, monkeypatch):
    with monkeypatch.context() as patch:
        patch.setattr(container, "FORMAT_VERSION", 3)
        hm.save(path, 1)
        assert hm.load(path) == 1
    with pytest.raises(hm.FileError, match=r"format version 3; .* up to 2\. .*newer release"):
        hm.load(path)


@pytest.mark.parametrize("length", [container.MAX_HEADER_BYTES + 1, 10**15, 2**64 - 1])
def test_headers_longer_than_ours_are_not_read(length, path):
    with open(path, "wb") as file:
        file.write(length.to_bytes(8, "little") + b"{")
        file.truncate(container.MAX_HEADER_BYTES + 100)  # zeros, which take no space
    with pytest.raises(hm.FileError, match=r"header has|not all of one"):
        hm.load(path)


def _set(tree, value, *names):
    for name in names[:-1]:
        tree = tree[name]
    tree[names[-1]] = value


NORMAL = ("structures", 1, "fields")  # after its covariance structure


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda t: _set(t, 2.0, *NORMAL, "data_dim"), "data_dim of Normal is int; it has 2.0"),
        (lambda t: _set(t, True, *NORMAL, "data_dim"), "data_dim of Normal is int; it has True"),
        (lambda t: _set(t, 0, *NORMAL, "data_dim"), "ValueError: a normal needs at least one"),
        (lambda t: _set(t, 3, *NORMAL, "data_dim"), "no valid LocationShape"),
        (lambda t: _set(t, 1, *NORMAL, "mean"), "fields of Normal are data_dim, cov.*mean"),
        (lambda t: t["structures"][1].update({"class": "os"}), "unknown class, 'os'"),
        (lambda t: t["structures"][1].update({"class": "_Encoder"}), "unknown class, '_Encoder'"),
        (lambda t: t["structures"][1].update({"class": "Structure"}), "unknown class"),
        (lambda t: t["structures"][1].update({"class": "Poisson", "fields": {}}), "no valid Loc"),
        (lambda t: t["structures"].append(3), "structure 2 is none: 3"),
        (lambda t: t["structures"].reverse(), "refers to structure 0 of 0"),
        (lambda t: t.update(more=1), "it has no structure"),
        (lambda t: _set(t, {"array": 1}, "value", "fields", "location"), "one array twice"),
        (lambda t: _set(t, {"array": 2}, "value", "fields", "location"), "array 2 of 2"),
        (lambda t: _set(t, None, "value"), "of 2 arrays, only 0 belong"),
        (lambda t: _set(t, {"array": 0, "x": 1}, "value", "fields", "shape"), "unknown part"),
        (lambda t: _set(t, "natural", "value", "fields", "coordinates"), "no valid LocationSh"),
        (
            lambda t: _set(t, "__class__", "value", "fields", "coordinates", "member"),
            "unknown constant 'Coordinates'.'__class__'",
        ),
    ],
)
def test_structures_that_say_something_else(change, message, path):
    tree, arrays = saved(path, hm.Normal(2).zeros())
    change(tree)
    resave(path, tree, arrays)
    with pytest.raises(hm.FileError, match=message) as caught:
        hm.load(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("shape", [(), (3,), (0,), (2, 2, 2), (3, 2)])
def test_leaves_of_other_shapes(shape, path):
    tree, arrays = saved(path, hm.Normal(2).zeros())
    resave(path, tree, [np.zeros(shape), arrays[1]])
    with pytest.raises(hm.FileError, match="no valid LocationShape"):
        hm.load(path)
