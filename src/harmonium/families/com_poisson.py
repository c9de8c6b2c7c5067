"""The Conway-Maxwell-Poisson distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln
from jaxtyping import Array, Bool, Float, Int, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, positive_number, require
from harmonium.exponential_family.partial import expected_observation
from harmonium.exponential_family.vector import Univariate, VectorFamily
from harmonium.families.com_poisson_sums import (
    LEAST_DISPERSION,
    approximate,
    ascend,
    attach,
    geometric_log_factorial,
    summarise,
)
from harmonium.geometry.point import Coordinates, Mean, Natural

MAX_EVALUATIONS = 100  # of the numerical dual; about six are needed
IMPROVING_EVALUATIONS = 8


class CoMPoisson(Univariate, VectorFamily):
    r"""Counts $0, 1, \dots$ with any dispersion: the Conway-Maxwell-Poisson distribution.

    $p(x) = \exp(\theta_1 x + \theta_2 \log x! - \psi(\theta))$, that is $p(x) \propto
    (\mu^x / x!)^\nu$, with $s(x) = (x, \log x!)$ and $\theta = (\nu \log \mu, -\nu)$, where
    $\mu > 0$ is the mode parameter (the mode is $\lfloor \mu \rfloor$) and $\nu > 0$ the
    dispersion: one for the Poisson distribution, more for less variance. With $\nu$ near 0 it is
    nearly geometric. Scipy has no such distribution.

    **Log partition function:** the sum over a window of 2048 counts: $0, \dots, 2047$, or from a
    later $a$ if the mode is above 1039. Ratios of successive terms are $(\mu / x)^\nu$, so that the
    terms beyond the last count $b$ sum to $t_b\, r / (1 - r)$ at most with
    $r = (\mu / (b + 1/2))^\nu$, and those before the first to $t_a\, r / (1 - r)$ at most with
    $r = ((a + 1) / \mu)^\nu$. Where both bounds are not below $10^{-12}$ of the whole, `admits`
    says no, and the log partition function and the mean are NaN. All $\nu \geq 0.1$ are admitted
    (until $\nu \mu \log \mu$ times the rounding unit is 0.1), and any $\nu > 0$ for means below 70.
    For standard deviations above 100 the nodes are at distances $h > 1$, with log-gamma
    functions for factorials: the relative error is near $2 \exp(-2 \pi^2 \mu / \nu h^2)$, zero
    in floating point (Trefethen and Weideman, SIAM Review 56 (2014), theorem 5.1).

    **Mean domain:** $\eta_1 > 0$ and $L(\eta_1) < \eta_2 < G(\eta_1)$. $L$ is the piecewise linear
    interpolation of $\log n!$, attained as $\nu \to \infty$ by one or two neighbouring counts, and
    $G(m) = \sum_n \log(n) (m / (1 + m))^n$ that of the geometric distribution, attained as $\nu
    \to 0$: counts with more dispersion have no maximum likelihood estimate in this family, and
    `to_natural` raises an error. `improve` takes a few ascending steps, and so never fails.

    **Source:** Shmueli, Minka, Kadane, Borle and Boatwright, Applied Statistics 54 (2005), 127-142;
    the mode parameter is that of Guikema and Goffelt, Risk Analysis 28 (2008), 213-223.
    """

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def observation(self) -> Any:
        """An integer."""
        return jax.ShapeDtypeStruct((), int)

    @property
    def typical_observation(self) -> Any:
        """Zero."""
        return 0

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return x >= 0

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.asarray(x, float), gammaln(jnp.asarray(x, float) + 1)])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return jnp.zeros(())

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return summarise(point.values).log_partition

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(summarise(point.values).mean, Coordinates.MEAN)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.isfinite(summarise(point.values).log_partition)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        origin = approximate(point.values) if start is None else start.values
        fixed = jax.lax.stop_gradient((point.values, origin))
        natural, converged = ascend(MAX_EVALUATIONS, *fixed)
        natural = require(
            natural,
            converged & self.admits_mean(point),
            f"to_natural of {self} did not converge: the mean point is outside the mean domain or "
            "close to its boundary. Mix it with the mean of a valid point if counts are constant; "
            "take a negative binomial if they are more dispersed than geometric ones.",
        )
        return self.unravel(attach(natural, point.values))

    def improve(self, point: Mean, start: Natural) -> Natural:
        self.check_single(point, start)
        return self.unravel(ascend(IMPROVING_EVALUATIONS, point.values, start.values)[0])

    @property
    def is_exact(self) -> bool:
        """No: counts may be more dispersed than the family can be."""
        return False

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        count, log_factorial = point.values
        floor = jnp.floor(count)
        low = gammaln(floor + 1) + (count - floor) * jnp.log(floor + 1)
        inside = (low < log_factorial) & (log_factorial < geometric_log_factorial(count))
        return (count > 0) & inside

    def natural_start(self, point: Mean) -> Natural:
        return self.unravel(approximate(point.values))

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Int[Array, ""]:
        return _sample(key, point.values, self.log_partition_function(point))

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """A mode and a dispersion around one."""
        return self.start_near(key, self.sufficient_statistic(1))

    def start_near(self, key: PRNGKeyArray, average: Mean) -> Natural:
        """A mode around the average count, and a dispersion around one."""
        level = jnp.log(average.values[0] + 0.1)
        noise = jax.random.normal(key, (2,), level.dtype) / 2
        dispersion = jnp.maximum(jnp.exp(noise[1]), LEAST_DISPERSION)
        return self.unravel(jnp.stack([dispersion * (level + noise[0]), -dispersion]))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """As for other families, but approximately, so that any dispersion will do."""
        xs = self.check_data(xs)
        average = self.average_sufficient_statistic(xs)
        return self.natural_start(average * 0.9 + self.to_mean(self.start_near(key, average)) * 0.1)

    def from_mode_dispersion(self, mode: Any, dispersion: Any) -> Natural:
        r"""The natural point with this mode parameter and dispersion.

        **Arguments:**

        - `mode`: $\mu$, a positive number; $\lambda = \mu^\nu$ in other parametrisations.
        - `dispersion`: $\nu$, a positive number.

        **Raises:** an error if one is not positive and finite, or if `admits` says no.
        """
        mode = positive_number(mode, f"the mode of {self}")
        dispersion = positive_number(dispersion, f"the dispersion of {self}").astype(mode.dtype)
        point = self.unravel(jnp.stack([dispersion * jnp.log(mode), -dispersion]))
        return require(
            point,
            self.admits(point),
            f"the log partition function of {self} can't be summed for a dispersion so small at "
            "such a mode. Take 0.1 or more.",
        )

    def mode(self, point: Natural) -> Float[Array, ""]:
        r"""The mode parameter $\mu$ of a natural point; its floor is the most probable count."""
        self.check_single(point)
        return jnp.exp(-point.values[0] / point.values[1])

    def dispersion(self, point: Natural) -> Float[Array, ""]:
        r"""The dispersion $\nu$ of a natural point, one for the Poisson distribution."""
        self.check_single(point)
        return -point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.to_mean(point).values[0]

    def variance(self, point: Natural) -> Float[Array, ""]:
        self.check_single(point)
        summary = summarise(point.values)
        return summary.probabilities @ summary.counts**2


@expected_observation.register
def _(family: CoMPoisson, point: Mean) -> Any:
    """The expected count, a real number."""
    return point.values[0]


def _sample(
    key: PRNGKeyArray, values: Float[Array, "2"], log_partition: Float[Array, ""]
) -> Int[Array, ""]:
    """A count, by rejection from a universal envelope of discrete log-concave distributions.

    With p the probability of the mode m, that of m + x is at most p min(1, exp(1 - p |x|)), the
    envelope, rounded to integers. Five proposals are expected at most. Points outside the
    natural domain give -1.

    **Source:** Devroye, Computing 39 (1987), 87-91, the first algorithm.
    """
    mode = jnp.floor(jnp.exp(-values[0] / values[1]))

    def log_probability(x: Array) -> Array:
        return values[0] * x + values[1] * gammaln(jnp.maximum(x, 0) + 1) - log_partition

    log_top = log_probability(mode)
    top = jnp.exp(log_top)
    flat_width = 1 + top / 2

    def propose(state: tuple) -> tuple:
        key, kind_key, place_key, height_key, sign_key = jax.random.split(state[0], 5)
        flat = jax.random.uniform(kind_key, (), values.dtype) * (1 + flat_width) <= flat_width
        place = jax.random.uniform(place_key, (), values.dtype)  # 1 - place is not zero
        distance = jnp.where(flat, place * flat_width, flat_width - jnp.log1p(-place)) / top
        count = mode + jax.random.rademacher(sign_key, (), values.dtype) * jnp.round(distance)
        log_envelope = jnp.minimum(0, flat_width - top * distance)
        log_height = log_envelope - jax.random.exponential(height_key, (), values.dtype)
        log_ratio = jnp.where(count >= 0, log_probability(count) - log_top, -jnp.inf)
        return key, count, log_height > log_ratio  # NaN is not rejected for ever

    state = jax.lax.while_loop(lambda s: s[2], propose, (key, mode, jnp.asarray(True)))
    return jnp.where(jnp.isnan(log_partition), -1, state[1]).astype(int)


@describe_support.register
def _(family: CoMPoisson) -> str:
    return "counts are 0 or more"
