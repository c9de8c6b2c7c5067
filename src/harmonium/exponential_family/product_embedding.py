"""Embeddings of products, part by part."""

from typing import Any

import equinox as eqx

from harmonium.exponential_family.product import Product
from harmonium.geometry.embedding import RestrictionEmbedding
from harmonium.geometry.point import Coordinates, Mean, Natural
from harmonium.geometry.product import ProductPoint, zip_parts
from harmonium.geometry.structure import cached_property


class ProductEmbedding(RestrictionEmbedding):
    """A product of families in another, each part by an embedding of its own.

    **Arguments:**

    - `*parts`: restriction embeddings, such as `hm.geometry.IdentityEmbedding(family)` and
        `hm.families.NormalCovarianceEmbedding(sub, amb)`.
    """

    parts: tuple = eqx.field(static=True)

    def __init__(self, *parts: RestrictionEmbedding):
        self.parts = parts

    @cached_property
    def sub_man(self) -> Product:
        """The product of the submanifolds."""
        families: Any = (part.sub_man for part in self.parts)
        return Product(*families)

    @cached_property
    def amb_man(self) -> Product:
        """The product of the ambient manifolds."""
        families: Any = (part.amb_man for part in self.parts)
        return Product(*families)

    def _map(self, function: Any, *trees: Any) -> tuple:
        return tuple(function(*own) for own in zip_parts(self.parts, *trees))

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        components = self._map(lambda part, own: part.embed(own), point)
        return ProductPoint(components, self.amb_man, Coordinates.NATURAL)

    def project(self, point: Mean) -> Mean:
        self.amb_man.check_single(point)
        components = self._map(lambda part, own: part.project(own), point)
        return ProductPoint(components, self.sub_man, Coordinates.MEAN)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        self.amb_man.check_single(point)
        components = self._map(lambda part, *own: part.translate(*own), point, shift)
        return ProductPoint(components, self.amb_man, Coordinates.NATURAL)

    def observe(self, x: Any) -> Any:
        return self._map(lambda part, xi: part.observe(xi), x)

    def restrict(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        components = self._map(lambda part, own: part.restrict(own), point)
        return ProductPoint(components, self.sub_man, Coordinates.NATURAL)

    def dominate(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        components = self._map(lambda part, own: part.dominate(own), point)
        return ProductPoint(components, self.sub_man, Coordinates.NATURAL)
