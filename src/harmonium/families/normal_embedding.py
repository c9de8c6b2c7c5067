"""Embeddings into normals: of their locations, and of sparser covariance structures."""

from typing import Any

import equinox as eqx
import jax.numpy as jnp

from harmonium.families.euclidean import Euclidean
from harmonium.families.normal import LocationShape, Normal
from harmonium.geometry.embedding import LinearEmbedding, RestrictionEmbedding
from harmonium.geometry.point import Coordinates, Mean, Natural, VectorPoint


class LocationEmbedding(LinearEmbedding):
    r"""The locations of a normal: natural points $(\theta_1, 0)$, mean points $E[x]$.

    **Fields:** `normal`, the ambient manifold; the submanifold is `Euclidean`.
    """

    normal: Normal = eqx.field(static=True)

    @property
    def sub_man(self) -> Euclidean:
        """Real vectors."""
        return Euclidean(self.normal.data_dim)

    @property
    def amb_man(self) -> Normal:
        """The normal."""
        return self.normal

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        shape = jnp.zeros_like(self.normal.zeros().shape, point.values.dtype)
        return LocationShape(point.values, shape, self.normal, Coordinates.NATURAL)

    def project(self, point: Mean) -> Mean:
        self.normal.check_point(point)
        return VectorPoint(point.location, self.sub_man, Coordinates.MEAN)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        self.normal.check_point(point)
        self.sub_man.check_point(shift)
        return LocationShape(
            point.location + shift.values, point.shape, self.normal, Coordinates.NATURAL
        )

    def restrict(self, point: Natural) -> Natural:
        self.normal.check_point(point)
        return VectorPoint(point.location, self.sub_man, Coordinates.NATURAL)

    def observe(self, x: Any) -> Any:
        return x


class NormalCovarianceEmbedding(RestrictionEmbedding):
    r"""Normals with a sparser covariance structure among those with a fuller one.

    Natural parameters embed, $\theta_2 \mapsto \theta_2$ as a fuller matrix, and second moments
    project to their diagonal or trace.

    **Fields:** `sub_man` and `amb_man`, normals of the same length. A normal with `Identity()`
    covariance is no linear submanifold: its precision is fixed to one, not to zero.
    """

    sub_man: Normal = eqx.field(static=True)
    amb_man: Normal = eqx.field(static=True)

    def __check_init__(self):
        if self.sub_man.data_dim != self.amb_man.data_dim:
            raise TypeError(
                f"cannot embed {self.sub_man} into {self.amb_man}: they observe vectors of "
                "different lengths."
            )
        if not self.amb_man.covariance_structure.contains(self.sub_man.covariance_structure):
            raise TypeError(
                f"cannot embed {self.sub_man} into {self.amb_man}: covariance structures embed "
                "linearly from Scale() to Diagonal() to PositiveDefinite()."
            )

    @property
    def _structures(self) -> Any:
        return self.sub_man.covariance_structure, self.amb_man.covariance_structure

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        sub, amb = self._structures
        shape = amb.view(sub, point.shape, self.sub_man.data_dim)
        return LocationShape(point.location, shape, self.amb_man, Coordinates.NATURAL)

    def project(self, point: Mean) -> Mean:
        self.amb_man.check_single(point)
        sub, amb = self._structures
        shape = sub.keep_moment(amb, point.shape, self.sub_man.data_dim)
        return LocationShape(point.location, shape, self.sub_man, Coordinates.MEAN)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + self.embed(shift)

    def observe(self, x: Any) -> Any:
        return x

    def restrict(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        sub, amb = self._structures
        shape = sub.keep_matrix(amb, point.shape, self.sub_man.data_dim)
        return LocationShape(point.location, shape, self.sub_man, Coordinates.NATURAL)

    def dominate(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        sub, amb = self._structures
        shape = sub.dominate(amb, point.shape, self.sub_man.data_dim)
        return LocationShape(point.location, shape, self.sub_man, Coordinates.NATURAL)
