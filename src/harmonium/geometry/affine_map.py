"""Affine maps between statistics: the likelihoods of harmoniums."""

import equinox as eqx

from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Coordinates, Point
from harmonium.geometry.product import Composite, CompositePoint
from harmonium.geometry.structure import Structure


class AffinePoint(CompositePoint):
    """A point of an affine map: the offset and the linear part.

    **Fields:** `observable` (the offset), `interaction` (the linear part), and the static
    `manifold` and `coordinates`.
    """

    observable: Point
    interaction: Point
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    @property
    def parts(self) -> tuple[Point, Point]:
        """The offset and the linear part."""
        return (self.observable, self.interaction)


class AffineMap(Composite):
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

    def _assemble(self, points: tuple[Point, Point], coordinates: Coordinates) -> Point:
        return AffinePoint(*points, self, coordinates)
