"""The negative binomial distribution."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, probability
from harmonium.exponential_family.vector import Count
from harmonium.geometry.point import Coordinates, Mean, Natural


class NegativeBinomial(Count):
    r"""Successes before a known number of failures: `scipy.stats.nbinom(n_failures, 1 - p)`.

    $p(x) = \binom{x + r - 1}{x} \exp(\theta x - \psi(\theta))$ with $\theta = \log p < 0$,
    where $p$ is the probability of success, $s(x) = x$, $\psi(\theta) = -r \log(1 - e^\theta)$ and
    $\eta = r p / (1 - p)$.
    Counts whose variance exceeds their mean, by a factor of $1 / (1 - p)$.

    **Fields:** `n_failures`, $r$: positive, and not necessarily an integer.
    """

    n_failures: float = eqx.field(static=True)

    def __init__(self, n_failures: float | int):
        if not 0 < n_failures < float("inf"):
            raise ValueError(f"expected a positive n_failures, got {n_failures}.")
        self.n_failures = float(n_failures)

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return x >= 0

    def log_measure(self, x: Any) -> Float[Array, ""]:
        x = jnp.asarray(x, float)
        return gammaln(x + self.n_failures) - gammaln(x + 1) - gammaln(jnp.asarray(self.n_failures))

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return -self.n_failures * jnp.log(-jnp.expm1(point.values[0]))

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(self.n_failures / jnp.expm1(-point.values), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        return self.unravel(-jnp.log1p(self.n_failures / point.values))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return point.values[0] < 0

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return point.values[0] > 0

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        """A Poisson count whose rate is gamma distributed."""
        gamma_key, count_key = jax.random.split(key)
        gamma = jax.random.gamma(gamma_key, self.n_failures, (), point.values.dtype)
        return jax.random.poisson(count_key, gamma / jnp.expm1(-point.values[0]))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """About as many successes as failures."""
        return self.unravel(jax.nn.log_sigmoid(jax.random.normal(key, (1,))))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A probability around that of the average count."""
        count = average.values + 0.1
        level = count * jnp.exp(0.5 * jax.random.normal(key, (1,), count.dtype))
        return self.unravel(-jnp.log1p(self.n_failures / level))

    def from_probability(self, probability_of_success: Any) -> Natural:
        """The natural point with this probability of success, strictly between 0 and 1."""
        return self.unravel(jnp.log(probability(probability_of_success, f"that of {self}"))[None])

    def probability(self, point: Natural) -> Float[Array, ""]:
        """The probability of success of a natural point."""
        self.check_single(point)
        return jnp.exp(point.values[0])


@describe_support.register
def _(family: NegativeBinomial) -> str:
    return "counts are 0 or more"
