"""Sums of linear maps: interactions of several statistics."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from harmonium.geometry.embedding import LinearEmbedding
from harmonium.geometry.joint_embedding import JointEmbedding
from harmonium.geometry.linear_map import InteractionMap, check_sub_statistics
from harmonium.geometry.point import Coordinates, Natural, Point
from harmonium.geometry.product import check_parts, ravel_parts, unravel_parts
from harmonium.geometry.structure import AnyArray, Structure, cached_property


class BlockMapPoint(Point):
    """A point of a sum of linear maps: one point of each.

    **Fields:** `blocks`, and the static `manifold` and `coordinates`.
    """

    blocks: tuple[Point, ...]
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        check_parts(self, self.blocks, self.manifold.maps)  # pyright: ignore[reportAttributeAccessIssue]

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the blocks."""
        return self.blocks[0].batch_shape


class BlockMap(InteractionMap):
    """A sum of linear maps between the same latent and observable manifolds.

    Each may reach another part of the latent and of the observable. Where all reach the same part
    of the latent, their shifts add up; where one of them reaches several, shifts are tuples.

    **Fields:** `maps`.
    """

    maps: tuple[InteractionMap, ...] = eqx.field(static=True)

    @property
    def domain_embedding(self) -> LinearEmbedding | None:
        """That of all the maps if they agree, and a joint embedding of all if they don't."""
        embeddings: Any = tuple(block.domain_embedding for block in self.maps)
        if None in embeddings:
            return None
        return JointEmbedding(embeddings) if self._is_joint else embeddings[0]

    @cached_property
    def _is_joint(self) -> bool:
        """Whether the maps reach different parts of the latent."""
        first, *others = (block.domain_embedding for block in self.maps)
        return first is None or any(other != first for other in others)

    @property
    def sub_statistics(self) -> tuple:
        """The sub-statistics of all blocks."""
        return tuple(pair for block in self.maps for pair in block.sub_statistics)

    @property
    def dim(self) -> int:
        """The sum of the dimensions of the blocks."""
        return sum(block.dim for block in self.maps)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return BlockMapPoint(tuple(m.zeros(coordinates) for m in self.maps), self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return ravel_parts(self.maps, point.blocks)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return BlockMapPoint(unravel_parts(self.maps, vector, coordinates), self, coordinates)

    def _zip(self, *tuples: tuple) -> Any:
        return zip(self.maps, *tuples, strict=True)

    def translate_codomain(self, observable: Natural, point: Natural, latent: Any) -> Natural:
        for block, part in self._zip(point.blocks):
            observable = block.translate_codomain(observable, part, latent)
        return observable

    def translate_at(self, observable: Natural, point: Natural, interacting: Any) -> Natural:
        latents = interacting if self._is_joint else (interacting,) * len(self.maps)
        for block, part, latent in self._zip(point.blocks, latents):
            observable = block.translate_at(observable, part, latent)
        return observable

    def compose_domain(self, embedding: LinearEmbedding) -> "BlockMap":
        return BlockMap(tuple(block.compose_domain(embedding) for block in self.maps))

    def compose_codomain(self, embedding: LinearEmbedding) -> "BlockMap":
        return BlockMap(tuple(block.compose_codomain(embedding) for block in self.maps))

    def adopt(self, point: Point) -> Point:
        check_sub_statistics(self, point)
        blocks = tuple(block.adopt(part) for block, part in self._zip(point.blocks))
        return BlockMapPoint(blocks, self, point.coordinates)

    def substitute_codomain(self, point: Natural, scale: Any, shift: Any) -> Natural:
        blocks = tuple(b.substitute_codomain(p, scale, shift) for b, p in self._zip(point.blocks))
        return BlockMapPoint(blocks, self, point.coordinates)

    def substitute_domain(self, point: Natural, scale: Any) -> Natural:
        scales = scale if self._is_joint and scale is not None else (scale,) * len(self.maps)
        triples = self._zip(point.blocks, scales)
        blocks = tuple(block.substitute_domain(part, own) for block, part, own in triples)
        return BlockMapPoint(blocks, self, point.coordinates)
