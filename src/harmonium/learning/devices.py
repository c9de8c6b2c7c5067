"""Data spread over many devices: sums are made where the data are, and added up across devices."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jax.flatten_util import ravel_pytree
from jax.sharding import AxisType, Mesh, NamedSharding, PartitionSpec
from jaxtyping import Array, Float

from harmonium.exponential_family.checks import invalid_as_nan
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import compiled, is_traced, padded_length
from harmonium.harmoniums.grouped import (
    GroupedObservations,
    block_length,
    blocks_of,
    group_alike,
    mask_keys,
)
from harmonium.learning.batches import Batches


class Devices(eqx.Module):
    """Devices over which a batch of observations is spread, as many on each.

    **Fields:**

    - `mesh`: of the devices.
    - `axes`: the axes of the mesh along which observations are spread; along others, devices hold
        the same ones.
    - `length`: N, how many observations there are. They are followed by copies of the last one, of
        weight zero, so that each device holds as many.
    """

    mesh: Mesh = eqx.field(static=True)
    axes: tuple[str, ...] = eqx.field(static=True)
    length: int = eqx.field(static=True)

    @property
    def count(self) -> int:
        """Into how many parts the observations are cut."""
        return math.prod(self.mesh.shape[axis] for axis in self.axes)

    @property
    def by_rows(self) -> NamedSharding:
        """How arrays are sharded whose leading axis is that of the observations."""
        return NamedSharding(self.mesh, PartitionSpec(self.axes))

    def map(self, function: Callable, xs: Any, result: PartitionSpec) -> Any:
        """`function` of each device's part of a pytree of arrays, within `jax.shard_map`."""
        spec = PartitionSpec(self.axes)
        # Not checked, as loops within would have to say that what they carry differs by device.
        mapped = jax.shard_map(
            function, mesh=self.mesh, in_specs=(spec,), out_specs=result, check_vma=False
        )
        return mapped(xs)

    def index(self) -> Array:
        """Which part of the observations a device has; within `map`."""
        return jax.lax.axis_index(self.axes).astype(int)

    def add_up(self, tree: Any) -> Any:
        """The sums of arrays over devices, by one all-reduce; within `map`."""
        flat, restore = ravel_pytree(tree)
        return restore(jax.lax.psum(flat, self.axes))

    def place(self, leaf: Any, padding: Any = None) -> Array:
        """An array of N rows on the devices, filled up with copies of the last row, or another.

        Each process reads only the rows that its own devices hold.
        """
        if _is_spread(leaf):
            return self._relocated(leaf)
        rows = leaf if isinstance(leaf, np.ndarray) else np.asarray(leaf)
        if len(rows) != self.length:
            raise ValueError(f"expected {self.length} rows, as many as others, got {len(rows)}.")
        last = rows[-1:] if padding is None else np.asarray(padding, rows.dtype)[None]
        dtype = jax.dtypes.canonicalize_dtype(rows.dtype)
        size = -(-self.length // self.count) * self.count

        def part(index: Any) -> np.ndarray:
            start, stop, _ = index[0].indices(size)
            own = np.asarray(rows[start:stop], dtype)
            missing = stop - start - len(own)
            return np.concatenate([own, np.repeat(last, missing, axis=0).astype(dtype)])

        return jax.make_array_from_callback((size, *rows.shape[1:]), self.by_rows, part)

    def _relocated(self, leaf: Array) -> Array:
        """The same array, on axes of the mesh that leave it to the compiler how results lie."""
        if len(leaf) != self.length or not leaf.sharding.is_equivalent_to(self.by_rows, leaf.ndim):
            raise ValueError(
                f"expected arrays of {self.length} rows that are spread as {self.by_rows}, got "
                f"one of shape {leaf.shape} as {leaf.sharding}."
            )
        parts = [shard.data for shard in leaf.addressable_shards]
        return jax.make_array_from_single_device_arrays(leaf.shape, self.by_rows, parts)

    def largest(self, number: Any) -> Any:
        """The largest of the numbers that the processes pass, which may differ."""
        everywhere = NamedSharding(self.mesh, PartitionSpec(self.mesh.axis_names))
        own = np.asarray(jnp.asarray(number))[None]
        numbers = jax.make_array_from_callback((self.mesh.size,), everywhere, lambda _: own)
        return jnp.max(numbers).item()


def average(
    devices: Devices | None,
    function: Callable[[Any, Float[Array, " n"]], Any],
    xs: Any,
    weights: Float[Array, " n"],
) -> Any:
    """`function(xs, weights)` of a function that is a weighted average over observations.

    On many devices it is computed of each device's observations, and what comes out, times their
    share of the weights, is added up by one all-reduce.

    **Arguments:**

    - `devices`: over which the observations are spread, or `None`.
    - `function`: takes a batch and its weights, positive and not normalised, and returns a pytree
        of averages.
    - `xs`: a batch of N observations, or their `GroupedObservations`, see `group_by_device`.
    - `weights`: (N,), summing to one.
    """
    if devices is None:
        return function(xs, weights)

    def local(own: tuple[Any, Array]) -> Any:
        xs, weights = own
        share = jnp.sum(weights)
        # A device all of whose observations count for nothing averages them nevertheless.
        weights = jnp.where(share > 0, weights, jnp.ones_like(weights))
        with invalid_as_nan():
            averages = function(xs, weights)
        return devices.add_up(jax.tree.map(lambda leaf: leaf * share, averages))

    return devices.map(local, (xs, weights), PartitionSpec())


def take_rows(devices: Devices | None, xs: Any, rows: Array) -> Any:
    """Some observations of a batch, which all devices get."""
    if devices is None:
        return jax.tree.map(lambda leaf: leaf[rows], xs)

    def local(own: Any) -> Any:
        length = batch_length(own)
        mine = rows // length == devices.index()

        def pick(leaf: Array) -> Array:
            found = leaf[rows % length]
            shape = (-1,) + (1,) * (found.ndim - 1)
            zero = jnp.zeros_like(found)
            return jax.lax.psum(jnp.where(mine.reshape(shape), found, zero), devices.axes)

        return jax.tree.map(pick, own)

    return devices.map(local, xs, PartitionSpec())


def take_sample(devices: Devices | None, xs: Any, weights: Any, size: int) -> tuple[Any, Any]:
    """A sample of at most `size` observations in the order of the data, which all devices get.

    It is the data themselves, if they are no more. Otherwise observations are drawn in proportion
    to their weights, by as many thresholds on the cumulated weights, one at random in each of the
    intervals of one length: which, depends neither on keys nor on devices.

    **Arguments:**

    - `devices`: over which the observations are spread, or `None`.
    - `xs`: a batch of N observations.
    - `weights`: (N,), summing to one.
    - `size`: the largest length of the sample.

    **Returns:** the sample, and its weights, which sum to one, as ordinary arrays.
    """
    if devices is not None or is_traced():
        return localized(_sample(devices, xs, weights, size))
    if len(weights) <= size:
        return xs, weights
    rows = _rows_evenly(np.asarray(weights), _thresholds(size))
    sample = jax.tree.map(lambda leaf: np.asarray(leaf)[rows], xs)
    return sample, np.full(size, 1 / size, weights.dtype)


def _thresholds(size: int) -> np.ndarray:
    """A number at random in each of as many intervals of one length."""
    return (np.arange(size) + np.random.default_rng(0).random(size)) / size


def repeat_evenly(xs: Any, weights: Any) -> Any:
    """As many observations as a padded batch has, each about as often as its weight says.

    What starts are made from, as they look at single observations; all as they are if traced.
    """
    size = padded_length(len(weights))
    if is_traced() or size == len(weights):
        return xs
    rows = _rows_evenly(np.asarray(weights), (np.arange(size) + 0.5) / size)
    return jax.tree.map(lambda leaf: np.asarray(leaf)[rows], xs)


def _rows_evenly(weights: np.ndarray, thresholds: np.ndarray) -> np.ndarray:
    """Where cumulated weights first exceed thresholds."""
    ends = np.cumsum(weights, dtype=float)
    return np.minimum(np.searchsorted(ends / ends[-1], thresholds, side="right"), len(ends) - 1)


@compiled
def _sample(devices: Devices | None, xs: Any, weights: Array, size: int) -> tuple[Any, Array]:
    length = batch_length(xs) if devices is None else devices.length
    if length <= size:
        return take_rows(devices, (xs, weights), jnp.arange(length))
    thresholds = jnp.asarray(_thresholds(size), weights.dtype)
    sample = take_rows(devices, xs, _rows_at(devices, weights, thresholds))
    return sample, jnp.full(size, 1 / size, weights.dtype)


def _rows_at(devices: Devices | None, weights: Array, thresholds: Array) -> Array:
    """Where cumulated weights first exceed thresholds."""
    if devices is None:
        return _first_above(jnp.cumsum(weights), thresholds)

    def local(weights: Array) -> Array:
        index = devices.index()
        own = jax.nn.one_hot(index, devices.count, dtype=weights.dtype) * jnp.sum(weights)
        ends = jnp.cumsum(jax.lax.psum(own, devices.axes))
        before = jnp.where(index > 0, ends[index - 1], 0)
        mine = _first_above(ends, thresholds) == index
        rows = index * len(weights) + _first_above(before + jnp.cumsum(weights), thresholds)
        return jax.lax.psum(jnp.where(mine, rows, 0), devices.axes)

    return devices.map(local, weights, PartitionSpec())


def _first_above(ends: Array, thresholds: Array) -> Array:
    """The first of the ends that is above a threshold, or the last one."""
    ranks = jnp.searchsorted(ends, thresholds, side="right").astype(int)
    return jnp.minimum(ranks, len(ends) - 1)


# --- from the arguments of a fit


def spread_data(
    family: Any, data: Any, weights: Any, observed: Any, mesh: Any
) -> tuple[Any, Any, Any, Devices | None]:
    """Data, weights and masks on many devices, if there are any.

    **Arguments:**

    - `family`: of the observations.
    - `data`, `weights`, `observed`: as `fit` takes them.
    - `mesh`: over all of whose devices they are to be spread; or `None`, where they stay as they
        are.

    **Returns:** data, weights and masks, of a common length that the number of devices divides; and
    the devices. They are those passed and `None` for data on one device without a mesh.

    **Raises:** `TypeError` if this is no mesh, and `ValueError` for arrays that are sharded along
    other axes than that of the observations, or over another mesh.
    """
    if mesh is not None and not isinstance(mesh, Mesh):
        raise TypeError(f"fit takes a jax.sharding.Mesh as mesh, got {type(mesh).__name__}.")
    if mesh is not None and isinstance(data, Batches):
        raise TypeError("fit spreads arrays over a mesh, but no data that are read batch by batch.")
    spread = [leaf for leaf in jax.tree.leaves(data) if _is_spread(leaf)]
    if isinstance(data, GroupedObservations) or (mesh is None and not spread):
        return data, weights, observed, None
    if any(isinstance(leaf, Tracer) for leaf in jax.tree.leaves((data, weights, observed))):
        raise TypeError("fit spreads arrays over a mesh, but no arguments of compiled functions.")
    structure = jax.tree.structure(family.observation)
    try:
        leaves = structure.flatten_up_to(data)
    except ValueError:
        leaves = structure.flatten_up_to(family.check_form(data))  # which says what is wrong
    leaves = [leaf if hasattr(leaf, "shape") else np.asarray(leaf) for leaf in leaves]
    devices = _devices(spread, leaves, mesh)
    placed = structure.unflatten([devices.place(leaf) for leaf in leaves])
    if observed is not None:
        observed = jax.tree.map(devices.place, observed)
    if weights is None:
        weights = np.broadcast_to(np.ones((), jnp.zeros(()).dtype), devices.length)
    elif np.shape(weights) != (devices.length,):
        raise ValueError(
            f"expected one weight for each of {devices.length} observations, got an array of shape "
            f"{np.shape(weights)}."
        )
    return placed, devices.place(weights, padding=0), observed, devices


def _is_spread(leaf: Any) -> bool:
    """Whether an array lies on several devices in parts."""
    return _is_plain(leaf) and not leaf.is_fully_replicated


def _is_plain(leaf: Any) -> bool:
    """Whether it is an array of known numbers, and not of random keys."""
    known = isinstance(leaf, jax.Array) and not isinstance(leaf, Tracer)
    return known and not jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key)


def _devices(spread: list[Array], leaves: list[Any], mesh: Mesh | None) -> Devices:
    """The devices that arrays are on, or those of the mesh."""
    length = batch_length(leaves)
    if not spread:
        assert mesh is not None
        return Devices(_automatic(mesh), mesh.axis_names, length)
    sharding: Any = spread[0].sharding
    rows = sharding.spec[0] if isinstance(sharding, NamedSharding) and sharding.spec else None
    if rows is None or any(name is not None for name in sharding.spec[1:]):
        raise ValueError(
            "fit takes data that are sharded by a jax.sharding.NamedSharding along their first "
            f"axis, that of the observations, and no other; got {sharding}. Where observations "
            "have too many entries for one device, see shard_observable."
        )
    own: Any = sharding.mesh
    if mesh is not None and mesh.devices.tolist() != own.devices.tolist():
        raise ValueError(
            f"the data are sharded over {own} already, not over {mesh}. Omit mesh=, or "
            "pass data that lie on one device."
        )
    axes = rows if isinstance(rows, tuple) else (rows,)
    return Devices(_automatic(own), axes, length)


def _automatic(mesh: Mesh) -> Mesh:
    types = (AxisType.Auto,) * len(mesh.axis_names)
    return Mesh(mesh.devices, mesh.axis_names, axis_types=types)


def group_by_device(
    devices: Devices | None, family: Any, xs: Any, observed: Any
) -> GroupedObservations:
    """What `group_observations` makes of each device's observations, in as many blocks on each.

    **Arguments:**

    - `devices`: over which the observations are spread, or `None`.
    - `family`: of the observations.
    - `xs`: a batch of N observations, masked out.
    - `observed`: N masks, of the form `family.mask`.

    **Returns:** patterns whose leaves are spread along their first axis; `slots` are places among
    the blocks of a device.
    """
    if devices is None:
        return group_alike(family, xs, observed)
    rows, masks = _local_parts(xs), _local_parts(observed)
    keys = {device: mask_keys(own) for device, own in masks.items()}
    most = max(len(np.unique(own, axis=0)) for own in keys.values())
    length = batch_length(xs) // devices.count
    size = block_length(length, devices.largest(most))
    blocks = {device: blocks_of(own, size) for device, own in keys.items()}
    count = devices.largest(max(len(rows) for rows, _ in blocks.values()))
    return _joined(devices, {d: _filled(rows[d], masks[d], *blocks[d], count) for d in rows})


def _filled(
    xs: Any, observed: Any, rows: np.ndarray, slots: np.ndarray, count: int
) -> GroupedObservations:
    """Those of one device, filled up to a number of blocks that no observation is in."""
    rows = np.concatenate([rows, np.zeros((count - len(rows), rows.shape[1]), rows.dtype)])
    return GroupedObservations(
        jax.tree.map(lambda leaf: leaf[rows], xs),
        jax.tree.map(lambda leaf: leaf[rows[:, 0]], observed),
        jax.device_put(slots, next(iter(jax.tree.leaves(xs)[0].devices()))),
    )


def _local_parts(tree: Any) -> Mapping[Any, Any]:
    """The parts of a batch that the devices of this process hold, by device."""
    parts: dict[Any, list[Array]] = {}
    for leaf in jax.tree.leaves(tree):
        for shard in leaf.addressable_shards:
            parts.setdefault(shard.device, []).append(shard.data)
    structure = jax.tree.structure(tree)
    return {device: structure.unflatten(leaves) for device, leaves in parts.items()}


def _joined(devices: Devices, parts: Mapping[Any, Any]) -> Any:
    """The batch whose parts are those that the devices hold."""

    def join(*own: Array) -> Array:
        shape = (own[0].shape[0] * devices.count, *own[0].shape[1:])
        return jax.make_array_from_single_device_arrays(shape, devices.by_rows, list(own))

    return jax.tree.map(join, *parts.values())


def everywhere(devices: Devices | None, tree: Any) -> Any:
    """Arrays that all processes have, on each of the devices, if there are any."""
    if devices is None:
        return tree
    replicated = NamedSharding(devices.mesh, PartitionSpec())

    def copied(leaf: Any) -> Any:
        if not _is_plain(leaf) or len(leaf.sharding.device_set) > 1:
            return leaf
        # Not by jax.device_put, which refuses NaN: processes have to pass equal numbers.
        value = np.asarray(leaf)
        return jax.make_array_from_callback(leaf.shape, replicated, lambda index: value[index])

    return jax.tree.map(copied, tree)


def localized(tree: Any) -> Any:
    """Arrays on many devices as ordinary ones, which each process has for itself."""

    def whole(leaf: Any) -> Any:
        if not _is_plain(leaf):
            return leaf
        if _is_spread(leaf):
            sharding: Any = leaf.sharding
            replicated = NamedSharding(sharding.mesh, PartitionSpec())
            leaf = jax.jit(lambda array: array, out_shardings=replicated)(leaf)
        return leaf if len(leaf.sharding.device_set) == 1 else jnp.asarray(np.asarray(leaf))

    return jax.tree.map(whole, tree)
