"""Partly observed data, grouped by what is observed."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Float, Int

from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import (
    batched,
    few_rows,
    is_traced,
    on_accelerator,
    padded_length,
    repeat_last,
)
from harmonium.exponential_family.partial import check_mask, check_masks, mask_out
from harmonium.geometry.point import Point

# How many blocks share the data, on average for each pattern: rows that only fill blocks are then
# at most a quarter of all, and blocks long enough for what they share to count for little.
BLOCKS_A_PATTERN = 4


class GroupedObservations(eqx.Module):
    """N partly observed observations, in blocks of which the same parts are observed.

    What inference does once for each pattern, such as a factorisation, is then done once for each
    block. Models take it wherever they take a batch; `hm.group_observations` makes it.

    **Fields:**

    - `xs`: the observations, with leading axes (blocks, length), and a placeholder in the
        place of what is not observed. Blocks are filled up with repetitions.
    - `observed`: a mask for each block.
    - `slots`: (N,), where each observation is among all blocks.
    """

    xs: Any
    observed: Any
    slots: Int[Array | np.ndarray, " n"]

    def __len__(self) -> int:
        return len(self.slots)

    @property
    def shape(self) -> tuple[int, int]:
        """The number of blocks and their length."""
        return jax.tree.leaves(self.xs)[0].shape[:2]

    @property
    def rows(self) -> Any:
        """All observations of all blocks, repetitions too, one after the other."""
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:]), self.xs)

    @property
    def in_order(self) -> Any:
        """The N observations as they were before they were grouped."""

        def pick(leaf: Any) -> Any:
            library: Any = jnp if on_accelerator(leaf) else np
            rows = library.asarray(leaf).reshape(-1, *leaf.shape[2:])
            return rows[library.asarray(self.slots)]

        return jax.tree.map(pick, self.xs)

    def pad(self, size: int) -> "GroupedObservations":
        """The same with so many slots, and blocks in one of few numbers.

        Slots beyond N are nowhere, so that `spread` skips them.
        """
        blocks = padded_length(self.shape[0], shortest=1)
        xs, observed = jax.tree.map(
            lambda leaf: repeat_last(leaf, blocks), (self.xs, self.observed)
        )
        beyond = np.full(size - len(self), blocks * self.shape[1], np.int32)
        slots = np.concatenate([np.asarray(self.slots, np.int32), beyond])
        return GroupedObservations(xs, observed, slots)

    def spread(self, weights: Float[Array, " n"]) -> Float[Array, "blocks length"]:
        """Weights of the observations where these are in the blocks; zero for repetitions."""
        blocks, length = self.shape
        flat = jnp.zeros(blocks * length, weights.dtype).at[self.slots].set(weights)
        return flat.reshape(blocks, length)

    def gather(self, values: Any) -> Any:
        """Values with axes (blocks, length) in the order of the observations."""
        return jax.tree.map(lambda leaf: leaf.reshape(-1, *leaf.shape[2:])[self.slots], values)


def check_groups(
    family: Any, groups: GroupedObservations, observed: Any, like: Point
) -> GroupedObservations:
    """Checks that grouped observations are of this family, and converts them for a point.

    **Raises:** `TypeError` or `ValueError` for others, and `ValueError` for masks beside them.
    """
    if observed is not None:
        raise ValueError(
            "the data are grouped by what of them is observed, so pass no `observed` beside them; "
            "for other masks group the observations anew."
        )
    check_mask(family, groups.observed, batch=True)
    rows = family.check_form(groups.rows, like=like)
    shaped = jax.tree.map(lambda leaf: leaf.reshape(*groups.shape, *leaf.shape[1:]), rows)
    return GroupedObservations(shaped, groups.observed, groups.slots)


def group_observations(
    family: Any, xs: Any, observed: Any, like: Point | None = None
) -> GroupedObservations:
    """The observations of a batch grouped by what is observed of each.

    Where masks are unknown, as arguments of a compiled function are, each observation is a block
    by itself.

    **Arguments:**

    - `family`: the family of the observations, or a model of them.
    - `xs`: a batch of N observations; what is not observed may be NaN or anything else.
    - `observed`: a batch of N masks, of the form `data_man.mask`.
    - `like`: a point, the parameters that the observations are used with.
    """
    return _grouped(family.data_man, xs, observed, like, alike=False)


def group_alike(
    family: Any, xs: Any, observed: Any, like: Point | None = None
) -> GroupedObservations:
    """`group_observations` in blocks of one length for many N, which find the same program."""
    return _grouped(family.data_man, xs, observed, like, alike=True)


def _grouped(
    family: Any, xs: Any, observed: Any, like: Point | None, alike: bool
) -> GroupedObservations:
    """The observations in blocks, which are as long for many N if `alike`."""
    xs = family.check_form(xs, like=like)
    length = batch_length(xs)
    observed = check_masks(family, observed, length)
    xs, _ = mask_rows(family, (xs, observed))
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves(observed)):
        return GroupedObservations(
            jax.tree.map(lambda leaf: leaf[:, None], xs), observed, jnp.arange(length)
        )
    keys = mask_keys(observed)
    n_rows = few_rows(length) if alike else length
    rows, slots = blocks_of(keys, block_length(n_rows, len(np.unique(keys, axis=0))))
    firsts = rows[:, 0]
    return GroupedObservations(
        _take(xs, rows),
        _take(observed, firsts),
        jax.device_put(slots),
    )


@batched
def mask_rows(family: Any, xs: tuple[Any, Any]) -> tuple[Any, Any]:
    """N observations and masks, with a placeholder in the place of what is not observed."""
    return jax.vmap(lambda x, mask: mask_out(family, x, mask))(*xs), xs[1]


def _take(tree: Any, rows: np.ndarray) -> Any:
    """Some rows of all arrays; taken by NumPy where they are known, as JAX compiles that."""
    if is_traced():
        return jax.tree.map(lambda leaf: jnp.asarray(leaf)[rows], tree)
    return jax.tree.map(lambda leaf: jax.device_put(np.asarray(leaf)[rows]), tree)


def mask_keys(observed: Any) -> np.ndarray:
    """A batch of masks as rows of bytes."""
    leaves = [np.asarray(leaf) for leaf in jax.tree.leaves(observed)]
    bits = [leaf.reshape(len(leaf), -1) for leaf in leaves]
    return np.packbits(np.concatenate(bits, axis=1), axis=1)


def block_length(n_rows: int, n_patterns: int) -> int:
    """How long blocks are to be."""
    return max(1, n_rows // (BLOCKS_A_PATTERN * n_patterns))


def blocks_of(keys: np.ndarray, length: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows with equal keys in blocks of one length.

    **Arguments:**

    - `keys`: of the N rows, see `mask_keys`.
    - `length`: of a block.

    **Returns:** the rows of each block, (blocks, length), the first of which fills it up; and the
    place of each row among all.
    """
    _, pattern = np.unique(keys, axis=0, return_inverse=True)
    pattern = pattern.reshape(-1)
    counts = np.bincount(pattern)
    n_blocks = -(-counts // length)
    order = np.argsort(pattern, kind="stable")
    ranks = np.arange(len(keys)) - np.repeat(np.cumsum(counts) - counts, counts)
    starts = np.repeat(np.cumsum(n_blocks) - n_blocks, counts)
    slots = np.empty(len(keys), int)
    slots[order] = starts * length + ranks
    rows = np.full(n_blocks.sum() * length, -1)
    rows[slots] = np.arange(len(keys))
    rows = rows.reshape(-1, length)
    return np.where(rows < 0, rows[:, :1], rows), slots
