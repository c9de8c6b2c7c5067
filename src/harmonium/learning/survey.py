"""What fitting must know of data before it begins: one pass over them."""

import math
from collections.abc import Iterable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float

from harmonium.exponential_family.checks import describe_outside
from harmonium.exponential_family.compiled import compiled
from harmonium.harmoniums.mixture_starts import SAMPLE_SIZE
from harmonium.learning.batches import Block, to_devices
from harmonium.learning.moments import collect_moments, merge_moments

# How many bytes the sample that starts are made from takes, unless a batch takes more.
SAMPLE_BYTES = 2**28


class Survey(NamedTuple):
    """What is known of data after one pass.

    **Fields:**

    - `moments`: see `collect_moments`.
    - `base_measure`: the average of $\\log h(x)$.
    - `total`: the sum of weights.
    - `length`: how many observations there are.
    - `sample`: a random sample of them, or all in their order if they are few.
    - `sample_weights`: the weights of these.
    - `dtype`: the precision of real numbers.
    """

    moments: Any
    base_measure: Array
    total: float
    length: int
    sample: Any
    sample_weights: np.ndarray
    dtype: Any


def sample_size(family: Any, batch_size: int) -> int:
    """How many observations of a family to sample, where as many as that are processed at once."""
    entries = sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(family.observation))
    affordable = SAMPLE_BYTES // (8 * max(1, entries))
    return min(SAMPLE_SIZE, max(batch_size, affordable))


def survey(family: Any, blocks: Iterable[Block], whole: bool, seed: int, size: int) -> Survey:
    """Checks all observations, and collects what fitting must know.

    **Arguments:**

    - `family`: of the observations.
    - `blocks`: the data.
    - `whole`: whether to collect whole covariances.
    - `seed`: of the random sample.
    - `size`: that of the sample, at most.

    **Raises:** `ValueError` if there are no observations or all weights are zero, and for
    observations outside the support, of which it names the first.
    """
    moments, total, measures = None, 0.0, 0.0
    dtype = jnp.result_type(float)
    reservoir = Reservoir(size, seed)
    for block in blocks:
        weights = jnp.asarray(block.weights, dtype)
        inside, measure = inspect(family, to_devices(block.xs, dtype), weights)
        refuse_outside(family, block, inside)
        weight = float(block.weights.sum())
        if weight > 0:
            own = collect_moments(family, block.xs, block.weights, whole)
            moments = own if moments is None else merge_moments(moments, own)
        pair = block.xs, block.weights
        reservoir.add(jax.tree.map(lambda leaf: leaf[: block.length], pair))  # noqa: B023
        measures, total = measures + float(measure), total + weight
    if reservoir.rows is None:
        raise ValueError("expected at least one observation, got data without any.")
    if total == 0:
        raise ValueError("weights must not be all zero.")
    base_measure = jnp.asarray(measures / total, dtype)
    sample, sample_weights = reservoir.rows
    return Survey(moments, base_measure, total, reservoir.seen, sample, sample_weights, dtype)


@compiled
def inspect(
    family: Any, xs: Any, weights: Float[Array, " n"]
) -> tuple[Bool[Array, " n"], Float[Array, ""]]:
    """Which observations are in the support, and the weighted sum of log base measures."""
    inside = jax.vmap(family.in_support)(xs)
    measures = jax.vmap(family.log_base_measure)(xs)
    return inside, weights @ measures.astype(weights.dtype)


def refuse_outside(family: Any, block: Block, inside: Bool[Array, " n"]) -> None:
    """Raises an error that names the first observation outside the support, if there is one."""
    outside = np.flatnonzero(~np.asarray(inside)[: block.length])
    if len(outside):
        row = int(outside[0])
        x = jax.tree.map(lambda leaf: np.asarray(leaf)[row], block.xs)
        raise ValueError(describe_outside(family, block.where(row), x))


class Reservoir:
    """A random sample without replacement of observations that come one after the other.

    As long as there are no more than its size, it has all of them, in their order.

    **Source:** Vitter, Random Sampling with a Reservoir (1985), algorithm R.

    **Arguments:** `size`, and the `seed` of what is random.
    """

    def __init__(self, size: int, seed: int):
        self.size, self.seen, self.rows = size, 0, None
        self._random = np.random.default_rng(seed)

    def add(self, xs: Any) -> None:
        """Observes a batch."""
        length = len(jax.tree.leaves(xs)[0])
        room = min(max(self.size - self.seen, 0), length)
        if room:
            own = jax.tree.map(lambda leaf: np.array(leaf[:room]), xs)
            joined = own if self.rows is None else jax.tree.map(_append, self.rows, own)
            self.rows = joined
        ranks = np.arange(self.seen + room, self.seen + length)
        slots = self._random.integers(0, ranks + 1)
        chosen = np.flatnonzero(slots < self.size)
        if len(chosen):

            def replace(kept: np.ndarray, fresh: np.ndarray) -> None:
                kept[slots[chosen]] = fresh[room + chosen]

            jax.tree.map(replace, self.rows, xs)
        self.seen += length


def _append(first: np.ndarray, second: np.ndarray) -> np.ndarray:
    return np.concatenate([first, second])
