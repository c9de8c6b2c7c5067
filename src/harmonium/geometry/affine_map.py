"""Affine maps between statistics: the likelihoods of harmoniums."""

from typing import Any

import equinox as eqx
from jaxtyping import Array, Float

from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Point
from harmonium.geometry.product import check_parts, ravel_parts, unravel_parts
from harmonium.geometry.structure import AnyArray, Structure


class AffinePoint(Point):
    """A point of an affine map: the offset and the linear part.

    **Fields:** `observable` (the offset), `interaction` (the linear part), and the static
    `manifold` and `coordinates`.
    """

    observable: Point
    interaction: Point
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        affine_map: Any = self.manifold
        check_parts(self, (self.observable, self.interaction), affine_map.parts)

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of the offset."""
        return self.observable.batch_shape


class AffineMap(Manifold):
    r"""Affine maps from latent observations to natural parameters: likelihoods.

    Mathematically, $z \mapsto \theta_X + \Theta_{XZ} s_Z(z)$, the natural parameters of $p(x|z)$.

    **Fields:** `obs_man`, the manifold of the offset, and `int_man`, that of the linear part.
    """

    obs_man: Manifold = eqx.field(static=True)
    int_man: Manifold = eqx.field(static=True)

    @property
    def parts(self) -> tuple[Manifold, Manifold]:
        """The two manifolds."""
        return (self.obs_man, self.int_man)

    @property
    def dim(self) -> int:
        """The sum of the two dimensions."""
        return self.obs_man.dim + self.int_man.dim

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return AffinePoint(
            self.obs_man.zeros(coordinates), self.int_man.zeros(coordinates), self, coordinates
        )

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return ravel_parts(self.parts, (point.observable, point.interaction))

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        observable, interaction = unravel_parts(self.parts, vector, coordinates)
        return AffinePoint(observable, interaction, self, coordinates)
