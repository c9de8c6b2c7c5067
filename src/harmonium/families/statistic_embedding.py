"""Some of the statistics of a family, embedded in all of them."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp

from harmonium.exponential_family.vector import VectorFamily
from harmonium.families.euclidean import Euclidean
from harmonium.geometry.embedding import LinearEmbedding
from harmonium.geometry.point import Coordinates, Mean, Natural, VectorPoint


class StatisticEmbedding(LinearEmbedding):
    r"""Some of the sufficient statistics of a family whose parameters are a plain vector.

    Natural points embed with zeros for the other parameters, and mean points project to these
    statistics' means. As the `obs_emb` of a mixture, it lets the components differ in these
    parameters only: `hm.StatisticEmbedding(hm.CoMPoisson(), (0,))` gives components that share
    their dispersion.

    **Arguments:**

    - `family`: the ambient manifold, such as `hm.Gamma()`.
    - `indices`: which of its statistics, in the order of its docstring, from 0.
    """

    family: VectorFamily = eqx.field(static=True)
    indices: tuple[int, ...] = eqx.field(static=True)

    def __check_init__(self):
        dim = self.family.dim
        distinct = len(set(self.indices)) == len(self.indices) > 0
        if not distinct or min(self.indices) < 0 or max(self.indices) >= dim:
            raise ValueError(
                f"indices must be distinct numbers from 0 to {dim - 1}, as {self.family} has {dim} "
                f"statistics, got {self.indices}."
            )

    @property
    def sub_man(self) -> Euclidean:
        """Real vectors, one entry for each of the statistics."""
        return Euclidean(len(self.indices))

    @property
    def amb_man(self) -> VectorFamily:
        """The family."""
        return self.family

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        zeros = jnp.zeros(self.family.dim, point.values.dtype)
        return self.family.unravel(zeros.at[self._places].set(point.values))

    def project(self, point: Mean) -> Mean:
        self.family.check_point(point)
        return VectorPoint(point.values[..., self._places], self.sub_man, Coordinates.MEAN)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + self.embed(shift)

    def restrict(self, point: Natural) -> Natural:
        self.family.check_point(point)
        return VectorPoint(point.values[..., self._places], self.sub_man, Coordinates.NATURAL)

    def observe(self, x: Any) -> Any:
        """These statistics of an observation, or of each of a batch."""
        observe = lambda x: self.family.sufficient_statistic(x).values[self._places]  # noqa: E731
        batch_axes = jax.tree.leaves(x)[0].ndim - jax.tree.leaves(self.family.observation)[0].ndim
        for _ in range(batch_axes):
            observe = jax.vmap(observe)
        return observe(x)

    @property
    def _places(self) -> Any:
        return jnp.asarray(self.indices)
