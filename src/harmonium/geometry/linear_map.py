"""Linear maps between statistics: the interactions of harmoniums."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, dot
from harmonium.geometry.product import check_kinds
from harmonium.geometry.structure import AnyArray, Structure, cached_property


class LinearMapPoint(Point):
    """A matrix between two statistics, stored for use with batches of observations.

    **Fields:** `rows`, for each leaf of the domain a batch of points of the codomain, whose (last)
    batch axes are that leaf's shape; and the static `manifold` and `coordinates`. A mixture's
    interaction has one leaf of K - 1 component differences, a linear Gaussian model's the rows of a
    (latent x observable) matrix.
    """

    rows: tuple[Point, ...]
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        linear_map: Any = self.manifold
        shapes = linear_map.domain_shapes
        check_kinds(self, self.rows, (linear_map.cod_man,) * len(shapes))
        batches = set()
        for row, shape in zip(self.rows, shapes, strict=True):
            split = len(row.batch_shape) - len(shape)
            batches.add(row.batch_shape[:split])
            if split < 0 or row.batch_shape[split:] != shape:
                raise ValueError(
                    f"a point of {self.manifold} has rows with batch axes (*batch, "
                    f"{', '.join(map(str, shape))}), got {row.batch_shape}."
                )
        if len(batches) > 1:
            raise ValueError(
                f"the rows of a point of {self.manifold} have different batch axes: {batches}."
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the rows, without those of the domain's leaves."""
        linear_map: Any = self.manifold
        batch = self.rows[0].batch_shape
        return batch[: len(batch) - len(linear_map.domain_shapes[0])]


class LinearMap(Manifold):
    r"""Linear maps from mean points of one statistic to natural points of another.

    Mathematically, $\Theta_{XZ}$ in $s_X(x) \cdot \Theta_{XZ} \cdot s_Z(z)$, for the parts of the
    statistics that interact. Where these parts are in those of the observable and the latent is
    up to the model.

    **Fields:**

    - `dom_man`: the manifold of the interacting latent statistic.
    - `cod_man`: the manifold of the interacting observable statistic.
    """

    dom_man: Manifold = eqx.field(static=True)
    cod_man: Manifold = eqx.field(static=True)

    @cached_property
    def domain_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the leaves of the domain."""
        return tuple(leaf.shape for leaf in jax.tree.leaves(self.dom_man.template()))

    @property
    def dim(self) -> int:
        """The product of the dimensions of the two statistics."""
        return self.dom_man.dim * self.cod_man.dim

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        zero = self.cod_man.zeros(coordinates)

        def batch(shape: tuple[int, ...]) -> Point:
            return jax.tree.map(lambda leaf: jnp.zeros(shape + leaf.shape, leaf.dtype), zero)

        return LinearMapPoint(tuple(batch(s) for s in self.domain_shapes), self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        columns = []
        for row, shape in zip(point.rows, self.domain_shapes, strict=True):
            flat = _map_axes(self.cod_man.ravel, len(shape))(row)
            columns.append(jnp.moveaxis(flat, -1, 0))
        structure = jax.tree.structure(self.dom_man.template(point.coordinates))
        return jax.vmap(self.dom_man.ravel)(jax.tree.unflatten(structure, columns)).reshape(-1)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        domain, codomain = self.dom_man, self.cod_man
        matrix = jnp.asarray(vector).reshape(codomain.dim, domain.dim)
        columns = jax.vmap(lambda row: domain.unravel(row, coordinates))(matrix)
        rows = []
        for leaf, shape in zip(jax.tree.leaves(columns), self.domain_shapes, strict=True):
            build = _map_axes(lambda v: codomain.unravel(v, coordinates), len(shape))
            rows.append(build(jnp.moveaxis(leaf, 0, -1)))
        return LinearMapPoint(tuple(rows), self, coordinates)

    def apply(self, point: Natural, statistic: Mean) -> Natural:
        r"""The product $\Theta_{XZ} s_Z$, a natural point of the codomain.

        **Arguments:**

        - `point`: natural.
        - `statistic`: a mean point of the domain.
        """

        def contract(leaf: Array, row: Point) -> Point:
            def product(a: Array) -> Array:  # one-hot statistics have the default dtype
                return jnp.tensordot(leaf.astype(a.dtype), a, axes=leaf.ndim)

            return jax.tree.map(product, row)

        leaves = jax.tree.leaves(statistic)
        terms = [contract(leaf, row) for leaf, row in zip(leaves, point.rows, strict=True)]
        return functools.reduce(operator.add, terms)

    def apply_transposed(self, point: Natural, statistic: Mean) -> Natural:
        r"""The product $\Theta_{XZ}^T s_X$, a natural point of the domain.

        **Arguments:**

        - `point`: natural.
        - `statistic`: a mean point of the codomain.
        """
        pairs = zip(point.rows, self.domain_shapes, strict=True)
        leaves = [_map_axes(lambda row: dot(row, statistic), len(s))(row) for row, s in pairs]
        structure = jax.tree.structure(self.dom_man.template(Coordinates.NATURAL))
        return jax.tree.unflatten(structure, leaves)


def _map_axes(function: Any, n_axes: int) -> Any:
    for _ in range(n_axes):
        function = jax.vmap(function)
    return function
