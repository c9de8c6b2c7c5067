"""The categorical distribution, and what it has in common with the multinomial."""

from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, real_array, require
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import VectorFamily
from harmonium.geometry.point import Coordinates, Mean, Natural

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class LogOdds(VectorFamily):
    r"""A family whose natural parameters are the log odds of categories, as of the categorical.

    Mathematically, $\theta_k = \log(p_k / p_0)$ for $k = 1, \dots, K-1$.
    """

    n_categories: AbstractVar[int]

    def __check_init__(self):
        if self.n_categories < 1:
            raise ValueError(f"expected at least one category, got {self.n_categories}.")

    @property
    def dim(self) -> int:
        """One less than the number of categories."""
        return self.n_categories - 1

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.unravel(jax.random.normal(key, (self.dim,)))

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
        return self.unravel(jnp.log(probabilities[1:]) - jnp.log(probabilities[0]))

    def probabilities(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        """The probabilities of all categories, of a natural point."""
        self.check_single(point)
        return jax.nn.softmax(self._log_odds(point))

    def _log_odds(self, point: Natural) -> Float[Array, " {self.n_categories}"]:
        """The log odds of all categories, with the zero of the reference before the others."""
        return jnp.concatenate([jnp.zeros(1, point.values.dtype), point.values])


class Categorical(LogOdds):
    r"""Categories $0, \dots, K-1$, of which category 0 is the reference.

    $p(x) = \exp(\theta_x - \psi(\theta))$ with $\theta_0 = 0$. Natural parameters are the log odds
    $\theta_k = \log(p_k / p_0)$ and mean parameters the probabilities $\eta_k = p_k$ for
    $k = 1, \dots, K-1$. The sufficient statistic is one-hot without its first entry, and
    $\psi(\theta) = \log(1 + \sum_k \exp \theta_k)$. With two categories it is a Bernoulli.

    **Fields:** `n_categories`, $K$. Observations are integers.
    """

    n_categories: int = eqx.field(static=True)

    @property
    def observation(self) -> Any:
        """An integer."""
        return jax.ShapeDtypeStruct((), int)

    @property
    def typical_observation(self) -> Any:
        """The reference."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x >= 0) & (x < self.n_categories)

    def statistic(self, x: Any) -> Float[Array, " {self.dim}"]:
        return jax.nn.one_hot(x - 1, self.dim)

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return jax.nn.logsumexp(self._log_odds(point))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(self.probabilities(point)[1:], Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(jnp.log(point.values) - jnp.log1p(-jnp.sum(point.values)))

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jnp.all(point.values > 0) & (jnp.sum(point.values) < 1)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return jax.random.categorical(key, self._log_odds(point))


@expected_observation.register
def _(family: Categorical, point: Mean) -> Any:
    """The most probable category."""
    first = 1 - jnp.sum(point.values, keepdims=True)
    return jnp.argmax(jnp.concatenate([first, point.values]))


def indicator_covariance(probabilities: Float[Array, " n"]) -> Float[Array, "n n"]:
    r"""$\mathrm{diag}(p) - p p^T$, the covariance of the indicators of categories.

    Its rows sum to zero, which gives the diagonal without cancellation.
    """
    outer = probabilities[:, None] * probabilities[None, :]
    others = jnp.where(jnp.eye(len(probabilities), dtype=bool), 0, outer)
    return jnp.diag(jnp.sum(others, axis=1)) - others


@describe_support.register
def _(family: Categorical) -> str:
    return f"categories are 0 to {family.n_categories - 1}; if counted from 1, subtract 1"
