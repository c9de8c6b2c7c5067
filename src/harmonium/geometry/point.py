"""Points: parameters with named leaves, a manifold and a coordinate system."""

import dataclasses
import enum
from abc import abstractmethod
from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import wadler_lindig as wl
from jax.core import Tracer
from jaxtyping import Array, Float, Shaped

from harmonium.geometry.structure import Structure

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class Coordinates(enum.Enum):
    """The coordinate system of a point: natural parameters, or mean parameters."""

    NATURAL = "natural"
    MEAN = "mean"

    @property
    def dual(self) -> "Coordinates":
        """The coordinates of the dual space, with which `dot` pairs these."""
        return Coordinates.MEAN if self is Coordinates.NATURAL else Coordinates.NATURAL


class Point(eqx.Module):
    """A point on a manifold: structured array leaves in one coordinate system.

    A point is a pytree. Its leaves may carry leading batch axes, the same for all of them, and a
    batch of points is again a point (`jax.vmap(model.initialize)(keys)`); `points[3]` picks
    one, and iterating over it yields them all. Points of one manifold in the same coordinates
    form a vector space: they add, subtract and scale.

    There is one final class a storage layout: [`harmonium.geometry.VectorPoint`][],
    [`harmonium.families.LocationShape`][], [`harmonium.harmoniums.HarmoniumPoint`][] and so on. The
    manifold says what the numbers mean, and its methods do all the work.
    """

    manifold: AbstractVar[Structure]
    coordinates: AbstractVar[Coordinates]

    @property
    @abstractmethod
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes that all leaves share; `()` for a single point."""

    if TYPE_CHECKING:

        def __getattr__(self, name: str) -> Any:
            """Leaves are named by the layout, which annotations do not follow."""

    def __add__(self, other: "Point") -> "Point":
        check_combinable(self, other, "add")
        return jax.tree.map(jnp.add, self, other)

    def __radd__(self, other: Any) -> "Point":
        check_combinable(self, other, "add")
        return self + other

    def __rsub__(self, other: Any) -> "Point":
        check_combinable(self, other, "subtract")
        return other - self

    def __sub__(self, other: "Point") -> "Point":
        check_combinable(self, other, "subtract")
        return jax.tree.map(jnp.subtract, self, other)

    def __mul__(self, scalar: Any) -> "Point":
        return jax.tree.map(lambda leaf: leaf * _check_scalar(scalar, leaf.dtype), self)

    def __rmul__(self, scalar: Any) -> "Point":
        return self * scalar

    def __truediv__(self, scalar: Any) -> "Point":
        return jax.tree.map(lambda leaf: leaf / _check_scalar(scalar, leaf.dtype), self)

    def __neg__(self) -> "Point":
        return jax.tree.map(jnp.negative, self)

    def __len__(self) -> int:
        if not self.batch_shape:
            raise TypeError(f"a single point of {self.manifold} has no length: it is not a batch.")
        return self.batch_shape[0]

    def __bool__(self) -> bool:
        return True

    def __getitem__(self, index: Any) -> "Point":
        len(self)
        _check_index(index, self.batch_shape)
        return jax.tree.map(lambda leaf: leaf[index], self)

    def __repr__(self) -> str:
        return "\n".join([_headline(self), *_describe(self, "  ")])

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        """How error messages of type checks show this."""
        remedy = f"to_{self.coordinates.dual.value} converts it"
        return wl.TextDoc(f"{_headline(self)} ({remedy})")


def _check_index(index: Any, batch_shape: tuple[int, ...]) -> None:
    """Checks, where it is known, an index into the batch axes; JAX would clip it silently."""
    parts = index if isinstance(index, tuple) else (index,)
    if any(isinstance(part, Tracer) for part in parts):
        return
    try:
        if any(part is None or part is ... for part in parts):
            raise IndexError("None and ... do not pick points")
        np.broadcast_to(0, batch_shape)[index]
    except IndexError as error:
        raise IndexError(
            f"a batch of points of shape {batch_shape} is indexed along its batch axes, by "
            f"integers, slices or arrays of them; got {index!r}: {error}."
        ) from None


def _headline(point: Point) -> str:
    kind, manifold = point.coordinates.value, point.manifold
    if not _has_arrays(point):
        return f"what stands for the leaves of {kind} points of {manifold}"
    if point.batch_shape:
        return f"batch {point.batch_shape} of {kind} points of {manifold}"
    return f"{kind} point of {manifold}"


def _has_arrays(point: Point) -> bool:
    """Whether its leaves are arrays, or know shapes, as those of points are."""
    leaves = jax.tree.leaves(point, is_leaf=lambda leaf: leaf is None)
    return all(hasattr(leaf, "shape") for leaf in leaves)


def _describe(point: Point, indent: str) -> list[str]:
    lines = []
    for name, value in _named_parts(point):
        if isinstance(value, Point):
            lines += [f"{indent}{name}:", *_describe(value, indent + "  ")]
        else:
            lines.append(f"{indent}{name} = {_describe_array(value)}")
    return lines


def _named_parts(point: Point) -> list[tuple[str, Any]]:
    parts = []
    for field in dataclasses.fields(point):
        value = getattr(point, field.name)
        if field.name in ("manifold", "coordinates"):
            continue
        if isinstance(value, tuple) and any(isinstance(item, Point) for item in value):
            parts += [(f"{field.name}[{i}]", item) for i, item in enumerate(value)]
        else:
            parts.append((field.name, value))
    return parts


def _describe_array(value: Any) -> str:
    concrete = isinstance(value, jax.Array | np.ndarray) and not isinstance(value, Tracer)
    if concrete and value.size <= 16 and value.ndim <= 2:
        text = np.array2string(np.asarray(value), separator=", ", precision=5)
        return " ".join(text.split())
    return eqx.tree_pformat(value)


class _CoordinateKind(type):
    """A type whose instances are the points in one coordinate system."""

    coordinates: Coordinates

    def __instancecheck__(cls, instance: Any) -> bool:
        return isinstance(instance, Point) and instance.coordinates is cls.coordinates


if TYPE_CHECKING:
    Natural = Point
    Mean = Point
else:

    class Natural(metaclass=_CoordinateKind):
        """A point in natural coordinates: `isinstance(point, Natural)` asks its coordinates."""

        coordinates = Coordinates.NATURAL

    class Mean(metaclass=_CoordinateKind):
        """A point in mean coordinates: `isinstance(point, Mean)` asks its coordinates."""

        coordinates = Coordinates.MEAN


def _check_scalar(scalar: Any, dtype: Any) -> Any:
    if isinstance(scalar, int | float):
        return scalar
    if isinstance(scalar, jax.Array | np.ndarray | np.generic) and np.ndim(scalar) == 0:
        return jnp.asarray(scalar, dtype)
    raise TypeError(
        f"a point is multiplied or divided by a scalar, got {eqx.tree_pformat(scalar)}; to scale "
        "each point of a batch by its own number, vmap: jax.vmap(lambda p, c: p * c)(points, cs)."
    )


def _shapes(point: Point) -> list[tuple[int, ...]]:
    return [jnp.shape(leaf) for leaf in jax.tree.leaves(point)]


def check_combinable(first: Point, second: Any, verb: str) -> None:
    """Checks that two points have one manifold, one coordinate system and the same batch axes."""
    if not isinstance(second, Point):
        raise TypeError(
            f"can only {verb} a point and a point, got {type(second).__name__} beside a "
            f"{first.coordinates.value} point of {first.manifold}. Python's sum starts from 0: "
            "sum points with functools.reduce(operator.add, points)."
        )
    if first.manifold != second.manifold:
        raise TypeError(
            f"cannot {verb} points of different manifolds: {first.manifold} and "
            f"{second.manifold}. Embed one into the other's manifold first."
        )
    if first.coordinates is not second.coordinates:
        raise TypeError(
            f"cannot {verb} a {first.coordinates.value} and a {second.coordinates.value} point of "
            f"{first.manifold}. Convert one with to_mean or to_natural first."
        )
    _check_same_batch(first, second)


def _check_same_batch(first: Point, second: Point) -> None:
    if not (_has_arrays(first) and _has_arrays(second)):
        raise TypeError(
            f"points of {first.manifold} are combined leaf by leaf, but leaves of these are no "
            "arrays: map over them with jax.tree.map."
        )
    if _shapes(first) != _shapes(second):
        raise ValueError(
            f"points of {first.manifold} with different batch axes, {first.batch_shape} and "
            f"{second.batch_shape}: combine them with jax.vmap, whose in_axes says what is batched."
        )


def stack_points(points: Iterable[Any]) -> Point:
    """The batch of single points of one manifold in the same coordinates.

    **Raises:** an error if there are none, or if they can't be combined.
    """
    points = tuple(points)
    if not points:
        raise ValueError("expected at least one point, got none.")
    if not isinstance(points[0], Point):
        raise TypeError(f"expected points, got {type(points[0]).__name__}.")
    for point in points:
        check_combinable(points[0], point, "stack")
    return jax.tree.map(lambda *leaves: jnp.stack(leaves), *points)


def dot(first: Point, second: Point) -> Float[Array, ""]:
    r"""The pairing of a natural and a mean point of one manifold.

    Mathematically, $\theta \cdot \eta = \sum_i \theta_i \eta_i$ over the minimal coordinates,
    which is the sum of the products of all leaves.

    **Arguments:**

    - `first`, `second`: one point in natural and one in mean coordinates, in either order,
        neither of them a batch (use `jax.vmap(hm.dot)` for batches).

    **Returns:** the pairing, a scalar.

    **Raises:** `TypeError` if the manifolds differ or the coordinates are not dual, `ValueError`
    for batches.
    """
    if first.manifold != second.manifold:
        raise TypeError(
            f"dot pairs points of one manifold, got points of {first.manifold} and "
            f"{second.manifold}. Embed or project one of them first."
        )
    if first.coordinates is not second.coordinates.dual:
        raise TypeError(
            f"dot pairs a natural with a mean point, got two {first.coordinates.value} points of "
            f"{first.manifold}. Convert one with to_mean or to_natural first."
        )
    _check_same_batch(first, second)
    if first.batch_shape:
        raise ValueError(
            f"dot takes single points, got batches of shape {first.batch_shape}. "
            "Use jax.vmap(hm.dot)."
        )
    pairs = zip(jax.tree.leaves(first), jax.tree.leaves(second), strict=True)
    products = [jnp.vdot(x, y) for x, y in pairs]
    return sum(products[1:], products[0]) if products else jnp.zeros(())


def gradient(function: Callable[..., Shaped[Array, ""]]) -> Callable[..., Point]:
    r"""The gradient of a function of a point, labelled with what it is: a point of the dual.

    `jax.grad` returns the derivative with respect to a natural point as a pytree that is labelled
    natural, as JAX requires and as optax needs. The same numbers are *mean* coordinates:
    $\nabla \psi(\theta) = \eta$. This returns them with that label.

    **Arguments:**

    - `function`: takes a point first, and returns a scalar.

    **Returns:** a function of the same arguments that returns the gradient with respect to the
    point, on the same manifold, in the dual coordinates.
    """

    def labelled_gradient(point: Point, *args: Any, **kwargs: Any) -> Point:
        return relabel(jax.grad(function)(point, *args, **kwargs))

    return labelled_gradient


def relabel(point: Point) -> Point:
    """The same numbers as a point in the dual coordinates."""
    changed = {}
    for field in dataclasses.fields(point):
        value = getattr(point, field.name)
        if field.name == "coordinates":
            changed[field.name] = value.dual
        elif isinstance(value, Point):
            changed[field.name] = relabel(value)
        elif isinstance(value, tuple):
            changed[field.name] = tuple(relabel(item) for item in value)
        else:
            changed[field.name] = value
    return rebuild(type(point), changed)


def rebuild(layout: type[Point], fields: dict[str, Any]) -> Any:
    """A point of the given layout without checks, so that its leaves may be any objects."""
    point = object.__new__(layout)
    for name, value in fields.items():
        object.__setattr__(point, name, value)
    return point


def real_leaf(value: Any) -> Any:
    """The array of a leaf: real numbers, for which integers and lists may stand."""
    array = jnp.asarray(value)
    if jnp.issubdtype(array.dtype, jnp.integer):
        return array.astype(float)
    if not jnp.issubdtype(array.dtype, jnp.floating):
        raise TypeError(f"the leaves of a point are real numbers, got {array.dtype}.")
    return array


class VectorPoint(Point):
    """A point stored as one vector of its minimal coordinates.

    **Fields:** `values` (`*batch n`), and the static `manifold` and `coordinates`.
    """

    values: Float[Array, "*batch n"] = eqx.field(converter=real_leaf)
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        check_trailing_shape("values", self.values, (self.manifold.dim,), self.manifold)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of `values`."""
        return self.values.shape[:-1]


def check_trailing_shape(
    name: str, leaf: Any, expected: tuple[int, ...], manifold: Structure
) -> None:
    """Checks that the last axes of a leaf are those its manifold asks for."""
    actual = jnp.shape(leaf)[jnp.ndim(leaf) - len(expected) :] if expected else ()
    if actual != expected:
        raise ValueError(
            f"the {name} of a point of {manifold} must have the shape "
            f"(*batch, {', '.join(map(str, expected))}), got {jnp.shape(leaf)}."
        )
