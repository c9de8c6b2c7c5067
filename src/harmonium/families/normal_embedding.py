"""Embeddings into normals: of their locations, and of sparser covariance structures."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.families.euclidean import Euclidean
from harmonium.families.normal import LocationShape, Normal
from harmonium.geometry.embedding import LinearEmbedding, RestrictionEmbedding, Translations
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, VectorPoint


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

    def sum_statistics(
        self, xs: Any, totals: Float[Array, "n m"], parts: Float[Array, "n k"]
    ) -> tuple[Mean, Mean]:
        locations = jnp.concatenate([totals, parts], axis=1).T @ xs
        moments = self.normal.covariance_structure.batch_moments(xs, totals)
        first, rest = locations[: totals.shape[1]], locations[totals.shape[1] :]
        return (
            LocationShape(first, moments, self.normal, Coordinates.MEAN),
            VectorPoint(rest, self.sub_man, Coordinates.MEAN),
        )

    @property
    def fits_components(self) -> bool:
        """Yes."""
        return True

    def fit_components(
        self, total: Mean, parts: Mean, weights: Float[Array, " k"], starts: Natural | None
    ) -> Natural:
        """Components with one covariance: what the second moment has beyond that of their means."""
        structure, n = self.normal.covariance_structure, self.normal.data_dim
        means = parts.values / weights[:, None]
        moment = total.shape - structure.cross_moment(parts.values, means)
        covariance = structure.matrix_from_moment(moment, n)
        return jax.vmap(self.normal.from_moments, (0, None))(means, covariance)

    def translations(self, points: Natural, shifts: Natural) -> Translations:
        r"""All translated points share the factorisation of their precision.

        Mathematically, with covariance $C_m$ and $c_m = C_m \theta_m$ the means are
        $\mu_{nm} = c_m + C_m u_n$, the log partition functions are
        $\frac12 (\theta_m + u_n) \cdot C_m (\theta_m + u_n) + \frac12 \log|C_m|$, and sums of
        second moments follow from the weighted moments of $u$. The quadratic is expanded around
        $\theta_0 + u_n$, in which a shift common to all points cancels as it should.
        """
        normal, structure, n = self.normal, self.normal.covariance_structure, self.normal.data_dim
        u = shifts.values

        def factorise(point: Point) -> tuple[Array, Array, Array]:
            factor = structure.factor(-2 * point.shape, n)
            covariance = structure.inverse(factor, n)
            mean = structure.apply(covariance, point.location[None])[0]
            return covariance, mean, structure.log_determinant(factor, n)

        covariances, centres, log_determinants = jax.vmap(factorise)(points)
        means = centres[None] + structure.batch_apply(covariances, u)
        base = u + points.location[:1]
        steps = points.location - points.location[:1]
        slopes = jax.vmap(lambda c, step: structure.apply(c, step[None])[0])(covariances, steps)
        constants = 0.5 * (jnp.sum(steps * slopes, axis=1) - log_determinants)
        quadratics = 0.5 * structure.batch_quadratics(covariances, base)
        log_partitions = quadratics + base @ slopes.T + constants[None]

        def single(mean: Array, covariance: Array, weight: Array) -> Mean:
            moment = structure.cross_moment(mean[None], mean[None])
            moment = moment + structure.moment_from_matrix(covariance, n)
            return LocationShape(weight * mean, weight * moment, normal, Coordinates.MEAN)

        def total(weights: Float[Array, "n m"]) -> Mean:
            if len(u) == 1:  # one shift, of which there is no sum
                return jax.vmap(single)(means[0], covariances, weights[0])
            sums = normal.sum_statistics(u, weights)

            def moments(c: Array, centre: Array, mass: Array, first: Array, second: Array) -> Mean:
                first = structure.apply(c, first[None])[0]
                left = jnp.stack([mass * centre, centre, first])
                right = jnp.stack([centre, first, centre])
                second = structure.congruence(c, second) + structure.cross_moment(left, right)
                second = second + mass * structure.moment_from_matrix(c, n)
                location = mass * centre + first
                return LocationShape(location, second, normal, Coordinates.MEAN)

            masses = jnp.sum(weights, axis=0)
            return jax.vmap(moments)(covariances, centres, masses, sums.location, sums.shape)

        projections = VectorPoint(means, self.sub_man, Coordinates.MEAN)
        return Translations(log_partitions, projections, total)


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
