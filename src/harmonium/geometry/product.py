"""Products of manifolds, whose points are tuples of points."""

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


class ProductPoint(Point):
    """A point of a product: one point of each part.

    **Fields:** `components`, a tuple of points with the same batch axes and coordinates, and the
    static `manifold` and `coordinates`.
    """

    components: tuple[Point, ...]
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        check_parts(self, self.components, self.manifold.parts)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the components."""
        return self.components[0].batch_shape if self.components else ()


def zip_parts(parts: tuple, *trees: Any) -> Iterator[tuple]:
    """Each part with what belongs to it in points of products, tuples, or `None` for nothing."""

    def entries(tree: Any) -> Any:
        tree = tree.components if isinstance(tree, ProductPoint) else tree
        return (None,) * len(parts) if tree is None else tree

    return zip(parts, *map(entries, trees), strict=True)


def check_parts(whole: Point, points: tuple[Point, ...], manifolds: tuple[Manifold, ...]) -> None:
    """Checks that the parts of a point have the manifolds, coordinates and batch of the whole."""
    check_kinds(whole, points, manifolds)
    batches = {point.batch_shape for point in points}
    if len(batches) > 1:
        raise ValueError(
            f"the parts of a point of {whole.manifold} have different batch axes: {batches}."
        )


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


class AbstractProduct(Manifold):
    """A product of manifolds: dimensions add up and coordinates are joined."""

    parts: AbstractVar[tuple]

    @property
    def dim(self) -> int:
        """The sum of the dimensions of the parts."""
        return sum(part.dim for part in self.parts)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return ProductPoint(
            tuple(part.zeros(coordinates) for part in self.parts), self, coordinates
        )

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return ravel_parts(self.parts, point.components)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return ProductPoint(unravel_parts(self.parts, vector, coordinates), self, coordinates)


def ravel_parts(manifolds: tuple[Manifold, ...], points: tuple[Point, ...]) -> Float[Array, " n"]:
    """The minimal coordinates of several points, one after the other."""
    vectors = [manifold.ravel(point) for manifold, point in zip(manifolds, points, strict=True)]
    return jnp.concatenate(vectors) if vectors else jnp.zeros(0)


def unravel_parts(
    manifolds: tuple[Manifold, ...], vector: Float[AnyArray, " n"], coordinates: Coordinates
) -> tuple[Any, ...]:
    """The points whose minimal coordinates follow each other in the vector."""
    points, start = [], 0
    for manifold in manifolds:
        points.append(manifold.unravel(vector[start : start + manifold.dim], coordinates))
        start += manifold.dim
    return tuple(points)


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
