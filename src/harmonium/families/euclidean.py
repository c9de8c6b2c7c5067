"""Real vectors with the identity as their statistic: the linear part of other families."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float

from harmonium.exponential_family.base import ExponentialFamily
from harmonium.geometry.manifold import VectorManifold
from harmonium.geometry.point import Coordinates, Mean, VectorPoint


class Euclidean(VectorManifold, ExponentialFamily):
    r"""Real vectors $x$ with $s(x) = x$ and Lebesgue base measure.

    It has no partition function of its own: $\int \exp(\theta \cdot x) dx$ diverges. It is the
    *location* part of normals, through which linear Gaussian models interact.

    **Fields:** `data_dim`, the length of the vectors.
    """

    data_dim: int = eqx.field(static=True)

    def __check_init__(self):
        if self.data_dim < 1:
            raise ValueError(f"real vectors have at least one dimension, got {self.data_dim}.")

    @property
    def dim(self) -> int:
        """The length of the vectors."""
        return self.data_dim

    @property
    def observation(self) -> Any:
        """A real vector of length `data_dim`."""
        return jax.ShapeDtypeStruct((self.data_dim,), float)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(jnp.isfinite(x))

    def sufficient_statistic(self, x: Any) -> Mean:
        return VectorPoint(self.check_form(x, batch=False), self, Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())
