"""Saving and loading models, points and fits."""

import os
from collections.abc import Sequence
from typing import Any

from harmonium.files.container import FileError, read_container, write_container
from harmonium.files.structure import decode, encode

KIND = "an object"


def save(path: str | os.PathLike, value: Any) -> None:
    """Writes models, points, embeddings, priors, fits and pytrees of these to one file.

    The file is one of safetensors: arrays bit by bit in their precision, and JSON that says what
    they are. It replaces an existing file at once and only when it is complete.

    **Arguments:**

    - `path`: the file, by convention `*.safetensors`.
    - `value`: a model, a point, an embedding, a `ConjugatePrior`, a `Fit`, an array of JAX or
        NumPy, a random key, a number, a string, `None`, or lists, tuples and dictionaries by
        strings of these.

    **Raises:** `TypeError` for what can't be written, `ValueError` for more than a file holds, and
    `OSError` where no file can be written.
    """
    structure, arrays = encode(value)
    write_container(path, KIND, structure, arrays)


def load(path: str | os.PathLike, *, classes: Sequence[type] = (), narrow: bool = False) -> Any:
    """Reads what `save` has written.

    Nothing in a file is run: it names classes of the library, whose constructors check what they
    are given. So files of others may be read.

    **Arguments:**

    - `path`: the file.
    - `classes`: those of your own that the file may name, as your families.
    - `narrow`: whether to round 64-bit arrays to 32 bits where JAX's 64-bit mode is off, which is
        an error otherwise.

    **Returns:** an object equal to the one saved.

    **Raises:** `FileError`, a `ValueError`, if the file is none of ours, damaged, or refused;
    `OSError` if it can't be read.
    """
    structure, arrays = read_container(path, KIND)
    try:
        return decode(structure, arrays, classes, narrow)
    except FileError as error:
        raise FileError(f"{os.fspath(path)} can't be loaded: {error}") from error
