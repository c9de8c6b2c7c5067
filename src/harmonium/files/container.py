"""The container of all files: safetensors, whose metadata says as JSON what the arrays are.

A file is read in this order: its size, the size of its header, the header, the text of the
structure, and the arrays only then. Each step is bounded and checked before the next one takes
memory. Nothing in a file names code: it is numbers and JSON.
"""

import hashlib
import json
import os
import secrets
import stat
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save

# What is written; files of this version and all before are read.
FORMAT_VERSION = 2
# Of a header: some ten thousand arrays and a tree of a hundred thousand nodes fit in.
MAX_HEADER_BYTES = 2_000_000
MAX_NODES = 100_000
# Of a number in the structure, in digits: more than the largest float has.
MAX_DIGITS = 400
# The types of arrays, as safetensors and as NumPy call them.
DTYPES = {"BOOL": "bool", "F16": "float16", "F32": "float32", "F64": "float64"} | {
    f"{kind}{bits}": f"{name}{bits}"
    for kind, name in (("I", "int"), ("U", "uint"))
    for bits in (8, 16, 32, 64)
}
FIELDS = frozenset(("format", "format_version", "kind", "structure", "checksum"))


class FileError(ValueError):
    """A file is not what was expected: not from this library, damaged, or of another kind."""


def write_container(
    path: str | os.PathLike, kind: str, structure: Any, arrays: Sequence[np.ndarray]
) -> None:
    """Writes a file so that at any moment there is the old one, or the new one, and both whole.

    **Arguments:**

    - `path`: the file.
    - `kind`: what it holds, which a reader has to ask for.
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
        "kind": kind,
        "structure": json.dumps(structure, allow_nan=False, separators=(",", ":")),
    }
    metadata["checksum"] = _checksum(metadata, arrays)
    content = save({str(i): array for i, array in enumerate(arrays)}, metadata)
    long = int.from_bytes(content[:8], "little") > MAX_HEADER_BYTES
    if long or _count_nodes(metadata["structure"]) > MAX_NODES:
        raise ValueError(
            f"{path} would take more than {MAX_NODES:,} nodes of lists, dictionaries and models, "
            f"or {MAX_HEADER_BYTES:,} bytes beside the numbers. Stack arrays and points of one "
            "shape, or write several files."
        )
    _replace(path, content)


def read_container(path: str | os.PathLike, kind: str) -> tuple[Any, list[np.ndarray]]:
    """The structure of a file, with the version of the format, and its arrays.

    **Arguments:** `path` and `kind`, as those of `write_container`.

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
    if metadata["kind"] != kind:
        raise FileError(f"expected {kind} in {path}, it holds {metadata['kind'][:40]}.")
    structure = parse_structure(metadata["structure"], path)
    if isinstance(structure, dict):
        structure["version"] = int(version)
    return structure, arrays


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
    with open(path, "rb") as file:
        start, size = file.read(9), os.fstat(file.fileno()).st_size
    length = int.from_bytes(start[:8], "little")
    if start[8:] != b"{" or length > size - 8:
        raise FileError(f"{path} is no safetensors file, or not all of one ({size:,} bytes).")
    if length > MAX_HEADER_BYTES:
        raise FileError(
            f"{path} says that its header has {length:,} bytes; harmonium writes at most "
            f"{MAX_HEADER_BYTES:,}."
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


def _replace(path: Path, content: bytes) -> None:
    """Puts a temporary file, once it is on disk, in the place of a file."""
    if path.is_dir():
        raise IsADirectoryError(f"can't write {path}: it is a folder.")
    if not path.parent.is_dir():
        raise FileNotFoundError(f"can't write {path}: there is no folder {path.parent}.")
    temporary = path.parent / f".{path.name}.{secrets.token_hex(8)}.part"
    try:
        with open(temporary, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
    if os.name == "posix":  # elsewhere folders can't be opened
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


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
