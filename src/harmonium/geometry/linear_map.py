"""Linear maps between statistics: the interactions of harmoniums."""

import functools
import math
import operator
from abc import abstractmethod
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.embedding import (
    LinearEmbedding,
    compose,
    zeros_like,
)
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    Point,
)
from harmonium.geometry.product import check_kinds
from harmonium.geometry.structure import AnyArray, Structure, cached_property


class LinearMapPoint(Point):
    """A matrix between two statistics, stored for use with batches of observations.

    **Fields:** `rows`, for each leaf of the domain's sub-statistic a batch of points of the
    codomain's, whose (last) batch axes are that leaf's shape; and the static `manifold` and
    `coordinates`. A mixture's interaction has one leaf of K - 1 component differences, a linear
    Gaussian model's the rows of a (latent x observable) matrix.
    """

    rows: tuple[Point, ...]
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        linear_map: Any = self.manifold
        shapes = linear_map.domain_shapes
        check_kinds(self, self.rows, (linear_map.cod_emb.sub_man,) * len(shapes))
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


class InteractionMap(Manifold):
    r"""Linear maps from latent statistics to natural parameters of observables, and back.

    Mathematically, $\Theta_{XZ}$ in $s_X(x) \cdot \Theta_{XZ} \cdot s_Z(z)$. The map is used both
    ways, always at full speed for a batch of observations: `shift` is what an observation adds to
    the latent's natural parameters, a natural point (or a tuple of them) of the domain's
    *sub-statistic*; `translate_domain` adds it. The interacting part of a mean latent point has the
    same leaves, and pairs with a shift leaf by leaf.
    """

    @abstractmethod
    def translate_codomain(self, observable: Natural, point: Natural, latent: Any) -> Natural:
        r"""$\theta_X + \Theta_{XZ} s_Z(z)$ for a latent observation $z$."""

    @abstractmethod
    def translate_at(self, observable: Natural, point: Natural, interacting: Any) -> Natural:
        """`translate_codomain` where the interacting part of the latent alone is known."""

    @abstractmethod
    def compose_domain(self, embedding: LinearEmbedding) -> "InteractionMap":
        """The same map on a larger latent manifold, into which the domain is embedded."""

    @abstractmethod
    def compose_codomain(self, embedding: LinearEmbedding) -> "InteractionMap":
        """The same map into a larger observable manifold, into which the codomain is embedded."""

    @abstractmethod
    def adopt(self, point: Point) -> Point:
        """A point of a map between the same sub-statistics, as a point of this map."""

    @abstractmethod
    def substitute_codomain(self, point: Natural, scale: Any, shift: Any) -> Natural:
        """The interaction of `y` with `x = scale y + shift`, where `x` has this one.

        Scale and shift have the form of observations: tuples for products.
        """

    @abstractmethod
    def substitute_domain(self, point: Natural, scale: Any) -> Natural:
        """The interaction with `y` where `z = scale y`, if `z` has this one.

        A tuple of scales where several parts of the latent interact.
        """

    @property
    @abstractmethod
    def domain_embedding(self) -> LinearEmbedding | None:
        """The embedding of the interacting latent statistic, or of several jointly, if any is."""

    @property
    @abstractmethod
    def sub_statistics(self) -> tuple:
        """The pairs of sub-statistics between which this maps, ambient manifolds aside."""


class LinearMap(InteractionMap):
    """A linear map between a sub-statistic of the latent and one of the observable.

    **Fields:**

    - `dom_emb`: linear embedding of the interacting latent statistic into the latent manifold.
    - `cod_emb`: linear embedding of the interacting observable statistic into the observable
        manifold.
    """

    dom_emb: LinearEmbedding = eqx.field(static=True)
    cod_emb: LinearEmbedding = eqx.field(static=True)

    @cached_property
    def domain_shapes(self) -> tuple[tuple[int, ...], ...]:
        """The shapes of the leaves of the domain's sub-statistic."""
        return tuple(leaf.shape for leaf in jax.tree.leaves(self.dom_emb.sub_man.template()))

    @property
    def domain_embedding(self) -> LinearEmbedding:
        """`dom_emb`."""
        return self.dom_emb

    @property
    def sub_statistics(self) -> tuple:
        """The sub-statistics of the domain and the codomain."""
        return ((self.dom_emb.sub_man, self.cod_emb.sub_man),)

    @property
    def dim(self) -> int:
        """The product of the dimensions of the two sub-statistics."""
        return self.dom_emb.sub_man.dim * self.cod_emb.sub_man.dim

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        zero = self.cod_emb.sub_man.zeros(coordinates)

        def batch(shape: tuple[int, ...]) -> Point:
            return jax.tree.map(lambda leaf: jnp.zeros(shape + leaf.shape, leaf.dtype), zero)

        return LinearMapPoint(tuple(batch(s) for s in self.domain_shapes), self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        domain, codomain = self.dom_emb.sub_man, self.cod_emb.sub_man
        columns = []
        for row, shape in zip(point.rows, self.domain_shapes, strict=True):
            flat = _map_axes(codomain.ravel, len(shape))(row)
            columns.append(jnp.moveaxis(flat, -1, 0))
        structure = jax.tree.structure(domain.template(point.coordinates))
        return jax.vmap(domain.ravel)(jax.tree.unflatten(structure, columns)).reshape(-1)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        domain, codomain = self.dom_emb.sub_man, self.cod_emb.sub_man
        matrix = jnp.asarray(vector).reshape(codomain.dim, domain.dim)
        columns = jax.vmap(lambda row: domain.unravel(row, coordinates))(matrix)
        rows = []
        for leaf, shape in zip(jax.tree.leaves(columns), self.domain_shapes, strict=True):
            build = _map_axes(lambda v: codomain.unravel(v, coordinates), len(shape))
            rows.append(build(jnp.moveaxis(leaf, 0, -1)))
        return LinearMapPoint(tuple(rows), self, coordinates)

    def apply(self, point: Natural, statistic: Mean) -> Natural:
        """The product with a mean point of the domain's sub-statistic."""

        def contract(leaf: Array, row: Point) -> Point:
            def product(a: Array) -> Array:  # one-hot statistics have the default dtype
                return jnp.tensordot(leaf.astype(a.dtype), a, axes=leaf.ndim)

            return jax.tree.map(product, row)

        leaves = jax.tree.leaves(statistic)
        terms = [contract(leaf, row) for leaf, row in zip(leaves, point.rows, strict=True)]
        return functools.reduce(operator.add, terms)

    def translate_codomain(self, observable: Natural, point: Natural, latent: Any) -> Natural:
        return self.translate_at(observable, point, self.dom_emb.observe(latent))

    def translate_at(self, observable: Natural, point: Natural, interacting: Any) -> Natural:
        family: Any = self.dom_emb.sub_man
        statistic = family.sufficient_statistic(interacting)
        return self.cod_emb.translate(observable, self.apply(point, statistic))

    def pull(self, point: Natural, x: Any) -> Natural:
        r"""$\Theta_{XZ}^T s_X(x)$, what an observation adds to the domain's sub-statistic.

        **Arguments:**

        - `point`: natural.
        - `x`: an observation of the manifold into which the codomain is embedded.
        """
        family: Any = self.cod_emb.sub_man
        x = self.cod_emb.observe(x)
        pairs = zip(point.rows, self.domain_shapes, strict=True)
        leaves = [_map_axes(lambda row: family.energy(row, x), len(s))(row) for row, s in pairs]
        structure = jax.tree.structure(self.dom_emb.sub_man.template(Coordinates.NATURAL))
        return jax.tree.unflatten(structure, leaves)

    def compose_domain(self, embedding: LinearEmbedding) -> "LinearMap":
        return LinearMap(compose(embedding, self.dom_emb), self.cod_emb)

    def compose_codomain(self, embedding: LinearEmbedding) -> "LinearMap":
        return LinearMap(self.dom_emb, compose(embedding, self.cod_emb))

    def adopt(self, point: Point) -> Point:
        check_sub_statistics(self, point)
        return LinearMapPoint(point.rows, self, point.coordinates)

    def substitute_codomain(self, point: Natural, scale: Any, shift: Any) -> Natural:
        family: Any = self.cod_emb.sub_man
        scale, shift = (None if a is None else self.cod_emb.observe(a) for a in (scale, shift))
        origin = family.substitute(zeros_like(family, point), scale, shift)

        def replace(column: Point) -> Point:
            return family.substitute(column, scale, shift) - origin

        shapes = self.domain_shapes
        rows = tuple(_map_axes(replace, len(s))(r) for s, r in zip(shapes, point.rows, strict=True))
        return LinearMapPoint(rows, self, point.coordinates)

    def substitute_domain(self, point: Natural, scale: Any) -> Natural:
        family: Any = self.dom_emb.sub_man
        structure = jax.tree.structure(family.template(Coordinates.NATURAL))

        def replace(*leaves: Array) -> list[Array]:
            domain_point = jax.tree.unflatten(structure, leaves)
            return jax.tree.leaves(family.substitute(domain_point, scale, None))

        def replace_all(*leaves: Array) -> list[Array]:
            axes = [leaf.ndim - len(s) for leaf, s in zip(leaves, self.domain_shapes, strict=True)]
            mapped = replace
            for _ in range(axes[0]):
                mapped = jax.vmap(mapped, in_axes=-1, out_axes=-1)
            return mapped(*leaves)

        rows = jax.tree.map(lambda *leaves: tuple(replace_all(*leaves)), *point.rows)
        outer = jax.tree.structure(self.cod_emb.sub_man.template(Coordinates.NATURAL))
        inner = jax.tree.structure((0,) * len(self.domain_shapes))
        return LinearMapPoint(jax.tree.transpose(outer, inner, rows), self, point.coordinates)


def _map_axes(function: Any, n_axes: int) -> Any:
    for _ in range(n_axes):
        function = jax.vmap(function)
    return function


def _merge_axes(point: Point, n_axes: int) -> Point:
    def merge(leaf: Array) -> Array:
        return leaf.reshape(math.prod(leaf.shape[:n_axes]), *leaf.shape[n_axes:])

    return jax.tree.map(merge, point)


def check_sub_statistics(interaction: InteractionMap, point: Point) -> None:
    """Checks that a point is one of a map between the same sub-statistics."""
    other: Any = point.manifold
    if interaction.sub_statistics != other.sub_statistics:
        raise TypeError(
            f"a map between {interaction.sub_statistics} cannot adopt a point of a map between "
            f"{other.sub_statistics}: the interacting statistics differ."
        )
