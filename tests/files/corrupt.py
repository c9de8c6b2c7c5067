"""Files that are damaged, foreign or made up to do harm, from good ones.

Run as a script on a folder of them, it loads them all and prints what came of it, and by how much
the peak of its memory grew.
"""

import copy
import gc
import io
import json
import pickle
import resource
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jax
import numpy as np

import harmonium as hm
from harmonium.files import container
from tests.files.subjects import bits, random_point, some_fit

N_CORRUPTIONS = 500
SEED = 20240419
# What may stand anywhere in a structure.
HOSTILE = (
    None,
    True,
    -1,
    0,
    2,
    2.5,
    1e308,
    10**9,
    10**18,
    10**300,
    "",
    "os.system",
    "__import__('os')",
    "x" * 100_000,
    [],
    {},
    {"class": "os", "fields": {}},
    {"class": "Structure", "fields": {}},
    {"class": "Run", "fields": {}},
    {"class": "Normal", "fields": {"data_dim": 10**15, "covariance_structure": None}},
    {"class": "Categorical", "fields": {"n_categories": 10**9}},
    {"enum": "Coordinates", "member": "__class__"},
    {"array": 0},
    {"array": -1},
    {"array": 10**6},
    {"numpy": 0},
    {"key": 0, "impl": "threefry2x32"},
    {"key": 0, "impl": "no such thing"},
    {"structure": 0},
    {"structure": 10**6},
    {"float": "1e5"},
    {"tuple": {}},
    {"__reduce__": ["os.system", ["true"]]},
    [[]] * 50_000,
    {"tuple": [{"structure": 0}] * 20_000},
)


def good_files(folder: Path) -> dict[Path, Any]:
    """What is saved, by file."""
    hierarchy = hm.hierarchical_mixture_of_gaussians(4, 2, 3)
    views = hm.Parallel(hm.factor_analysis(2, 1), hm.factor_analysis(3, 1))
    objects = {
        "model": views,
        "point": random_point(hierarchy, hm.Coordinates.NATURAL, np.float64),
        "fit": some_fit(hm.Mixture(hm.Normal(2), 3)),
        "tree": {"key": jax.random.key(0), "xs": [np.arange(30.0), (1, 2.5)], "p": hm.Poisson()},
    }
    for name, value in objects.items():
        hm.save(folder / name, value)
    return {folder / name: value for name, value in objects.items()}


def corruptions(files: dict[Path, Any]) -> Iterator[tuple[str, bytes, bool]]:
    """Each is a name, the bytes, and whether the checksum was made to fit."""
    rng = np.random.default_rng(SEED)
    contents = [file.read_bytes() for file in files]
    parsed = [container.read_container(file, "an object") for file in files]
    foreign = [*_foreign(), *_too_deep(), *_exploding()]
    yield from foreign
    for i in range(N_CORRUPTIONS - len(foreign)):
        content = contents[rng.integers(len(contents))]
        tree, arrays = parsed[rng.integers(len(parsed))]
        match i % 10:
            case 0 | 1:
                yield "flipped bits", _flip_bits(rng, content), False
            case 2:
                yield "truncated", content[: rng.integers(len(content))], False
            case 3:
                yield "swapped headers", _swap_headers(rng, contents), False
            case 4:
                yield "declared sizes", _declare(rng, content), False
            case 5:
                yield "overwritten", _overwrite(rng, content), False
            case 6:
                yield "wrong shapes", _seal(tree, _reshape(rng, arrays)), True
            case _:
                yield "hostile structure", _seal(_mutate(rng, tree), arrays), True


def _flip_bits(rng: Any, content: bytes) -> bytes:
    flipped = bytearray(content)
    for place in rng.integers(len(content), size=rng.integers(1, 4)):
        flipped[place] ^= 1 << int(rng.integers(8))
    return bytes(flipped)


def _overwrite(rng: Any, content: bytes) -> bytes:
    start, length = rng.integers(len(content)), rng.integers(1, 200)
    return content[:start] + rng.bytes(length) + content[start + length :]


def _split(content: bytes) -> tuple[bytes, bytes]:
    end = 8 + int.from_bytes(content[:8], "little")
    return content[8:end], content[end:]


def _join(header: bytes, payload: bytes) -> bytes:
    return len(header).to_bytes(8, "little") + header + payload


def _swap_headers(rng: Any, contents: list[bytes]) -> bytes:
    first, second = rng.choice(len(contents), 2, replace=False)
    return _join(_split(contents[first])[0], _split(contents[second])[1])


def _declare(rng: Any, content: bytes) -> bytes:
    """Sizes that are not those of the file: of the header, or of an array in it."""
    header, payload = _split(content)
    huge = int(rng.choice([2**20, 2**31, 2**40, 2**62, len(content), len(header) + 1]))
    if rng.random() < 0.3:
        return huge.to_bytes(8, "little") + header + payload
    entries = json.loads(header)
    entry = entries.get("0", {"dtype": "F64", "shape": [1], "data_offsets": [0, 8]})
    match rng.integers(4):
        case 0:
            entry["shape"] = [huge]
        case 1:
            entry["data_offsets"] = [0, huge]
        case 2:
            entry["shape"], entry["data_offsets"] = [huge, 8], [0, 64 * huge]
        case 3:
            entry["dtype"] = str(rng.choice(["BF16", "F8_E4M3", "C64", "object", "I8"]))
    return _join(json.dumps(entries | {"0": entry}).encode(), payload)


def _seal(tree: Any, arrays: list[np.ndarray]) -> bytes:
    """A file of this content whose checksum is right."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "sealed"
        limits = container.MAX_NODES, container.MAX_HEADER_BYTES
        container.MAX_NODES = container.MAX_HEADER_BYTES = 10**9
        try:
            container.write_container(file, "an object", tree, arrays)
        finally:
            container.MAX_NODES, container.MAX_HEADER_BYTES = limits
        return file.read_bytes()


def _reshape(rng: Any, arrays: list[np.ndarray]) -> list[np.ndarray]:
    changed = [*arrays, np.zeros(3)]
    place = int(rng.integers(len(changed)))
    shapes = [(), (0,), (7,), (1, 2, 3), (2, 2), (100_000,)]
    dtype = str(rng.choice(["float64", "float32", "int64", "bool", "uint8"]))
    changed[place] = np.zeros(shapes[rng.integers(len(shapes))], dtype)
    return changed if place == len(arrays) else changed[:-1]


def _places(node: Any, path: tuple = ()) -> Iterator[tuple]:
    yield path
    if isinstance(node, dict | list):
        for name, item in node.items() if isinstance(node, dict) else enumerate(node):
            yield from _places(item, (*path, name))


def _mutate(rng: Any, tree: Any) -> Any:
    """The tree with something hostile at a random place, or a name changed or left out there."""
    holder = [copy.deepcopy(tree)]
    places = [path for path in _places(holder) if path]
    *path, last = places[rng.integers(len(places))]
    node: Any = holder
    for name in path:
        node = node[name]
    if isinstance(node, dict) and rng.random() < 0.3:
        value = node.pop(last)
        if rng.random() < 0.5:
            node[f"{last}s"] = value
    else:
        node[last] = HOSTILE[rng.integers(len(HOSTILE))]
    return holder[0]


def _object(name: str, **fields: Any) -> Any:
    return {"class": name, "fields": fields}


def _foreign() -> Iterator[tuple[str, bytes, bool]]:
    archive = io.BytesIO()
    np.savez(archive, xs=np.arange(3))
    for content in (
        b"",
        b"{}",
        bytes(1000),
        b"\xff" * 1000,
        pickle.dumps([1, 2]),
        archive.getvalue(),
        b"\x89PNG\r\n\x1a\n" + bytes(100),
        _join(b"{}", b""),
        _join(b'{"__metadata__":{"format":"pt"}}', b""),
        _join(b'{"__metadata__":{"format":"harmonium"}}', b""),
        _join(b"[" * 1_000_000, b""),
        _join(b'{"a":' * 300_000, b""),
        _join(b"{" + b" " * 1_900_000 + b"}", b""),
    ):
        yield "foreign", content, False


def _too_deep() -> Iterator[tuple[str, bytes, bool]]:
    """Nested far beyond what a parser or a stack takes, in ways that each checksum fits."""
    for opening, closing in (("[", "]"), ('{"tuple":[', "]}"), ('{"dict":{"a":', "}}")):
        for depth in (100, 10_000, 200_000):
            text = opening * depth + "null" + closing * depth
            with_text = _seal_text(f'{{"structures":[],"value":{text}}}')
            yield "too deep", with_text, True


def _seal_text(text: str) -> bytes:
    """A file with this text for its structure, which need not be JSON."""
    known = {"format": "harmonium", "format_version": "1", "kind": "an object", "structure": text}
    metadata = {**known, "checksum": container._checksum(known, [])}
    return _join(json.dumps({"__metadata__": metadata}).encode(), b"")


def _exploding() -> Iterator[tuple[str, bytes, bool]]:
    """Lists of structures, each of the one before it many times, and numbers of many digits."""
    for depth in (20, 60, 5000):
        entries = [_object("Null")]
        for i in range(depth):
            entries.append(_object("Pair", first={"structure": i}, second={"structure": i}))
        yield "exploding", _seal({"structures": entries, "value": {"structure": depth}}, []), True
    entries = [_object("Null")]
    for i in range(5):
        entries.append(_object("ManifoldTuple", parts={"tuple": [{"structure": i}] * 1000}))
    yield "exploding", _seal({"structures": entries, "value": {"structure": 5}}, []), True
    # One array a million times would be terabytes.
    many = {"structures": [], "value": [{"array": 0}] * 15_000}
    yield "exploding", _seal(many, [np.zeros(1_000_000, np.uint8)]), True
    yield "exploding", _seal_text('{"structures":[],"value":' + "9" * 1_000_000 + "}"), True


def write_all(folder: Path) -> None:
    """Good files, and all corruptions of them, in two folders."""
    good, bad = folder / "good", folder / "bad"
    good.mkdir()
    bad.mkdir()
    for i, (kind, content, sealed) in enumerate(corruptions(good_files(good))):
        (bad / f"{i:03} {kind}{' (sealed)' if sealed else ''}").write_bytes(content)


def load_all(folder: Path) -> list[tuple[str, str, int]]:
    """Of each file its name, what came of it, and by how many bytes the peak of memory grew."""
    originals = [bits(hm.load(file)) for file in sorted((folder / "good").iterdir())]
    outcomes = []
    gc.freeze()  # all that there is stays, and need not be looked at again and again
    for file in sorted((folder / "bad").iterdir()):
        before = _peak()
        try:
            loaded = hm.load(file)
        except hm.FileError:
            outcome = "refused"
        else:
            outcome = "intact" if bits(loaded) in originals else "another object"
            del loaded
        gc.collect()
        outcomes.append((file.name, outcome, _peak() - before))
    return outcomes


def _peak() -> int:
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    print(json.dumps(load_all(Path(sys.argv[1]))))
