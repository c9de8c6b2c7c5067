"""Embeddings: how one manifold sits in another."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax

from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, relabel
from harmonium.geometry.structure import Structure

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class Embedding(Structure):
    r"""A map from the natural parameters of a submanifold to those of an ambient manifold.

    Mathematically, an embedding $e$ gives the submodel $p(x; e(\theta))$ of an ambient family. Its
    derivative pulls mean parameters back: the chain rule for a function of $e(\theta)$.
    """

    sub_man: AbstractVar[Manifold]
    amb_man: AbstractVar[Manifold]

    @abstractmethod
    def embed(self, point: Natural) -> Natural:
        """The natural point of `amb_man` that a natural point of `sub_man` stands for."""

    def pullback(self, point: Natural, cotangent: Mean) -> Mean:
        r"""The mean-labelled cotangent of `amb_man` at `embed(point)`, pulled back to `sub_man`.

        Mathematically, $J_e(\theta)^T \eta$ with the Jacobian $J_e$ of the embedding; for a
        linear embedding this is `project`, whatever the point.

        **Arguments:**

        - `point`: natural, on `sub_man`, where the derivative is taken.
        - `cotangent`: mean, on `amb_man`.

        **Returns:** a mean point of `sub_man`.
        """
        self.amb_man.check_point(cotangent)
        _, transpose = jax.vjp(self.embed, point)
        return relabel(transpose(relabel(cotangent))[0])


class LinearEmbedding(Embedding):
    r"""An embedding that is linear in natural parameters, so that it has an adjoint.

    `embed` is safe on natural points only and `project` on mean points only, and both refuse the
    other kind. They are adjoint: `dot(embed(theta), eta) == dot(theta, project(eta))`.
    """

    @abstractmethod
    def project(self, point: Mean) -> Mean:
        """The mean point of `sub_man` that a mean point of `amb_man` projects to."""

    @abstractmethod
    def restrict(self, point: Natural) -> Natural:
        """The natural point of `sub_man` closest to a natural point of `amb_man`.

        It undoes `embed`, and drops what `sub_man` cannot hold: check that nothing is lost.
        """

    @abstractmethod
    def translate(self, point: Natural, shift: Natural) -> Natural:
        """The natural point plus the embedded shift; only the leaves it reaches are changed.

        **Arguments:**

        - `point`: natural, on `amb_man`.
        - `shift`: natural, on `sub_man`.
        """

    @abstractmethod
    def observe(self, x: Any) -> Any:
        """The observation of `sub_man` in one of `amb_man`: `s_sub(observe(x)) = project(s(x))`."""

    def translate_through(
        self, inner: "LinearEmbedding", point: Natural, shift: Natural
    ) -> Natural:
        """`translate` of the composition of this embedding with one into its `sub_man`.

        A performance hook: an embedding that picks a part of the ambient point changes only
        that part.
        """
        return self.translate(point, inner.embed(shift))


def zeros_like(manifold: Manifold, point: Point) -> Point:
    """The natural origin of a manifold in the floating point type of another point."""
    leaves = jax.tree.leaves(point)
    origin = manifold.zeros(Coordinates.NATURAL)
    return jax.tree.map(lambda leaf: leaf.astype(leaves[0].dtype), origin) if leaves else origin


class RestrictionEmbedding(LinearEmbedding):
    """An embedding of the posterior's latent manifold in the prior's, which may be fuller."""

    @abstractmethod
    def dominate(self, point: Natural) -> Natural:
        """A natural point `d` of `sub_man` such that adding `point - embed(d)` is always safe.

        For normals that means that `embed(d) - point` is positive semi-definite, so that
        `theta + point - embed(d)` is a valid natural point of `amb_man` for each valid `theta`.
        """


class IdentityEmbedding(RestrictionEmbedding):
    """A manifold in itself.

    **Fields:** `manifold`.
    """

    manifold: Manifold = eqx.field(static=True)

    @property
    def sub_man(self) -> Manifold:
        """The manifold."""
        return self.manifold

    @property
    def amb_man(self) -> Manifold:
        """The manifold."""
        return self.manifold

    def embed(self, point: Natural) -> Natural:
        self.manifold.check_point(point)
        return point

    def project(self, point: Mean) -> Mean:
        self.manifold.check_point(point)
        return point

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + shift

    def observe(self, x: Any) -> Any:
        return x

    def restrict(self, point: Natural) -> Natural:
        self.manifold.check_point(point)
        return point

    def dominate(self, point: Natural) -> Natural:
        self.manifold.check_point(point)
        return point


class ComposedEmbedding(LinearEmbedding):
    """An embedding into a manifold which is itself embedded; see `compose`.

    **Fields:** `outer` and `inner`, linear embeddings; the submanifold of the outer one is the
    ambient manifold of the inner one.
    """

    outer: LinearEmbedding = eqx.field(static=True)
    inner: LinearEmbedding = eqx.field(static=True)

    def __check_init__(self):
        if self.inner.amb_man != self.outer.sub_man:
            raise TypeError(
                f"cannot compose embeddings: the inner one embeds into {self.inner.amb_man}, the "
                f"outer one embeds {self.outer.sub_man}. These must be the same manifold."
            )

    @property
    def sub_man(self) -> Manifold:
        """The inner embedding's submanifold."""
        return self.inner.sub_man

    @property
    def amb_man(self) -> Manifold:
        """The outer embedding's ambient manifold."""
        return self.outer.amb_man

    def embed(self, point: Natural) -> Natural:
        return self.outer.embed(self.inner.embed(point))

    def project(self, point: Mean) -> Mean:
        return self.inner.project(self.outer.project(point))

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return self.outer.translate_through(self.inner, point, shift)

    def restrict(self, point: Natural) -> Natural:
        return self.inner.restrict(self.outer.restrict(point))

    def observe(self, x: Any) -> Any:
        return self.inner.observe(self.outer.observe(x))

    def translate_through(self, inner: LinearEmbedding, point: Natural, shift: Natural) -> Natural:
        return self.outer.translate_through(compose(self.inner, inner), point, shift)


def compose(outer: LinearEmbedding, inner: LinearEmbedding) -> LinearEmbedding:
    """The composition of two embeddings, `inner` first; identities are dropped.

    **Raises:** `TypeError` if the inner one's ambient manifold is not the outer one's submanifold.
    """
    composed = ComposedEmbedding(outer, inner)
    if isinstance(outer, IdentityEmbedding):
        return inner
    return outer if isinstance(inner, IdentityEmbedding) else composed


class TupleEmbedding(LinearEmbedding):
    """One component of a manifold whose points are tuples of components.

    Embedding sets the other components to zero. As that is what leaves a sum of *natural*
    parameters alone, and as a component of *mean* parameters is the mean of the component,
    `embed` takes natural points and `project` takes mean points.
    """

    @abstractmethod
    def part(self, point: Point) -> Point:
        """The component of an ambient point."""

    @abstractmethod
    def replace(self, point: Point, part: Point) -> Point:
        """The ambient point with another component in the place of this one."""

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        return self.replace(zeros_like(self.amb_man, point), point)

    def project(self, point: Mean) -> Mean:
        self.amb_man.check_point(point)
        return self.part(point)

    def restrict(self, point: Natural) -> Natural:
        self.amb_man.check_point(point)
        return self.part(point)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        self.amb_man.check_point(point)
        return self.replace(point, self.part(point) + shift)

    def translate_through(self, inner: LinearEmbedding, point: Natural, shift: Natural) -> Natural:
        self.amb_man.check_point(point)
        return self.replace(point, inner.translate(self.part(point), shift))
