"""What some families can do beyond densities: draw samples."""

import math
from abc import abstractmethod
from typing import Any

import jax
from jaxtyping import PRNGKeyArray

from harmonium.exponential_family.base import ExponentialFamily
from harmonium.exponential_family.chunks import map_chunks
from harmonium.geometry.point import Natural


class Generative(ExponentialFamily):
    """A family from which exact samples can be drawn."""

    @abstractmethod
    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Any:
        """One observation. Users call `sample`."""

    def sample(self, key: PRNGKeyArray, point: Natural, shape: tuple[int, ...] = ()) -> Any:
        """Independent observations.

        **Arguments:**

        - `key`: a JAX random key.
        - `point`: natural.
        - `shape`: the leading axes of the result; `()`, the default, for one observation.

        **Returns:** an observation with these leading axes in all its arrays.
        """
        self.check_single(point)
        return sample_many(lambda k: self.sample_one(k, point), key, shape)


def sample_many(
    sampler: Any, key: PRNGKeyArray, shape: tuple[int, ...], size: int | None = None
) -> Any:
    """Calls a sampler of one observation with as many keys as there are places in `shape`.

    At most `size` of them at once, if given, in a scan that had better be compiled.
    """
    if any(length < 0 for length in shape):
        raise ValueError(f"expected a shape of lengths that are not negative, got {shape}.")
    if shape == ():
        return sampler(key)
    keys = jax.random.split(key, math.prod(shape))
    if size is None or len(keys) <= size:
        draws = jax.vmap(sampler)(keys)
    else:
        draws = map_chunks(jax.vmap(sampler), keys, size)
    return jax.tree.map(lambda leaf: leaf.reshape(shape + leaf.shape[1:]), draws)
