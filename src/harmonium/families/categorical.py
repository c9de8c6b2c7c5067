"""The categorical distribution."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable, Generative
from harmonium.exponential_family.checks import real_array, require
from harmonium.geometry.point import Coordinates, Mean, Natural, Point, VectorPoint


class Categorical(Differentiable, Generative):
    r"""Categories $0, \dots, K-1$, of which category 0 is the reference.

    $p(x) = \exp(\theta_x - \psi(\theta))$ with $\theta_0 = 0$. Natural parameters are the log odds
    $\theta_k = \log(p_k / p_0)$ and mean parameters the probabilities $\eta_k = p_k$ for
    $k = 1, \dots, K-1$. The sufficient statistic is one-hot without its first entry, and
    $\psi(\theta) = \log(1 + \sum_k \exp \theta_k)$. With two categories it is a Bernoulli.

    **Fields:** `n_categories`, $K$. Observations are integers.
    """

    n_categories: int = eqx.field(static=True)

    def __check_init__(self):
        if self.n_categories < 1:
            raise ValueError(f"expected at least one category, got {self.n_categories}.")

    @property
    def dim(self) -> int:
        """One less than the number of categories."""
        return self.n_categories - 1

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return VectorPoint(jnp.zeros(self.dim), self, coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return point.values

    def unravel(
        self, vector: Float[Array, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return VectorPoint(vector, self, coordinates)

    @property
    def observation(self) -> Any:
        """An integer."""
        return jax.ShapeDtypeStruct((), int)

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x >= 0) & (x < self.n_categories)

    def sufficient_statistic(self, x: Any) -> Mean:
        x = self.check_form(x, batch=False)
        return VectorPoint(jax.nn.one_hot(x - 1, self.dim), self, Coordinates.MEAN)

    def log_base_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.where(self.in_support(x), 0.0, -jnp.inf)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return jax.nn.logsumexp(self._log_odds(point))

    def to_mean(self, point: Natural) -> Mean:
        return VectorPoint(self.probabilities(point)[1:], self, Coordinates.MEAN)

    def to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        self.check_single(point, start)
        log_odds = jnp.log(point.values) - jnp.log1p(-jnp.sum(point.values))
        return VectorPoint(log_odds, self, Coordinates.NATURAL)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return jax.random.categorical(key, self._log_odds(point))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return VectorPoint(jax.random.normal(key, (self.dim,)), self, Coordinates.NATURAL)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The frequencies in the sample, mixed with a tenth of random probabilities."""
        frequencies = self.average_sufficient_statistic(xs)
        return self.to_natural(frequencies * 0.9 + self.to_mean(self.initialize(key)) * 0.1)

    def from_probabilities(self, probabilities: Any) -> Natural:
        """The natural point with these probabilities.

        **Arguments:**

        - `probabilities`: (n_categories,), positive, summing to one.

        **Raises:** an error if they do not have that length, are not positive or do not sum to 1.
        """
        name = f"the probabilities of {self}"
        probabilities = real_array(probabilities, (self.n_categories,), name)
        tolerance = 1e3 * jnp.finfo(probabilities.dtype).eps
        normalised = jnp.abs(jnp.sum(probabilities) - 1) <= tolerance
        probabilities = require(
            probabilities,
            jnp.all(probabilities > 0) & normalised,
            f"{name} must be positive and sum to 1. Divide them by their sum, and leave out "
            "categories that never occur.",
        )
        log_odds = jnp.log(probabilities[1:]) - jnp.log(probabilities[0])
        return VectorPoint(log_odds, self, Coordinates.NATURAL)

    def probabilities(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        """The probabilities of all categories, of a natural point."""
        self.check_single(point)
        return jax.nn.softmax(self._log_odds(point))

    def top_probabilities(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        return self.probabilities(point)

    def _log_odds(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        return jnp.concatenate([jnp.zeros(1, point.values.dtype), point.values])
