"""Embeddings of components of products, and of several statistics at once."""

import functools
import operator
from typing import Any

import equinox as eqx

from harmonium.geometry.embedding import (
    LinearEmbedding,
    TupleEmbedding,
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

    def part(self, point: Point) -> Point:
        return point.components[self.index]

    def replace(self, point: Point, part: Point) -> Point:
        components = list(point.components)
        components[self.index] = part
        return ProductPoint(tuple(components), self.product, point.coordinates)

    def observe(self, x: Any) -> Any:
        return x[self.index]
