"""The beta distribution."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.checks import describe_support, positive_number
from harmonium.exponential_family.vector import Real, VectorFamily
from harmonium.families.dirichlet import concentrations_of, log_beta, mean_logs
from harmonium.geometry.point import Coordinates, Mean, Natural


class Beta(Real, VectorFamily):
    r"""Numbers between zero and one: `scipy.stats.beta(alpha, beta)`.

    $p(x) = \exp(\alpha \log x + \beta \log(1 - x) - \psi) / x (1 - x)$. The statistic is
    $s(x) = (\log x, \log(1 - x))$ and the base measure $1 / x (1 - x)$, hence
    $\theta = (\alpha, \beta)$, $\psi = \log B(\alpha, \beta)$ and
    $\eta = (\mathrm{digamma}(\alpha), \mathrm{digamma}(\beta)) - \mathrm{digamma}(\alpha + \beta)$;
    the mean domain is $\exp \eta_1 + \exp \eta_2 < 1$.

    Zero and one are outside the support. Samples too close to them are the nearest numbers inside:
    for small $\beta$ a part of about $10^{-16 \beta}$ of them, or $10^{-7 \beta}$ in float32.
    """

    @property
    def dim(self) -> int:
        """Two."""
        return 2

    @property
    def typical_observation(self) -> Any:
        """One half."""
        return 0.5

    def in_support(self, x: Any) -> Bool[Array, ""]:
        return (x > 0) & (x < 1)

    def statistic(self, x: Any) -> Float[Array, "2"]:
        return jnp.stack([jnp.log(x), jnp.log1p(-x)])

    def log_measure(self, x: Any) -> Float[Array, ""]:
        return -jnp.log(x) - jnp.log1p(-x)

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return log_beta(point.values)

    def mean_kernel(self, point: Natural) -> Mean:
        return self.unravel(mean_logs(point.values), Coordinates.MEAN)

    def natural_kernel(self, point: Mean, start: Natural | None = None) -> Natural:
        name = "exp(E[log x]) + exp(E[log(1 - x)])"
        return self.unravel(concentrations_of(self, point, name))

    def admits(self, point: Natural) -> Bool[Array, ""]:
        return jnp.all(point.values > 0)

    def admits_mean(self, point: Mean) -> Bool[Array, ""]:
        return jax.nn.logsumexp(point.values) < 0

    def natural_start(self, point: Mean) -> Natural:
        """The solution itself."""
        return self.to_natural(point)

    def sample_one(self, key: PRNGKeyArray, point: Natural) -> Float[Array, ""]:
        # For small parameters the logarithm is representable where the number is not.
        share = jax.nn.softmax(jax.random.loggamma(key, point.values))[0]
        limits = jnp.finfo(share.dtype)
        return jnp.clip(share, limits.tiny, 1 - limits.epsneg)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Parameters around two."""
        return self.unravel(2 * jnp.exp(0.5 * jax.random.normal(key, (2,))))

    def from_alpha_beta(self, alpha: Any, beta: Any) -> Natural:
        r"""The natural point with these parameters $\alpha$ and $\beta$, positive numbers."""
        alpha = positive_number(alpha, f"alpha of {self}")
        return self.unravel(jnp.stack([alpha, positive_number(beta, f"beta of {self}")]))

    def alpha(self, point: Natural) -> Float[Array, ""]:
        r"""The parameter $\alpha$ of a natural point, the exponent of $x$ plus one."""
        self.check_single(point)
        return point.values[0]

    def beta(self, point: Natural) -> Float[Array, ""]:
        r"""The parameter $\beta$ of a natural point, the exponent of $1 - x$ plus one."""
        self.check_single(point)
        return point.values[1]

    def mean(self, point: Natural) -> Float[Array, ""]:
        return self.alpha(point) / (self.alpha(point) + self.beta(point))

    def variance(self, point: Natural) -> Float[Array, ""]:
        total = self.alpha(point) + self.beta(point)
        return (self.alpha(point) / total) * (self.beta(point) / total) / (1 + total)


@describe_support.register
def _(family: Beta) -> str:
    return "shares are above 0 and below 1"
