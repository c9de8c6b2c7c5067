"""The multivariate normal distribution, with four covariance structures."""

import functools
import math
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import all_finite, real_array, require
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.partial import (
    expected_observation,
    log_partial_measure,
    mask_out,
    sample_hidden,
)
from harmonium.geometry.diagonal import Diagonal, Identity
from harmonium.geometry.matrix import (
    CovarianceStructure,
    PositiveDefinite,
    scale_location,
)
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    Point,
    check_trailing_shape,
    real_leaf,
)
from harmonium.geometry.structure import AnyArray, Structure


class LocationShape(Point):
    """A point of a normal family: a vector and a symmetric matrix.

    **Fields:** `location` (`*batch n`); `shape`, the matrix as its covariance structure stores it,
    `(*batch, n, n)`, `(*batch, n)`, `batch` or `(*batch, 0)`; and the static `manifold` and
    `coordinates`. In natural coordinates they are the precision times the mean, and minus half the
    precision; in mean coordinates the first and the second moment.
    """

    location: Float[Array, "*batch n"] = eqx.field(converter=real_leaf)
    shape: Float[Array, "..."] = eqx.field(converter=real_leaf)
    manifold: Structure = eqx.field(static=True)
    coordinates: Coordinates = eqx.field(static=True)

    def __check_init__(self):
        normal: Any = self.manifold
        leaf_shape = normal.covariance_structure.leaf_shape(normal.data_dim)
        check_trailing_shape("location", self.location, (normal.data_dim,), normal)
        check_trailing_shape("shape", self.shape, leaf_shape, normal)
        if self.shape.shape != self.batch_shape + leaf_shape:
            raise ValueError(
                f"the location and the shape of a point of {normal} must have the same batch axes, "
                f"got {self.location.shape} and {self.shape.shape}."
            )

    @property
    def batch_shape(self) -> tuple[int, ...]:
        """The leading axes of `location`."""
        return self.location.shape[:-1]


class Conditioned(NamedTuple):
    """A vector of which some entries are observed, and what is known of the others.

    **Fields:** `mean`, (n,), of the vector; `covariance`, of the hidden entries, see
    `hidden_covariance`; and the `evidence` of the observed ones.
    """

    mean: Float[Array, " n"]
    covariance: Float[Array, "..."]
    evidence: Float[Array, ""]


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_integral(structure: Any, location: Array, precision: Array) -> Array:
    r"""$\frac12 u \cdot P^{-1} u - \frac12 \log |P|$ of a location $u$ and a precision $P$.

    Its derivatives are the mean $\mu = P^{-1} u$ and $-\frac12 (P^{-1} + \mu \mu^T)$. That of the
    inverse would be made of products, which are slow for many small matrices.
    """
    return _integrate(structure, location, precision)[0]


def _integrate(structure: Any, location: Array, precision: Array) -> tuple[Array, Array, Array]:
    """The value, the mean, and the covariance."""
    covariance, log_determinant = structure.inverse_and_log_determinant(precision, len(location))
    mean = structure.apply(covariance, location[None])[0]
    return 0.5 * (location @ mean - log_determinant), mean, covariance


@_log_integral.defjvp
def _(structure: Any, primals: Any, tangents: Any) -> Any:
    value, mean, covariance = _integrate(structure, *primals)
    step, change = tangents
    slope = mean @ step
    if structure.is_linear:
        spread = structure.moment_from_matrix(covariance, len(mean))
        slope = slope - 0.5 * (structure.quadratic(change, mean) + jnp.sum(spread * change))
    return value, slope


class Normal(Differentiable, Generative):
    r"""The multivariate normal distribution on vectors of length $n$.

    $p(x) = (2\pi)^{-n/2} \exp(\theta_1 \cdot x + \theta_2 \cdot x x^T - \psi(\theta))$ with natural
    parameters $\theta_1 = \Sigma^{-1} \mu$ and $\theta_2 = -\frac12 \Sigma^{-1}$, mean parameters
    $E[x]$ and $E[x x^T]$, and
    $\psi(\theta) = -\frac14 \theta_1^T \theta_2^{-1} \theta_1 - \frac12 \log |-2\theta_2|$.
    Covariance structures restrict $\theta_2$ to a linear space of matrices (`hm.Diagonal()`,
    `hm.Scale()`), or fix the covariance to the identity (`hm.Identity()`).

    **Arguments:**

    - `data_dim`: $n$.
    - `covariance`: the covariance structure, any by default.
    """

    data_dim: int = eqx.field(static=True)
    covariance_structure: CovarianceStructure = eqx.field(static=True)

    def __init__(self, data_dim: int, covariance: CovarianceStructure | None = None):
        if data_dim < 1:
            raise ValueError(f"a normal needs at least one dimension, got {data_dim}.")
        self.data_dim = data_dim
        self.covariance_structure = PositiveDefinite() if covariance is None else covariance

    # --- manifold

    @property
    def dim(self) -> int:
        """The number of distinct entries of the vector and of the matrix."""
        return self.data_dim + self.covariance_structure.dim(self.data_dim)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        shape = jnp.zeros(self.covariance_structure.leaf_shape(self.data_dim))
        return LocationShape(jnp.zeros(self.data_dim), shape, self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        doubled = point.coordinates is Coordinates.NATURAL
        shape = self.covariance_structure.ravel(point.shape, doubled)
        return jnp.concatenate([point.location, shape])

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        n, doubled, vector = self.data_dim, coordinates is Coordinates.NATURAL, jnp.asarray(vector)
        shape = self.covariance_structure.unravel(vector[n:], n, doubled)
        return LocationShape(vector[:n], shape, self, coordinates)

    # --- exponential family

    @property
    def observation(self) -> Any:
        """A real vector of length `data_dim`."""
        return jax.ShapeDtypeStruct((self.data_dim,), float)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return jnp.all(jnp.isfinite(x))

    def sufficient_statistic(self, x: Any) -> Mean:
        x = self.check_form(x, batch=False)
        moment = self.covariance_structure.cross_moment(x[None], x[None])
        return LocationShape(x, moment, self, Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        constant = -0.5 * self.data_dim * math.log(2 * math.pi)
        if self.covariance_structure == Identity():
            return constant - 0.5 * jnp.sum(jnp.square(x))
        return jnp.asarray(constant, jnp.result_type(float))

    def energy(self, point: Natural, x: Any) -> Float[Array, ""]:
        structure, linear = self.covariance_structure, point.location @ x
        return linear + structure.quadratic(point.shape, x) if structure.is_linear else linear

    # --- evidence and duality

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return _log_integral(self.covariance_structure, point.location, -2 * point.shape)

    def translated_evidence(
        self, point: Natural, shift: Natural, x: Any, observed: Any
    ) -> Float[Array, ""]:
        r"""With nothing observed, the quadratic form of the sum of the locations, expanded.

        So the covariances of $K$ components times the shifts of $N$ observations are one product.
        """
        if x is not None:
            return self.evidence_kernel(point + shift, x, observed)
        structure, own, other = self.covariance_structure, point.location, shift.location
        precision = -2 * (point.shape + shift.shape)
        covariance, log_determinant = structure.inverse_and_log_determinant(
            precision, self.data_dim
        )
        quadratic = structure.parametric_quadratic
        squares = quadratic(covariance, own) + quadratic(covariance, other)
        cross = structure.apply(covariance, own[None])[0] @ other
        return 0.5 * (squares - log_determinant) + cross

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        if x is None:
            return self.log_partition_kernel(point)
        if observed is None:
            return self.energy(point, x)
        return self.condition(point, x, observed).evidence

    def condition(self, point: Natural, x: Any, observed: Bool[Array, " n"]) -> "Conditioned":
        r"""The distribution of hidden entries given observed ones.

        Mathematically, with precision $J$ and zeros for hidden entries of $x$, these have the
        natural location $u = (\theta_1 - J x)_u$ and the covariance $H = J_{uu}^{-1}$, so that the
        evidence is $\theta \cdot s(x) + \frac12 u \cdot H u - \frac12 \log |J_{uu}|$.
        """
        structure = self.covariance_structure
        precision = structure.symmetrize(-2 * point.shape)
        hidden, log_determinant = structure.hidden_covariance(precision, observed)
        shown = jnp.where(observed, x, 0)
        force = point.location - structure.apply(precision, shown[None])[0]
        mean = hidden * force if hidden.ndim == 1 else hidden @ force
        evidence = self.energy(point, shown) + 0.5 * (force @ mean - log_determinant)
        return Conditioned(shown + mean, hidden, evidence)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        structure, mean = self.covariance_structure, point.location
        moment = point.shape - structure.cross_moment(mean[None], mean[None])
        return self.from_moments(mean, structure.matrix_from_moment(moment, self.data_dim))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return self.in_domain(self.to_natural(point))

    # --- partly observed vectors

    @property
    def mask(self) -> Any:
        """One truth value for each entry of the vector."""
        return jax.ShapeDtypeStruct((self.data_dim,), bool)

    # --- sampling and starts

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, " {self.data_dim}"]:
        structure = self.covariance_structure
        factor = structure.factor(-2 * point.shape, self.data_dim)
        mean = structure.solve(factor, point.location[:, None])[:, 0]
        noise = jax.random.normal(key, (self.data_dim,), point.location.dtype)
        return mean + structure.color(factor, noise)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """The normal with the moments of a few standard normal vectors."""
        xs = jax.random.normal(key, (4 * self.data_dim + 4, self.data_dim))
        return self.to_natural(self.average_sufficient_statistic(xs))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """A normal near the sample's moments.

        Its mean is the sample's plus a tenth of a standard deviation of noise, and its covariance
        is nine tenths the sample's and one tenth diagonal, so that few or collinear observations
        and constant columns do no harm.
        """
        xs = self.check_data(xs)
        structure, n = self.covariance_structure, self.data_dim
        mean, variances = jnp.mean(xs, axis=0), jnp.var(xs, axis=0)
        typical = jnp.mean(variances)
        variances = jnp.where(typical > 0, variances + 1e-3 * typical, jnp.ones_like(variances))
        centred = xs - mean[None]
        sample = structure.matrix_from_moment(structure.cross_moment(centred, centred) / len(xs), n)
        covariance = 0.9 * sample + 0.1 * structure.view(Diagonal(), variances, n)
        noise = jax.random.normal(key, (n,), xs.dtype)
        return self.from_moments(mean + 0.1 * jnp.sqrt(variances) * noise, covariance)

    # --- standard parameters

    def from_mean_covariance(self, mean: Any, covariance: Any = None) -> Natural:
        """The natural point with this mean and covariance.

        **Arguments:**

        - `mean`: (data_dim,).
        - `covariance`: (data_dim, data_dim); variances (data_dim,) for `Diagonal`; one variance
            for `Scale`; `None` for `Identity`.

        **Raises:** an error for other shapes, for numbers that are not finite, and for a covariance
        that is not symmetric and positive definite.
        """
        structure, n = self.covariance_structure, self.data_dim
        mean = real_array(mean, (n,), f"the mean of {self}")
        mean = require(mean, all_finite(mean), f"the mean of {self} must be finite.")
        if structure == Identity():
            if covariance is not None:
                raise ValueError(
                    f"{self} has unit covariance: pass None, or use a normal with Scale(), "
                    "Diagonal() or PositiveDefinite() covariance."
                )
            return self.from_moments(mean, jnp.zeros(0, mean.dtype))
        covariance = real_array(covariance, structure.leaf_shape(n), f"the covariance of {self}")
        dtype = np.promote_types(mean.dtype, covariance.dtype)
        mean, covariance = mean.astype(dtype), covariance.astype(dtype)
        covariance = require(
            covariance,
            structure.is_positive(covariance),
            f"the covariance of {self} must be symmetric and positive definite; add a small "
            "multiple of the identity if it is singular.",
        )
        return self.from_moments(mean, covariance)

    def mean(self, point: Natural) -> Float[Array, " {self.data_dim}"]:
        """The mean of a natural point."""
        self.check_single(point)
        return self.mean_and_covariance(point)[0]

    def covariance(self, point: Natural) -> Float[Array, "..."] | None:
        """The covariance of a natural point, in the form that `from_mean_covariance` takes."""
        self.check_single(point)
        if self.covariance_structure == Identity():
            return None
        return self.mean_and_covariance(point)[1]

    def mean_and_covariance(self, point: Natural) -> tuple[Array, Array]:
        """Both of a natural point, the covariance as its structure stores it, without checks."""
        covariance, _ = self._covariance(point)
        return self.covariance_structure.apply(covariance, point.location[None])[0], covariance

    def _covariance(self, point: Natural) -> tuple[Array, Array]:
        """The covariance, and the log determinant of the precision."""
        structure = self.covariance_structure
        return structure.inverse_and_log_determinant(-2 * point.shape, self.data_dim)

    def from_moments(self, mean: Array, covariance: Array) -> Natural:
        """`from_mean_covariance` without checks, for arrays of the right shapes."""
        structure = self.covariance_structure
        precision = structure.inverse(structure.factor(covariance, self.data_dim), self.data_dim)
        location = structure.apply(precision, mean[None])[0]
        return LocationShape(location, -0.5 * precision, self, Coordinates.NATURAL)


@substitute.register
def _(family: Normal, point: Natural, scale: Any, shift: Any) -> Natural:
    r"""The normal of $y$, where $x = B y + c$.

    Mathematically, the new parameters are $B^T \theta_2 B$ and $B^T (\theta_1 + 2 \theta_2 c)$. The
    scale is a scalar, a diagonal, or a matrix, as the covariance structure admits.
    """
    family.check_single(point)
    structure, precision, location = family.covariance_structure, -2 * point.shape, point.location
    if shift is not None:
        shift = real_array(shift, (family.data_dim,), f"a shift of {family}")
        shift = shift.astype(precision.dtype)
        location = location - structure.apply(precision, shift[None])[0]
    if scale is not None:
        scale = jnp.asarray(scale, precision.dtype)
        structure.check_scale(scale, family.data_dim)
        precision = structure.substitute(precision, scale, family.data_dim)
    location = scale_location(location, scale)
    return LocationShape(location, -0.5 * precision, family, Coordinates.NATURAL)


@log_partial_measure.register
def _(family: Normal, x: Any, observed: Any) -> Float[Array, ""]:
    hidden = jnp.sum(~observed).astype(x.dtype)
    return family.log_base_measure(x).astype(x.dtype) + 0.5 * hidden * math.log(2 * math.pi)


@expected_observation.register
def _(family: Normal, point: Mean) -> Any:
    """The mean."""
    return point.location


@sample_hidden.register
def _(family: Normal, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
    r"""Normal given what is observed, with precision $J_{uu}$.

    The draw of the whole vector is corrected by the regression on what is observed.
    """
    drawn = family.sample_one(key, point)
    mean = family.condition(point, mask_out(family, x, observed), observed).mean
    correction = mean - family.condition(point, drawn, observed).mean
    return jnp.where(observed, x, drawn + correction)
