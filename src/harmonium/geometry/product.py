"""Products of manifolds, whose points are tuples of points."""

from abc import abstractmethod
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Point
from harmonium.geometry.structure import AnyArray, Structure

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class CompositePoint(Point):
    """A point that consists of points of the parts of its manifold."""

    @property
    @abstractmethod
    def parts(self) -> tuple[Point, ...]:
        """One point of each part of the manifold, with the same batch axes and coordinates."""

    def __check_init__(self):
        manifold: Any = self.manifold
        check_kinds(self, self.parts, manifold.parts)
        batches = {part.batch_shape for part in self.parts}
        if len(batches) > 1:
            raise ValueError(
                f"the parts of a point of {self.manifold} have different batch axes: {batches}."
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the parts."""
        return self.parts[0].batch_shape if self.parts else ()


class ProductPoint(CompositePoint):
    """A point of a product: one point of each part.

    **Fields:** `components`, a tuple of points with the same batch axes and coordinates, and the
    static `manifold` and `coordinates`.
    """

    components: tuple[Point, ...]
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    @property
    def parts(self) -> tuple[Point, ...]:
        """The components."""
        return self.components


def zip_parts(parts: tuple, *trees: Any) -> Iterator[tuple]:
    """Each part with what belongs to it in points of the whole, tuples, or `None` for nothing."""

    def entries(tree: Any) -> Any:
        tree = tree.parts if isinstance(tree, CompositePoint) else tree
        return (None,) * len(parts) if tree is None else tree

    return zip(parts, *map(entries, trees), strict=True)


def check_kinds(whole: Point, points: tuple[Point, ...], manifolds: tuple[Manifold, ...]) -> None:
    """Checks that the parts of a point have the manifolds and coordinates of the whole."""
    if tuple(point.manifold for point in points) != manifolds:
        raise TypeError(
            f"a point of {whole.manifold} consists of points of {', '.join(map(str, manifolds))}; "
            f"got points of {', '.join(str(point.manifold) for point in points)}."
        )
    if any(point.coordinates is not whole.coordinates for point in points):
        raise TypeError(
            f"a {whole.coordinates.value} point of {whole.manifold} consists of "
            f"{whole.coordinates.value} points, got {[p.coordinates.value for p in points]}."
        )


class Composite(Manifold):
    """A manifold made of others, its parts: dimensions add up and coordinates are joined."""

    parts: AbstractVar[tuple]

    @abstractmethod
    def _assemble(self, points: Any, coordinates: Coordinates) -> Point:
        """The point that consists of these points of the parts."""

    @property
    def dim(self) -> int:
        """The sum of the dimensions of the parts."""
        return sum(part.dim for part in self.parts)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return self._assemble(tuple(part.zeros(coordinates) for part in self.parts), coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        vectors = [part.ravel(own) for part, own in zip_parts(self.parts, point)]
        return jnp.concatenate(vectors) if vectors else jnp.zeros(0)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        points, start = [], 0
        for part in self.parts:
            points.append(part.unravel(vector[start : start + part.dim], coordinates))
            start += part.dim
        return self._assemble(tuple(points), coordinates)


class AbstractProduct(Composite):
    """A product of manifolds, whose points are tuples."""

    def _assemble(self, points: tuple, coordinates: Coordinates) -> Point:
        return ProductPoint(points, self, coordinates)


class Pair(AbstractProduct):
    """Two manifolds side by side.

    **Fields:** `first` and `second`, the manifolds.
    """

    first: Manifold = eqx.field(static=True)
    second: Manifold = eqx.field(static=True)

    @property
    def parts(self) -> tuple:
        """The two manifolds."""
        return (self.first, self.second)


class ManifoldTuple(AbstractProduct):
    """Any number of manifolds side by side.

    **Fields:** `parts`, the manifolds.
    """

    parts: tuple = eqx.field(static=True)


class Null(AbstractProduct):
    """The manifold with nothing in it: one point, no coordinates."""

    @property
    def parts(self) -> tuple:
        """None."""
        return ()
