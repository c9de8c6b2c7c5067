"""Checkpoints: the state of a long run on disk, and a description of the problem it belongs to.

A state is any pytree of arrays. Only its leaves are written, in the order of `jax.tree.leaves`,
and put back into the structure that the method makes anew. The description, a fingerprint, has a
text for each argument of the run; a checkpoint goes on under the same texts only.
"""

import os
from collections.abc import Mapping
from typing import Any

import jax
import numpy as np

from harmonium.files.container import (
    FileError,
    read_container,
    remove_leftovers,
    write_container,
)
from harmonium.files.structure import decode, encode

CONTENT = "a checkpoint"


def save_state(path: str | os.PathLike, fingerprint: Mapping[str, str], state: Any) -> None:
    """Writes the state of a run, so that a kill at any moment leaves the old file or the new one.

    **Arguments:**

    - `path`: the file.
    - `fingerprint`: what the run depends on, a text for each argument, see `describe`.
    - `state`: a pytree of arrays, random keys and numbers.
    """
    leaves, arrays = encode(jax.tree.leaves(state))
    write_container(path, CONTENT, {"fingerprint": dict(fingerprint), "leaves": leaves}, arrays)


def load_state(path: str | os.PathLike, fingerprint: Mapping[str, str], like: Any) -> Any:
    """The state of a run from its last checkpoint, or `None` if there is none yet.

    **Arguments:**

    - `path`, `fingerprint`: as those of `save_state`.
    - `like`: a state of the same structure, shapes, types and shardings.

    **Raises:** `FileError` if the file is damaged or no checkpoint, or is that of another run: if
    the fingerprint or the form of the state differs.
    """
    if not os.path.exists(path):
        return None
    content, arrays = read_container(path, CONTENT)
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
    if [_form(leaf) for leaf in found] != [_form(leaf) for leaf in expected]:
        raise FileError(
            f"{path} is the checkpoint of another run: its arrays have other shapes or types. "
            "Pass another path, or delete the file to begin anew."
        )
    return structure.unflatten([_place(*pair) for pair in zip(found, expected, strict=True)])


def begin_state(path: str | os.PathLike, fingerprint: Mapping[str, str], state: Any) -> Any:
    """The state to go on from: that of the checkpoint, or this one, which is written at once.

    A run that begins so finds out about a path that can't be written to before it takes any time,
    and removes what processes that were killed while writing have left.

    **Arguments:** as those of `save_state`.
    """
    found = load_state(path, fingerprint, state)
    remove_leftovers(path)
    if found is None:
        save_state(path, fingerprint, state)
    return state if found is None else found


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


def _form(leaf: Any) -> tuple:
    if isinstance(leaf, jax.Array | np.ndarray):
        return str(leaf.dtype), leaf.shape
    return (type(leaf).__name__,)


def _place(found: Any, like: Any) -> Any:
    return jax.device_put(found, like.sharding) if isinstance(like, jax.Array) else found
