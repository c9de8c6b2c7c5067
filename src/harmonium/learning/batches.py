"""Data that are read batch by batch, and never are in memory as a whole."""

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from harmonium.exponential_family.chunks import batch_length
from harmonium.learning.scaling import as_numbers


class Batches:
    """Data that are read batch by batch, as often as needed.

    **Arguments:**

    - `source`: one of

        - arrays that are cut into batches as they are read: a NumPy memory map, or anything else
          with a shape, a dtype and slices; for records of several parts a tuple of them;
        - batches: anything that can be iterated again and again, such as a list of arrays, or a
          loader of `grain` or PyTorch;
        - a function of no arguments that returns a fresh iterator over batches.

        Batches are what models take as a batch of observations, of any lengths. Tensors do, if
        NumPy can make arrays of them. Whatever the precision in which they are stored, they are
        processed in JAX's default one.
    - `weighted`: whether batches, or the arrays to cut, are pairs `(observations, weights)`.

    **Raises:** `TypeError` for what can be read once only, or not at all, `ValueError` for arrays
    of unequal lengths.
    """

    def __init__(self, source: Any, *, weighted: bool = False):
        self.source = source
        self.weighted = weighted
        self.length = _common_length(source, weighted)
        if self.length is None:
            _check_readable(source)

    def __repr__(self) -> str:
        what = type(self.source).__name__
        length = "" if self.length is None else f", {self.length:,} observations"
        return f"Batches({what}{length})"

    @property
    def in_memory(self) -> bool:
        """Whether these are arrays in memory, any rows of which can be picked at no cost."""
        return self.length is not None and all(
            isinstance(leaf, np.ndarray | jax.Array) and not isinstance(leaf, np.memmap)
            for leaf in jax.tree.leaves(self.source)
        )

    @property
    def total(self) -> float | None:
        """The sum of weights, where it is known without reading observations."""
        if self.length is None:
            return None
        if not self.weighted:
            return float(self.length)
        return float(np.sum(np.asarray(self.source[1]), dtype=np.float64))


def as_batches(data: Any, weights: Any) -> Batches | None:
    """Data that are not to be read into memory at once, as `Batches`; `None` for others.

    **Arguments:**

    - `data`: anything; memory maps, also among others in a tuple, become `Batches`.
    - `weights`: those beside memory maps, or `None`.

    **Raises:** `TypeError` for weights beside `Batches`, and for what can't tell whether it is
    data or batches of them.
    """
    if isinstance(data, Batches):
        if weights is not None:
            raise TypeError(
                "weights of data that are read batch by batch are read with them: pass batches of "
                "pairs, hm.Batches(..., weighted=True)."
            )
        return data
    if any(isinstance(leaf, np.memmap) for leaf in _parts(data)):
        pair = data if weights is None else (data, weights)
        return Batches(pair, weighted=weights is not None)
    is_array = isinstance(data, list | tuple) or hasattr(data, "shape")
    if not is_array and (callable(data) or isinstance(data, Iterable)):
        raise TypeError(
            f"got a {type(data).__name__} as data. If it yields batches of observations, say so: "
            "hm.Batches(it); where it can be read once only, pass a function that makes it."
        )
    return None


def array_batches(family: Any, data: Any, weights: Any) -> Batches:
    """Arrays in memory as `Batches`.

    **Raises:** `TypeError` for arguments of compiled functions.
    """
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((data, weights))):
        raise TypeError(
            "OnlineEM reads its minibatches outside of compiled functions. Call fit there, or use "
            "another method."
        )
    structure = jax.tree.structure(family.observation)
    length = batch_length(family.check_form(data))
    xs = structure.unflatten([np.asarray(leaf) for leaf in structure.flatten_up_to(data)])
    if weights is None:
        return Batches(xs)
    return Batches((xs, _check_weights(weights, length)), weighted=True)


class Piece(NamedTuple):
    """Some observations as they were read.

    **Fields:** `number`, that of the batch, or `None` for arrays; `first`, where they start in the
    batch, or in the arrays; `xs`; and `weights`, or `None`.
    """

    number: int | None
    first: int
    xs: Any
    weights: Any

    def where(self, row: int) -> str:
        """The name of a row."""
        place = f"row {self.first + row} of the data"
        return place if self.number is None else f"row {self.first + row} of batch {self.number}"


class Block(NamedTuple):
    """As many observations as are processed at once.

    **Fields:**

    - `xs`: NumPy arrays; real numbers are in double precision.
    - `weights`: (size,), zero for what fills up the last block.
    - `length`: how many are observations.
    - `pieces`: what it consists of, without the observations.
    - `lengths`: how many observations are from each.
    """

    xs: Any
    weights: np.ndarray
    length: int
    pieces: tuple[Piece, ...]
    lengths: tuple[int, ...]

    def where(self, row: int) -> str:
        """The name of a row as a user knows it."""
        for piece, length in zip(self.pieces, self.lengths, strict=True):
            if row < length:
                return piece.where(row)
            row -= length
        raise IndexError(row)


def read_blocks(
    family: Any, batches: Batches, size: int, order: np.random.Generator | None = None, run: int = 1
) -> Iterator[Block]:
    """One pass over the data, in blocks of a size; batches are cut and joined.

    **Arguments:**

    - `family`: of the observations.
    - `batches`: the data.
    - `size`: the length of blocks.
    - `order`: of arrays to cut, a generator that puts them in random order; else they are read from
        the first to the last.
    - `run`: how many neighbouring rows of arrays stay together in that order.

    **Raises:** `TypeError` or `ValueError` for batches of another form and for bad weights, which
    say which batch it is.
    """
    pieces: list[tuple[Piece, int]] = []
    free = size
    for piece in _read_pieces(batches, size, order, run):
        piece, length = _checked(family, piece)
        start = 0
        while start < length:
            stop = min(length, start + free)
            pieces.append((_rows(piece, start, stop), stop - start))
            free -= stop - start
            start = stop
            if free == 0:
                yield _joined(pieces, size)
                pieces, free = [], size
    if pieces:
        yield _joined(pieces, size)


def to_devices(xs: Any, dtype: Any) -> Any:
    """JAX arrays of observations, real numbers in this precision."""

    def convert(leaf: Any) -> Any:
        array = np.asarray(leaf)
        real = np.issubdtype(array.dtype, np.floating)
        return jnp.asarray(array.astype(dtype) if real else array)

    return jax.tree.map(convert, xs)


# --- where observations come from


def _common_length(source: Any, weighted: bool) -> int | None:
    """The length of arrays to cut, or `None` if these are no arrays."""
    if weighted and isinstance(source, list):
        return None
    leaves = _parts(source)
    if not leaves or not all(map(_is_array, leaves)):
        return None
    if weighted and not (isinstance(source, tuple) and len(source) == 2):
        raise TypeError(
            "weighted arrays are a pair (observations, weights), got "
            f"{type(source).__name__}. Pass weighted=False if there are no weights."
        )
    return batch_length(source)


def _parts(source: Any) -> list[Any]:
    """What tuples in tuples consist of."""
    return jax.tree.leaves(source, is_leaf=lambda node: not isinstance(node, tuple))


def _is_array(value: Any) -> bool:
    has_form = all(hasattr(value, name) for name in ("shape", "dtype", "__getitem__"))
    return has_form and len(value.shape) > 0


def _check_readable(source: Any) -> None:
    if isinstance(source, Iterable):
        if isinstance(source, Iterator):
            raise TypeError(
                f"fitting reads the data again and again, but a {type(source).__name__} can be "
                "read once only. Pass a function that makes it: hm.Batches(lambda: make_it())."
            )
        return
    if not callable(source):
        raise TypeError(
            "expected arrays with a shape, a dtype and slices, something to iterate over again and "
            f"again, or a function that returns an iterator, got {type(source).__name__}."
        )


def _read_pieces(
    batches: Batches, size: int, order: np.random.Generator | None, run: int
) -> Iterator[Piece]:
    if batches.length is not None:
        yield from _cut(batches, size, order, run)
        return
    source = batches.source
    iterator = iter(source) if isinstance(source, Iterable) else iter(source())
    for number, batch in enumerate(iterator):
        if not batches.weighted:
            yield Piece(number, 0, batch, None)
            continue
        if not (isinstance(batch, tuple | list) and len(batch) == 2):
            raise TypeError(
                f"batch {number} of the data: expected a pair (observations, weights), got "
                f"{type(batch).__name__}. Pass weighted=False if there are no weights."
            )
        yield Piece(number, 0, batch[0], batch[1])


def _cut(
    batches: Batches, size: int, order: np.random.Generator | None, run: int
) -> Iterator[Piece]:
    """Arrays in pieces, in order or in random order."""
    length: Any = batches.length

    def piece(rows: Any, first: int) -> Piece:
        own = jax.tree.map(lambda leaf: leaf[rows], batches.source)
        return Piece(None, first, *own) if batches.weighted else Piece(None, first, own, None)

    if order is None:
        for start in range(0, length, size):
            yield piece(slice(start, min(start + size, length)), start)
    elif batches.in_memory:
        rows = order.permutation(length)
        for start in range(0, length, size):
            yield piece(rows[start : start + size], 0)
    else:
        for start in run * order.permutation(-(-length // run)):
            yield piece(slice(int(start), int(min(start + run, length))), int(start))


def _checked(family: Any, piece: Piece) -> tuple[Piece, int]:
    """A piece as NumPy arrays, and its length."""
    place = "the data" if piece.number is None else f"batch {piece.number} of the data"
    try:
        xs = jax.tree.map(np.asarray, piece.xs)
        checked = family.check_form(xs)
        length = len(jax.tree.leaves(checked)[0])
        if length == 0:
            return piece, 0
        batch_length(checked)
        weights = _check_weights(piece.weights, length)
    except (TypeError, ValueError) as error:
        raise type(error)(f"{place}: {error}") from None
    numbers = jax.tree.map(np.asarray, as_numbers(xs, checked))
    return Piece(piece.number, piece.first, numbers, weights), length


def _check_weights(weights: Any, length: int) -> np.ndarray:
    if weights is None:
        return np.ones(length)
    weights = np.asarray(weights, np.float64)
    if weights.shape != (length,):
        raise ValueError(
            f"expected one weight for each of {length} observations, got an array of shape "
            f"{weights.shape}."
        )
    if not (np.all(np.isfinite(weights)) and np.all(weights >= 0)):
        raise ValueError("weights must be finite and not negative.")
    return weights


def _rows(piece: Piece, start: int, stop: int) -> Piece:
    xs = jax.tree.map(lambda leaf: leaf[start:stop], piece.xs)
    return Piece(piece.number, piece.first + start, xs, piece.weights[start:stop])


def _joined(pieces: list[tuple[Piece, int]], size: int) -> Block:
    """One block, filled up by repetitions of its last observation that count for nothing."""
    length = sum(own for _, own in pieces)

    def join(*leaves: np.ndarray) -> np.ndarray:
        filler = np.broadcast_to(leaves[-1][-1:], (size - length, *leaves[-1].shape[1:]))
        parts = [*leaves, filler] if length < size else leaves
        return parts[0] if len(parts) == 1 else np.concatenate(parts)

    xs = jax.tree.map(join, *(piece.xs for piece, _ in pieces))
    weights = np.concatenate([*(piece.weights for piece, _ in pieces), np.zeros(size - length)])
    places = tuple(Piece(piece.number, piece.first, None, None) for piece, _ in pieces)
    return Block(xs, weights, length, places, tuple(own for _, own in pieces))
