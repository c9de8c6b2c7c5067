"""Families whose parameters are plain vectors: what their files need not say again."""

import functools
from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import describe_support, require
from harmonium.exponential_family.generative import Generative
from harmonium.exponential_family.partial import expected_observation, placeholder
from harmonium.geometry.manifold import VectorManifold
from harmonium.geometry.point import Coordinates, Mean, Natural, VectorPoint, dot
from harmonium.geometry.structure import Structure


class VectorFamily(VectorManifold, Differentiable, Generative):
    """A family given by formulas on plain vectors.

    A family defines its `statistic` and `log_measure` inside the support, `typical_observation`,
    and the hooks of `Differentiable` and `Generative`.
    """

    @abstractmethod
    def statistic(self, x: Any) -> Float[Array, " {self.dim}"]:
        """The formula for the sufficient statistic of an observation inside the support."""

    @abstractmethod
    def log_measure(self, x: Any) -> Float[Array, ""]:
        """The formula for the log base measure of an observation inside the support."""

    @property
    @abstractmethod
    def typical_observation(self) -> Any:
        """Some observation inside the support, whose statistic stands for those outside of it."""

    def sufficient_statistic(self, x: Any) -> Mean:
        x = self.check_form(x, batch=False)
        return VectorPoint(self.statistic(self._inside(x)), self, Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.where(self.in_support(x), self.log_measure(self._inside(x)), -jnp.inf)

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        if x is None:
            return _log_partition(self, point)
        if observed is None:
            return self.energy(point, x)
        shown = jax.tree.map(lambda leaf: jnp.where(observed, leaf, 0), point)
        return self.energy(shown, x) + jnp.where(observed, 0, _log_partition(self, point))

    def _inside(self, x: Any) -> Any:
        """The observation itself if it is in the support, so that formulas stay finite."""
        inside, typical = self.in_support(x), self.typical_observation
        return jax.tree.map(lambda a, b: jnp.where(inside, a, jnp.asarray(b, a.dtype)), x, typical)

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A random natural point of about the location and scale of an average statistic; a hook.

        The average may be on the boundary of the mean domain. By default `initialize`, which suits
        families of bounded observations.
        """
        return self.initialize(key)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The average statistic of the sample, mixed with a tenth of that of a typical point.

        The mixture is in the mean domain, even if the average is on its boundary: constant samples,
        counts of zero, categories that never occur. A hook, for families whose mean domain is not
        convex.
        """
        xs = self.check_data(xs)
        average = self.average_sufficient_statistic(xs)
        return self.to_natural(average * 0.9 + self.to_mean(self.start_near(key, average)) * 0.1)


@placeholder.register
def _(family: VectorFamily) -> Any:
    return family.typical_observation


@functools.partial(jax.custom_jvp, nondiff_argnums=(0,))
def _log_partition(family: Any, point: Any) -> Any:
    """The log partition function, whose derivative is the formula for the mean."""
    return family.log_partition_kernel(point)


@_log_partition.defjvp
def _(family: Any, primals: Any, tangents: Any) -> Any:
    (point,), (tangent,) = primals, tangents
    return family.log_partition_kernel(point), dot(family.mean_kernel(point), tangent)


class Univariate(Structure):
    """What families of single numbers tell: counts, or real numbers."""

    @abstractmethod
    def mean(self, point: Natural) -> Float[Array, ""]:
        """The expected observation of a natural point."""

    @abstractmethod
    def variance(self, point: Natural) -> Float[Array, ""]:
        """The variance of the observation, of a natural point."""


class Count(Univariate, VectorFamily):
    r"""A family of integers with $s(x) = x$.

    The derivatives $\psi'(\theta)$ and $\psi''(\theta)$ are mean and variance of the observation.
    """

    @property
    def dim(self) -> int:
        """One."""
        return 1

    @property
    def observation(self) -> Any:
        """An integer."""
        return jax.ShapeDtypeStruct((), int)

    def statistic(self, x: Any) -> Float[Array, "1"]:
        return jnp.asarray(x, float)[None]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.to_mean(point).values[0]

    def variance(self, point: Natural) -> Float[Array, ""]:
        return self.fisher_matrix(point)[0, 0]


@expected_observation.register
def _(family: Count, point: Mean) -> Any:
    """The expected count, a real number."""
    return point.values[0]


class Real(Univariate):
    """What families of real numbers have in common."""

    @property
    def observation(self) -> Any:
        """A real number."""
        return jax.ShapeDtypeStruct((), float)


class Positive(Real, VectorFamily):
    """A family of positive numbers with two parameters."""

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def typical_observation(self) -> Any:
        """One."""
        return 1.0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x > 0) & jnp.isfinite(x)

    def natural_start(self, point: Mean) -> Natural:
        """The solution itself, as the origin is outside the natural domain."""
        return self.to_natural(point)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.start_near(key, self.sufficient_statistic(1.0))

    @abstractmethod
    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A random natural point of about the location of an average statistic."""


class Rate(Real, VectorFamily):
    r"""A family of real numbers with one statistic $t(x) > 0$ that is exponentially distributed.

    $p(x) = \exp(\theta t(x) - \psi(\theta)) h(x)$ with $\theta < 0$,
    $\psi(\theta) = -\log(-\theta)$ and $\eta = -1 / \theta = E[t(x)]$.
    """

    @property
    def dim(self) -> int:
        """One."""
        return 1

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return -jnp.log(-point.values[0])

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(-1 / point.values, Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(-1 / point.values)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return point.values[0] < 0

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return point.values[0] > 0

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.unravel(-jnp.exp(0.5 * jax.random.normal(key, (1,))))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A point around that of the average statistic; for constants, of unit scale."""
        values = average.values
        scale = jnp.where(values > 0, values, jnp.ones_like(values))
        return self.unravel(-jnp.exp(0.5 * jax.random.normal(key, (1,), scale.dtype)) / scale)


def values_inside(family: Any, point: Mean, demand: str) -> Float[Array, " n"]:
    """The values of a mean point, if it is inside the mean domain.

    **Arguments:**

    - `family`: the family of the point.
    - `point`: mean.
    - `demand`: what the mean domain demands, for the error.

    **Raises:** an error if the point is outside the domain or on its boundary.
    """
    return require(
        point.values,
        family.check(point),
        f"to_natural of {family}: the mean point is outside the mean domain or on its boundary: "
        f"{demand}. A constant sample has no estimate; mix its mean with that of a valid point, as "
        "pseudo-observations do.",
    )


@describe_support.register
def _(family: Positive) -> str:
    return "numbers are positive and finite"
