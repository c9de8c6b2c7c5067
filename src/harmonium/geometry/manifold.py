"""Manifolds: the structure of parameter spaces, without any parameters."""

import functools
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.point import Coordinates, Point, VectorPoint
from harmonium.geometry.structure import AnyArray, Structure


class Manifold(Structure):
    """A set of points with a dual pair of coordinate systems, natural and mean.

    A manifold is structure only, dimensions and parts: it is hashable, compares by value, and has
    no array leaves. Models are manifolds, and all operations on points are their methods.
    """

    @property
    @abstractmethod
    def dim(self) -> int:
        """The number of minimal coordinates: a symmetric matrix counts `n * (n + 1) / 2`."""

    @abstractmethod
    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        """The origin of the coordinate system: a single point all of whose leaves are zero."""

    @abstractmethod
    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        r"""The minimal coordinates of a point as one vector.

        The pairing is preserved: `ravel(natural) @ ravel(mean) == dot(natural, mean)`. The
        off-diagonal entries of a symmetric matrix are therefore doubled in natural coordinates.

        **Arguments:**

        - `point`: a single point of this manifold (vmap for batches).

        **Returns:** a vector of length `dim`.
        """

    @abstractmethod
    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        """The point with these minimal coordinates, the inverse of `ravel`.

        **Arguments:**

        - `vector`: minimal coordinates, of length `dim`.
        - `coordinates`: whether they are natural (the default) or mean coordinates.

        **Returns:** a single point of this manifold.
        """

    def template(self, coordinates: Coordinates = Coordinates.NATURAL) -> Any:
        """A single point whose leaves are shapes: the layout of this manifold's points."""
        return _template(self, coordinates)

    def check_point(self, point: Point) -> None:
        """Checks that a point belongs to this manifold.

        **Raises:** `TypeError` naming both manifolds if it does not.
        """
        if point.manifold != self:
            raise TypeError(
                f"expected a point of {self}, got a {point.coordinates.value} point of "
                f"{point.manifold}. Pass a point of {self}, or embed this one."
            )

    def check_single(self, *points: Point | None) -> None:
        """Checks that points belong to this manifold and are not batches; `None` is left out."""
        for point in points:
            if point is None:
                continue
            self.check_point(point)
            if point.batch_shape:
                raise ValueError(
                    f"expected a single point of {self}, got a batch of shape "
                    f"{point.batch_shape}. Map over the batch with jax.vmap."
                )


class VectorManifold(Manifold):
    """A manifold whose points are plain vectors, which are their own minimal coordinates."""

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return VectorPoint(jnp.zeros(self.dim), self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return point.values

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return VectorPoint(vector, self, coordinates)


@functools.lru_cache(maxsize=4096)
def _template(manifold: Manifold, coordinates: Coordinates) -> Any:
    return jax.eval_shape(lambda: manifold.zeros(coordinates))
