"""Checkpoints: the state of a long run on disk, and a description of the problem it belongs to.

A state is any pytree of arrays. Only its leaves are written, in the order of `jax.tree.leaves`,
and put back into the structure that the method makes anew. The description, a fingerprint, has a
text for each argument of the run; a checkpoint goes on under the same texts only.
"""

import math
import os
import time
from collections.abc import Mapping
from typing import Any, Protocol

import jax
import numpy as np

from harmonium.files.container import (
    FileError,
    read_container,
    remove_leftovers,
    write_container,
)
from harmonium.files.structure import decode, encode

KIND = "a checkpoint"


def save_state(path: str | os.PathLike, fingerprint: Mapping[str, str], state: Any) -> None:
    """Writes the state of a run, so that a kill at any moment leaves the old file or the new one.

    **Arguments:**

    - `path`: the file.
    - `fingerprint`: what the run depends on, a text for each argument, see `describe`.
    - `state`: a pytree of arrays, random keys and numbers.
    """
    leaves, arrays = encode(jax.tree.leaves(state))
    write_container(path, KIND, {"fingerprint": dict(fingerprint), "leaves": leaves}, arrays)


def load_state(path: str | os.PathLike, fingerprint: Mapping[str, str], like: Any) -> Any:
    """The state of a run from its last checkpoint, or `None` if there is none yet.

    **Arguments:**

    - `path`, `fingerprint`: as those of `save_state`.
    - `like`: a state of the same structure, shapes, types and shardings; `...` stands for a leaf of
        any form.

    **Raises:** `FileError` if the file is damaged or no checkpoint, or is that of another run: if
    the fingerprint or the form of the state differs.
    """
    if not os.path.exists(path):
        return None
    content, arrays = read_container(path, KIND)
    match content:
        case {"fingerprint": dict(written), "leaves": nodes}:
            _check_fingerprint(path, written, dict(fingerprint))
        case _:
            raise FileError(f"{path} is no checkpoint of a fit.")
    try:
        found = decode(nodes, arrays)
    except FileError as error:
        raise FileError(f"{os.fspath(path)} can't be resumed: {error}") from error
    expected, structure = jax.tree.flatten(like)
    if len(found) != len(expected) or not all(map(_fits, found, expected)):
        raise FileError(
            f"{path} is the checkpoint of another run: its arrays have other shapes or types. "
            "Pass another path, or delete the file to begin anew."
        )
    return structure.unflatten([_place(*pair) for pair in zip(found, expected, strict=True)])


class Reader(Protocol):
    """What goes through data beside a run, and has to be where it was when the run goes on."""

    @property
    def position(self) -> Any:
        """Where it is, a pytree of numbers."""

    def go_to(self, position: Any) -> None:
        """Goes on from there."""


class Checkpoint:
    """The checkpoint of one run: where it is, how often it is written, and what it belongs to.

    `reader`, if there is one, is written and restored with the state of the run.

    **Arguments:**

    - `path`, `fingerprint`: as those of `save_state`.
    - `every`: the least number of seconds between two writes; 0 for as often as possible.

    **Raises:** `ValueError` for a bad interval.
    """

    def __init__(self, path: str | os.PathLike, every: float | int, fingerprint: Mapping[str, str]):
        if not (every >= 0 and math.isfinite(every)):
            raise ValueError(f"every is a number of seconds between checkpoints, got {every!r}.")
        self.path = path
        self.every = every
        self.fingerprint = dict(fingerprint)
        self.reader: Reader | None = None
        self.written = -math.inf

    def load(self, like: Any) -> Any:
        """The last state, or `None`; and removes what writers that were killed have left."""
        found = load_state(self.path, self.fingerprint, self._with_position(like))
        remove_leftovers(self.path)
        if found is not None and self.reader is not None:
            self.reader.go_to(found[1])
        return None if found is None else found[0]

    def save(self, state: Any) -> None:
        """Writes a state now; of several processes, which have the same, the first does."""
        if jax.process_index() == 0:
            save_state(self.path, self.fingerprint, self._with_position(state))
        self.written = time.monotonic()

    def _with_position(self, state: Any) -> Any:
        return state, () if self.reader is None else self.reader.position

    @property
    def is_due(self) -> bool:
        """Whether the last write is long enough ago."""
        return time.monotonic() >= self.written + self.every


def _check_fingerprint(path: Any, written: dict[str, Any], current: dict[str, str]) -> None:
    differing = sorted(
        name for name in written.keys() | current if written.get(name) != current.get(name)
    )
    if differing:
        lines = [
            f"  {name}: there {written.get(name, 'nothing')}; here {current.get(name, 'nothing')}"
            for name in differing
        ]
        raise FileError(
            f"{path} is the checkpoint of another run, which differs in {', '.join(differing)}. "
            "Pass another path, or delete the file to begin anew.\n" + "\n".join(lines)
        )


def _fits(found: Any, like: Any) -> bool:
    def form(leaf: Any) -> tuple:
        if isinstance(leaf, jax.Array | np.ndarray):
            return str(leaf.dtype), leaf.shape
        return (type(leaf),)

    return like is ... or form(found) == form(like)


def _place(found: Any, like: Any) -> Any:
    return jax.device_put(found, like.sharding) if isinstance(like, jax.Array) else found
