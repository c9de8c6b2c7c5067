"""Parameters too long for one device, spread along the axis of the observable's entries."""

from typing import Any

import equinox as eqx
import jax
from jax.sharding import Mesh, NamedSharding, PartitionSpec

from harmonium.geometry.point import Point
from harmonium.harmoniums.conjugated import Conjugated


def shard_observable(params: Point, mesh: Any, axis: str) -> Point:
    """A point whose observable and interaction are spread over devices, and its latent on each.

    For models of long vectors whose entries are independent given the latents, such as factor
    analysis. Compiled functions of the result, and of data sharded by `NamedSharding(mesh,
    PartitionSpec(None, axis))`, work on each device's entries, and add up what is left: sums over
    entries, of the size of the latents.

    **Arguments:**

    - `params`: a point, natural or mean, or a batch of them, of a conjugated model whose observable
        is a vector.
    - `mesh`: a `jax.sharding.Mesh`.
    - `axis`: the name of the axis of the mesh over which entries are spread.

    **Returns:** the same point; the sharding of each leaf is `leaf.sharding`.

    **Raises:** `TypeError` if observations are no vectors or have a full covariance, and
    `ValueError` if the mesh has no such axis, or if its length does not divide that of the vectors.
    """
    if not isinstance(mesh, Mesh):
        raise TypeError(f"expected a jax.sharding.Mesh, got {type(mesh).__name__}.")
    if axis not in mesh.axis_names:
        raise ValueError(f"the mesh has axes {mesh.axis_names}, none is called {axis!r}.")
    length = _observable_length(params)
    if length % mesh.shape[axis]:
        raise ValueError(
            f"{length} entries can't be spread evenly over {mesh.shape[axis]} devices. Use a "
            "number of devices that divides the number of entries."
        )

    def spread(leaf: Any) -> Any:
        if leaf.shape[-1:] != (length,):
            return whole(leaf)
        spec = PartitionSpec(*(None,) * (leaf.ndim - 1), axis)
        return jax.device_put(leaf, NamedSharding(mesh, spec))

    def whole(leaf: Any) -> Any:
        return jax.device_put(leaf, NamedSharding(mesh, PartitionSpec()))

    parts: Any = params
    placed = (
        jax.tree.map(spread, parts.observable),
        jax.tree.map(spread, parts.interaction),
        jax.tree.map(whole, parts.latent),
    )
    return eqx.tree_at(lambda p: (p.observable, p.interaction, p.latent), parts, placed)


def _observable_length(params: Point) -> int:
    """The number of entries of an observation, if they are independent given the latents."""
    model: Any = params.manifold
    if not isinstance(model, Conjugated):
        raise TypeError(f"expected a point of a conjugated model, got one of {model}.")
    forms = jax.tree.leaves(model.data_man.observation)
    if len(forms) != 1 or len(forms[0].shape) != 1:
        raise TypeError(f"expected a model whose observations are vectors, got {model}.")
    observable: Any = params
    batch = len(observable.batch_shape)
    if any(len(leaf.shape) > batch + 1 for leaf in jax.tree.leaves(observable.observable)):
        raise TypeError(
            f"{model} has a full covariance of observations, which can't be spread along one of "
            "its axes. Use a normal with Diagonal() or Scale() covariance."
        )
    return forms[0].shape[0]
