"""Embeddings of components of products, and of several statistics at once."""

import functools
import operator
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.embedding import (
    ComposedEmbedding,
    IdentityEmbedding,
    LinearEmbedding,
    Translations,
    TupleEmbedding,
    compose,
)
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point
from harmonium.geometry.product import AbstractProduct, ManifoldTuple, ProductPoint
from harmonium.geometry.structure import cached_property


class JointEmbedding(LinearEmbedding):
    r"""Several embeddings into one manifold as one: $e(\theta_1, \theta_2, \dots) = \sum_i
    e_i(\theta_i)$.

    Observations and points of the submanifold are tuples. Where the embeddings reach the same
    parameters, `restrict` does not undo `embed`: natural parameters that add up can't be told
    apart.

    **Fields:** `embeddings`, a tuple of linear embeddings with the same ambient manifold.
    """

    embeddings: tuple[LinearEmbedding, ...] = eqx.field(static=True)

    def __check_init__(self):
        if not self.embeddings:
            raise ValueError("a joint embedding needs at least one embedding.")
        first, *others = (part.amb_man for part in self.embeddings)
        for other in others:
            if other != first:
                raise TypeError(
                    f"the embeddings of a joint one are into the same manifold, got {first} and "
                    f"{other}."
                )

    @cached_property
    def sub_man(self) -> ManifoldTuple:
        """The submanifolds side by side."""
        return ManifoldTuple(tuple(part.sub_man for part in self.embeddings))

    @property
    def amb_man(self) -> Manifold:
        """The ambient manifold of all of them."""
        return self.embeddings[0].amb_man

    def _collect(self, components: tuple, coordinates: Coordinates) -> Point:
        return ProductPoint(components, self.sub_man, coordinates)

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        pairs = zip(self.embeddings, point.components, strict=True)
        return functools.reduce(operator.add, [part.embed(own) for part, own in pairs])

    def project(self, point: Mean) -> Mean:
        components = tuple(part.project(point) for part in self.embeddings)
        return self._collect(components, Coordinates.MEAN)

    def restrict(self, point: Natural) -> Natural:
        components = tuple(part.restrict(point) for part in self.embeddings)
        return self._collect(components, Coordinates.NATURAL)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        for part, own in zip(self.embeddings, shift.components, strict=True):
            point = part.translate(point, own)
        return point

    def observe(self, x: Any) -> Any:
        return tuple(part.observe(x) for part in self.embeddings)

    def translations(self, points: Natural, shifts: Natural) -> Translations:
        """By their common outermost embedding, or that of the first if these differ."""
        embeddings, components = zip(*_flatten(self, shifts), strict=True)
        found = _translate_jointly(embeddings, points, components)
        projections = _regroup(self, iter(found.projections))
        return Translations(found.log_partitions, projections, found.total)


def join(embeddings: tuple[LinearEmbedding, ...], shifts: tuple[Natural, ...]) -> tuple[Any, Any]:
    """A joint embedding, and its point with these components."""
    joint = JointEmbedding(embeddings)
    return joint, ProductPoint(shifts, joint.sub_man, Coordinates.NATURAL)


def _flatten(embedding: LinearEmbedding, shift: Natural) -> list[tuple[LinearEmbedding, Natural]]:
    """The embeddings that a joint one consists of, at any depth, with their shifts."""
    if not isinstance(embedding, JointEmbedding):
        return [(embedding, shift)]
    parts = zip(embedding.embeddings, shift.components, strict=True)
    return [pair for part, own in parts for pair in _flatten(part, own)]


def _regroup(embedding: LinearEmbedding, flat: Iterator) -> Point:
    """A mean point of the submanifold, from those of the embeddings that it consists of."""
    if not isinstance(embedding, JointEmbedding):
        return next(flat)
    components = tuple(_regroup(part, flat) for part in embedding.embeddings)
    return ProductPoint(components, embedding.sub_man, Coordinates.MEAN)


def _translate_jointly(
    embeddings: tuple[LinearEmbedding, ...], points: Natural, shifts: tuple[Natural, ...]
) -> Translations:
    """Translations by a tuple of shifts, with a tuple of projections."""
    first, *others = embeddings
    if all(other == first for other in others):
        found = first.translations(points, functools.reduce(operator.add, shifts))
        projections = (found.projections,) * len(embeddings)
        return Translations(found.log_partitions, projections, found.total)
    pairs = tuple(outermost(embedding) for embedding in embeddings)
    outer = pairs[0][0]
    if any(other != outer for other, _ in pairs):
        return outer.translations_beside(pairs, points, shifts)
    inner, joined = join(tuple(rest for _, rest in pairs), shifts)
    found = outer.translations_through(inner, points, joined)
    return Translations(found.log_partitions, found.projections.components, found.total)


def outermost(embedding: LinearEmbedding) -> tuple[LinearEmbedding, LinearEmbedding]:
    """An embedding as the composition of one that is no composition itself, and the rest."""
    if not isinstance(embedding, ComposedEmbedding):
        return embedding, IdentityEmbedding(embedding.sub_man)
    outer, rest = outermost(embedding.outer)
    return outer, compose(rest, embedding.inner)


class ComponentEmbedding(TupleEmbedding):
    """One component of a product; an observation of it is that entry of the tuple observed.

    **Fields:** `product`, and the `index` of the component, from 0.
    """

    product: AbstractProduct = eqx.field(static=True)
    index: int = eqx.field(static=True)

    def __check_init__(self):
        if not 0 <= self.index < len(self.product.parts):
            raise IndexError(
                f"{self.product} has {len(self.product.parts)} components, there is no component "
                f"{self.index}."
            )

    @property
    def sub_man(self) -> Manifold:
        """The component's manifold."""
        return self.product.parts[self.index]

    @property
    def amb_man(self) -> Manifold:
        """The product."""
        return self.product

    def component(self, point: Point) -> Point:
        return point.components[self.index]

    def replace(self, point: Point, component: Point) -> Point:
        components = list(point.components)
        components[self.index] = component
        return ProductPoint(tuple(components), self.product, point.coordinates)

    def observe(self, x: Any) -> Any:
        return x[self.index]

    def translations(self, points: Natural, shifts: Natural) -> Translations:
        return self.translations_through(IdentityEmbedding(self.sub_man), points, shifts)

    def translations_through(
        self, inner: LinearEmbedding, points: Natural, shifts: Natural
    ) -> Translations:
        parts = _translate_parts(self.product, points, {self.index: (inner, shifts)})
        return _side_by_side(self.product, parts, parts[self.index].projections)

    def translations_beside(
        self, pairs: tuple, points: Natural, shifts: tuple[Natural, ...]
    ) -> Translations:
        """Part by part: log partition functions add, means are joined."""
        if not all(isinstance(outer, ComponentEmbedding) for outer, _ in pairs):
            return super().translations_beside(pairs, points, shifts)
        places: dict[int, list[int]] = {}
        for place, (outer, _) in enumerate(pairs):
            places.setdefault(outer.index, []).append(place)
        moved = {
            index: join(tuple(pairs[i][1] for i in own), tuple(shifts[i] for i in own))
            for index, own in places.items()
        }
        parts = _translate_parts(self.product, points, moved)
        projections: list[Any] = [None] * len(pairs)
        for index, own in places.items():
            for place, found in zip(own, parts[index].projections.components, strict=True):
                projections[place] = found
        return _side_by_side(self.product, parts, tuple(projections))


def _translate_parts(
    product: Any, points: Natural, moved: dict[int, tuple[LinearEmbedding, Natural]]
) -> list[Translations]:
    """Translations of each part of a product, of which some are not moved."""
    n_shifts = jax.tree.leaves(next(iter(moved.values()))[1])[0].shape[0]

    def rest(family: Any, own: Natural) -> Translations:
        log_partitions, means = jax.vmap(family.log_partition_and_mean)(own)
        shape = (n_shifts, *log_partitions.shape)

        def total(weights: Float[Array, "n m"]) -> Mean:
            return jax.vmap(lambda mean, mass: mean * mass)(means, jnp.sum(weights, axis=0))

        return Translations(jnp.broadcast_to(log_partitions[None], shape), None, total)

    return [
        moved[index][0].translations(own, moved[index][1]) if index in moved else rest(family, own)
        for index, (family, own) in enumerate(zip(product.parts, points.components, strict=True))
    ]


def _side_by_side(product: Any, parts: list[Translations], projections: Any) -> Translations:
    """Translations of a product from those of its parts."""

    def total(weights: Float[Array, "n m"]) -> Mean:
        components = tuple(part.total(weights) for part in parts)
        return ProductPoint(components, product, Coordinates.MEAN)

    log_partitions = functools.reduce(operator.add, [part.log_partitions for part in parts])
    return Translations(log_partitions, projections, total)
