"""The container of all files: safetensors, whose metadata says as JSON what the arrays are.

A file is read in this order: its size, the size of its header, the header, the text of the
structure, and the arrays only then. Each step is bounded and checked before the next one takes
memory. Nothing in a file names code: it is numbers and JSON.
"""

import contextlib
import hashlib
import json
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

# What is written; files of this version and all before are read.
FORMAT_VERSION = 1
# Of a header: a thousand arrays and a tree of a hundred thousand nodes fit in.
MAX_HEADER_BYTES = 4_000_000
MAX_NODES = 200_000
# Of a number in the structure, in digits: more than the largest float has.
MAX_DIGITS = 400
# The types of arrays, as safetensors and as NumPy call them.
DTYPES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64"} | {
    f"{kind}{bits}": f"{name}{bits}"
    for kind, name in (("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
}
FIELDS = frozenset(("format", "format_version", "content", "structure", "checksum"))


class FileError(ValueError):
    """A file is not what was expected: not from this library, damaged, or of another kind."""


def write_container(
    path: str | os.PathLike, content: str, structure: Any, arrays: Sequence[np.ndarray]
) -> None:
    """Writes a file so that at any moment there is the old one, or the new one, and both whole.

    **Arguments:**

    - `path`: the file.
    - `content`: what kind of thing it holds, which a reader has to ask for.
    - `structure`: of what `json` writes.
    - `arrays`: numbers or booleans, which the structure refers to by their index.

    **Raises:** `OSError` if the folder is missing or can't be written to, `ValueError` if the
    structure is too large.
    """
    path = Path(os.path.realpath(path))
    arrays = [np.asarray(array, order="C") for array in arrays]
    metadata = {
        "format": "harmonium",
        "format_version": str(FORMAT_VERSION),
        "content": content,
        "structure": json.dumps(structure, allow_nan=False, separators=(",", ":")),
    }
    metadata["checksum"] = _checksum(metadata, arrays)
    with _replacement(path) as temporary:
        save_file({str(i): array for i, array in enumerate(arrays)}, temporary, metadata)
        long = _start(temporary)[0] > MAX_HEADER_BYTES
        if long or _count_nodes(metadata["structure"]) > MAX_NODES:
            raise ValueError(
                f"{path} would take more than {MAX_NODES:,} nodes of lists, dictionaries and "
                f"models, or {MAX_HEADER_BYTES:,} bytes beside the numbers. Stack arrays and "
                "points of one shape, or write several files."
            )


def read_container(path: str | os.PathLike, content: str) -> tuple[Any, list[np.ndarray]]:
    """The structure and the arrays of a file.

    **Arguments:** `path` and `content`, as those of `write_container`.

    **Raises:** `FileError` if it is not what was written, `OSError` if it can't be read.
    """
    path = Path(path)
    _check_header(path)
    metadata, arrays = _read_safetensors(path)
    if not set(metadata) >= FIELDS:
        raise FileError(f"{path} is a safetensors file, but none that harmonium wrote.")
    version = metadata["format_version"]
    if version not in map(str, range(1, FORMAT_VERSION + 1)):
        raise FileError(
            f"{path} has format version {version[:20]}; this release of harmonium reads versions "
            f"up to {FORMAT_VERSION}. Read it by a newer release."
        )
    if metadata["checksum"] != _checksum(metadata, arrays):
        raise FileError(f"{path} is damaged: its content does not match its checksum.")
    if metadata["content"] != content:
        raise FileError(f"expected {content} in {path}, it holds {metadata['content'][:40]}.")
    return parse_structure(metadata["structure"], path), arrays


def parse_structure(text: str, path: Path) -> Any:
    """The JSON of a structure, whose size is bounded before anything is built."""
    nodes = _count_nodes(text)
    if nodes > MAX_NODES:
        raise FileError(f"the structure in {path} has {nodes:,} nodes, over {MAX_NODES:,}.")
    try:
        return json.loads(text, parse_int=_parse_int, parse_constant=_refuse_constant)
    except (ValueError, RecursionError) as error:
        raise FileError(f"the structure in {path} is no JSON: {_short(error)}") from error


def remove_leftovers(path: str | os.PathLike) -> None:
    """Removes the temporary files that killed processes left beside a file."""
    path = Path(os.path.realpath(path))
    for leftover in path.parent.glob(f".{path.name}.*.part"):
        leftover.unlink(missing_ok=True)


def _check_header(path: Path) -> None:
    """Checks what the file says of its header against the size of the file."""
    if not stat.S_ISREG(os.stat(path).st_mode):
        raise FileError(f"expected a file, {path} is a folder or a device.")
    length, begins, size = _start(path)
    if not begins or length > size - 8:
        raise FileError(f"{path} is no safetensors file, or not all of one ({size:,} bytes).")
    if length > MAX_HEADER_BYTES:
        raise FileError(
            f"{path} says that its header has {length:,} bytes; harmonium writes at most "
            f"{MAX_HEADER_BYTES:,}."
        )


def _start(path: Path) -> tuple[int, bool, int]:
    """The length of the header, whether one begins there, and the size of the file."""
    with open(path, "rb") as file:
        start = file.read(9)
        return (
            int.from_bytes(start[:8], "little"),
            start[8:] == b"{",
            os.fstat(file.fileno()).st_size,
        )


def _read_safetensors(path: Path) -> tuple[dict[str, str], list[np.ndarray]]:
    """The metadata and the arrays; no metadata if the file is foreign."""
    try:
        with safe_open(str(path), framework="np") as file:
            metadata = file.metadata() or {}
            if metadata.get("format") != "harmonium":
                return {}, []
            names = [str(i) for i in range(len(file.keys()))]
            if set(names) != set(file.keys()):
                raise FileError(f"the arrays of {path} are not numbered from 0.")
            for name in names:
                dtype = file.get_slice(name).get_dtype()
                if dtype not in DTYPES:
                    raise FileError(f"{path} has an array of type {dtype}, of {sorted(DTYPES)}.")
            return metadata, [file.get_tensor(name) for name in names]
    except SafetensorError as error:
        raise FileError(f"{path} is no safetensors file, or damaged: {_short(error)}") from error


@contextlib.contextmanager
def _replacement(path: Path) -> Iterator[Path]:
    """A temporary file in the same folder, which takes the place of a file once it is on disk."""
    if path.is_dir():
        raise IsADirectoryError(f"can't write {path}: it is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"can't write {path}: there is no folder {path.parent}.")
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        yield temporary
        _flush(temporary)
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere folders can't be opened
        _flush(path.parent)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _checksum(metadata: dict[str, str], arrays: Sequence[np.ndarray]) -> str:
    """SHA-256 of all that a file holds."""
    known = {name: metadata[name] for name in sorted(FIELDS - {"checksum"})}
    forms = [(array.dtype.name, array.shape) for array in arrays]
    digest = hashlib.sha256(json.dumps([known, forms]).encode())
    for array in arrays:
        digest.update(np.asarray(array, order="C").reshape(-1).view(np.uint8).data)
    return digest.hexdigest()


def _count_nodes(text: str) -> int:
    """At least as many as the nodes of a JSON text."""
    return sum(map(text.count, "[{,:"))


def _parse_int(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ValueError(f"a number of {len(digits):,} digits.")
    return int(digits)


def _refuse_constant(name: str) -> None:
    raise ValueError(f"{name} is no number in JSON.")


def _short(error: BaseException) -> str:
    return " ".join(str(error).split())[:300]
