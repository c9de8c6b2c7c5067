"""Exact inference in conjugated harmoniums: densities, posterior statistics, EM."""

from abc import abstractmethod
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PRNGKeyArray

from harmonium.exponential_family.base import BATCH_SIZE
from harmonium.exponential_family.checks import all_finite, check_weights, require
from harmonium.exponential_family.chunks import batch_length, map_chunks
from harmonium.exponential_family.evidence import (
    expected_statistics,
    is_whole,
    sum_expectations,
    value_and_mean,
)
from harmonium.exponential_family.form import float_dtype
from harmonium.exponential_family.mask import check_mask
from harmonium.geometry.point import Mean, Natural
from harmonium.geometry.product import ProductPoint
from harmonium.harmoniums.condense import two_moment_sample
from harmonium.harmoniums.harmonium import HarmoniumPoint, Joint
from harmonium.harmoniums.marginals import ExactMarginals
from harmonium.harmoniums.patterns import (
    Patterns,
    check_patterns,
    group_patterns,
)

MAX_BLOCKS = 1024


class ExactInference(ExactMarginals):
    r"""What follows for observables from a prior and a posterior of one form.

    With the message $(\rho, \chi)$ of what is observed of $x$, the latent manifold $Z$ (that of
    the prior, unless all of $x$ is observed) and $\theta_Z$ embedded in it,

    $$f(\theta, x_o, z_o) = f_Z(\theta_Z + \rho, z_o) + \chi,$$

    where $f$ is the evidence. Densities are differences of evidences; posterior statistics, and so
    the E-step, are their gradient.
    """

    @abstractmethod
    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        """`standardize` for given expected latent statistics in the prior, on `pst_man`."""

    @property
    @abstractmethod
    def is_quadratic(self) -> bool:
        """Whether the joint density is Gaussian: two moments of the data are enough."""

    @property
    def prr_man(self) -> Any:
        """The manifold of the prior over latents."""
        return self.pst_prr_emb.amb_man

    # --- evidence

    def evidence_kernel(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        x, z = (None, None) if x is None else x
        x_mask, z_mask = (None, None) if observed is None else observed
        latent, chi = self.condition(point, x, x_mask)
        family: Any = self.pst_man if is_whole(x, x_mask) else self.prr_man
        return family.evidence_kernel(latent, z, z_mask) + chi

    def log_partition_kernel(self, point: Natural) -> Float[Array, ""]:
        return self.evidence_kernel(point, None, None)

    def _evidence_of(self, point: Natural, x: Any, observed: Any = None) -> Float[Array, ""]:
        """The evidence of an observation of `obs_man`, of which a mask tells what is observed."""
        return self.evidence_kernel(point, Joint(x, None), Joint(observed, None))

    # --- partly observed joint observations

    @property
    def mask(self) -> Joint:
        """A `Joint` of those of `obs_man` and `pst_man`: latents may be observed, too."""
        return Joint(self.obs_man.mask, self.pst_man.mask)

    @property
    def harmless(self) -> Joint:
        """A `Joint` of those of `obs_man` and `pst_man`."""
        return Joint(self.obs_man.harmless, self.pst_man.harmless)

    def fill(self, x: Joint, observed: Joint, other: Joint) -> Joint:
        return Joint(
            self.obs_man.fill(x.observable, observed.observable, other.observable),
            self.pst_man.fill(x.latent, observed.latent, other.latent),
        )

    def log_partial_measure(self, x: Joint, observed: Joint) -> Float[Array, ""]:
        observable = self.obs_man.log_partial_measure(x.observable, observed.observable)
        return observable + self.pst_man.log_partial_measure(x.latent, observed.latent)

    def expected_observation(self, point: Mean) -> Joint:
        observable = self.obs_man.expected_observation(point.observable)
        return Joint(observable, self.pst_man.expected_observation(point.latent))

    def sample_hidden(self, key: PRNGKeyArray, point: Natural, x: Joint, observed: Joint) -> Joint:
        """First what is hidden of the latent, given what is observed, then of the observable."""
        latent_key, observable_key = jax.random.split(key)
        shown = self.obs_man.conceal(x.observable, observed.observable)
        posterior, _ = self.condition(point, shown, observed.observable)
        latent = self.prr_man.sample_hidden(latent_key, posterior, x.latent, observed.latent)
        likelihood = self.lkl_man.apply(self.likelihood_function(point), latent)
        observable = self.obs_man.sample_hidden(
            observable_key, likelihood, x.observable, observed.observable
        )
        return Joint(observable, latent)

    # --- densities of observables

    def log_observable_density(
        self, point: Natural, x: Any, observed: Any = None
    ) -> Float[Array, ""]:
        r"""The exact log density $\log p(x)$ of one observation, the latents summed out.

        **Arguments:**

        - `point`: natural.
        - `x`: one observation of `obs_man`.
        - `observed`: what of it is observed, see `posterior_at`; the density is that of this part.
        """
        self.check_single(point)
        x, observed = self._check_one(point, x, observed)
        return self._log_density_of(point, x, observed) - self.log_partition_function(point)

    def _log_density_of(self, point: Natural, x: Any, observed: Any) -> Float[Array, ""]:
        """A log density, less the log partition function."""
        if observed is None:
            return self._evidence_of(point, x) + self.obs_man.log_base_measure(x)
        measure = self.obs_man.log_partial_measure(x, observed)
        return self._evidence_of(point, x, observed) + measure

    def log_observable_densities(
        self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE, observed: Any = None
    ) -> Float[Array, " n"]:
        """The exact log densities of a batch of N observations.

        **Arguments:**

        - `point`: natural.
        - `xs`: a batch of N observations of `obs_man`, or what `group_patterns` makes of one.
        - `batch_size`: how many are processed at once.
        - `observed`: N masks of what is observed, see `posterior_at`; all of it by default.

        **Returns:** an array (N,), in nats.
        """
        self.check_single(point)
        xs = self._check_batch(point, xs, observed)
        log_partition = self.log_partition_function(point)
        density = jax.vmap(lambda x, mask: self._log_density_of(point, x, mask), (0, None))
        if not isinstance(xs, Patterns):
            return map_chunks(lambda chunk: density(chunk, None), xs, batch_size) - log_partition
        blocks = map_chunks(
            lambda chunk: jax.vmap(density)(*chunk),
            (xs.xs, xs.observed),
            _blocks_at_once(xs, batch_size),
        )
        return xs.gather(blocks) - log_partition

    def average_log_observable_density(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Float[Array, ""]:
        """The (weighted) average of the log densities of a batch, in nats per observation."""
        densities = self.log_observable_densities(point, xs, batch_size, observed)
        return check_weights(weights, len(densities), densities.dtype) @ densities

    # --- posterior statistics and EM

    def posterior_statistics(self, point: Natural, x: Any, observed: Any = None) -> Mean:
        r"""Expected joint statistics given one observation: $s_X(x)$, $s_X(x) \otimes E[s_Z|x]$,
        $E[s_Z|x]$, as a mean point; with a mask, expectations of what is not observed, too.
        """
        self.check_single(point)
        x, observed = self._check_one(point, x, observed)
        return value_and_mean(lambda p: self._evidence_of(p, x, observed), point)[1]

    def mean_posterior_statistics(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Mean:
        """The (weighted) average of `posterior_statistics` over a batch: the E-step.

        **Arguments:**

        - `point`: natural.
        - `xs`: a batch of N observations of `obs_man`, or what `group_patterns` makes of one.
        - `weights`: (N,), not negative, need not be normalised; equal ones by default.
        - `batch_size`: how many observations are processed at once.
        - `observed`: N masks of what is observed, see `posterior_at`; all of it by default.

        **Returns:** a mean point of the model.
        """
        return self._posterior_sums(point, xs, weights, batch_size, observed)[0]

    def expectation(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> tuple[Mean, Float[Array, ""]]:
        r"""The E-step, `mean_posterior_statistics`, and the average log density it comes with.

        **Arguments:** as `mean_posterior_statistics`.

        **Returns:** a mean point of the model, and the average of $\log p(x) - \log h(x)$, that is
        without the base measure, on which parameters have no effect.
        """
        mean, evidence = self._posterior_sums(point, xs, weights, batch_size, observed)
        return mean, evidence - self.log_partition_function(point)

    def _posterior_sums(
        self, point: Natural, xs: Any, weights: Any, batch_size: int, observed: Any
    ) -> tuple[Mean, Array]:
        """Averages of posterior statistics, and of the evidence."""
        self.check_single(point)
        xs = self._check_batch(point, xs, observed)
        dtype = float_dtype(point)
        if not isinstance(xs, Patterns):
            weights = check_weights(weights, batch_length(xs), dtype)
            return expected_statistics(self._evidence_of, point, xs, weights, batch_size)
        weights = xs.spread(check_weights(weights, len(xs), dtype))

        def total(point: Natural, blocks: Any, weights: Array) -> Array:
            def sum_of(rows: Any, mask: Any, weights: Array) -> Array:
                return weights @ jax.vmap(lambda x: self._evidence_of(point, x, mask))(rows)

            return jnp.sum(jax.vmap(sum_of)(blocks[0], blocks[1], weights))

        blocks = xs.xs, xs.observed
        return sum_expectations(total, point, blocks, weights, _blocks_at_once(xs, batch_size))

    def expectation_maximization(
        self,
        point: Natural,
        xs: Any,
        weights: Any = None,
        batch_size: int = BATCH_SIZE,
        observed: Any = None,
    ) -> Natural:
        r"""One step of EM, which never lowers the likelihood of what is observed.

        Mathematically, `to_natural` of the average posterior statistics, or a few damped steps
        towards it where it has no closed form. Latents are then standardised.

        **Arguments:** a natural point, and the data as `mean_posterior_statistics` takes them.

        **Returns:** a natural point of the model.

        **Raises:** an error for observations outside the support, bad weights, and where the result
        is degenerate: not finite, as when a component loses all its data.
        """
        xs = self._check_batch(point, xs, observed)
        rows = xs.rows if isinstance(xs, Patterns) else xs
        point = self.obs_man.check_support(point, rows)
        mean = self.mean_posterior_statistics(point, xs, weights, batch_size)
        result = self.maximization(mean, point)
        return require(
            result,
            all_finite(result),
            f"the EM step of {self} is degenerate: a covariance is singular or a component has "
            "no data left. Remove constant columns, use fewer components, or add weighted "
            "pseudo-observations.",
        )

    def maximization(self, mean: Mean, start: Natural) -> Natural:
        """The M-step with standardised latents; see `improve`, which leaves them as they are.

        **Arguments:**

        - `mean`: the result of the E-step.
        - `start`: natural, the point that it was made with.
        """
        result = self.improve(mean, start)
        expected = mean if self.is_exact else self.to_mean(result)
        return self.standardize_under(result, expected.latent)

    def condense(self, xs: Any, weights: Any = None) -> tuple[Any, Float[Array, " m"]]:
        """A smaller weighted sample with the same average log density for every parameter.

        Jointly Gaussian models depend on the data through two moments only, which 2D
        pseudo-observations reproduce; for others this returns the data as they are.

        **Arguments:**

        - `xs`: a batch of N observations.
        - `weights`: (N,), not negative; equal ones by default.

        **Returns:** the observations, and their weights, which sum to one.
        """
        xs = self.obs_man.check_data(xs)
        length = batch_length(xs)
        weights = check_weights(weights, length, float_dtype(xs))
        if not self.is_quadratic or 2 * xs.shape[1] >= length:
            return xs, weights
        return two_moment_sample(xs, weights)

    def expected_latents(self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE) -> Any:
        """What a batch of observations says about the lowest latents, on average.

        **Returns:** for linear Gaussian lower levels an array (N, latent dimension) of expected
        positions; for categories the probabilities of all but the first; for latents side by side
        a tuple.
        """
        self.check_single(point)
        xs = self.obs_man.check_form(xs, like=point)

        def expectations(x: Any) -> Any:
            latent, _ = self.condition(point, x, None)
            return _first_order(self.pst_man.to_mean(latent))

        return map_chunks(jax.vmap(expectations), xs, batch_size)

    def top_marginal(self, point: Natural) -> Natural | None:
        return self.prr_man.top_marginal(self.prior(point))

    def posterior_probabilities(
        self, point: Natural, x: Any, observed: Any = None
    ) -> Float[Array, " k"]:
        """The probabilities of the categories at the top of the hierarchy, given one observation.

        **Arguments:** as `posterior_at`.

        **Raises:** `TypeError` if there is no categorical at the top.
        """
        posterior = self.posterior_at(point, x, observed)
        latent: Any = posterior.manifold
        return latent.top_probabilities(posterior)

    def assign(self, point: Natural, xs: Any, batch_size: int = BATCH_SIZE) -> Int[Array, " n"]:
        """The most probable category at the top of the hierarchy, for each of N observations."""
        self.check_single(point)
        xs = self.obs_man.check_data(xs, like=point)

        def assignments(chunk: Any) -> Array:
            return jax.vmap(lambda x: jnp.argmax(self.posterior_probabilities(point, x)))(chunk)

        return map_chunks(assignments, xs, batch_size)

    # --- partly observed observations

    def group_patterns(self, xs: Any, observed: Any) -> Patterns:
        """Partly observed data grouped by what is observed, to be used many times.

        Methods that take `xs` and `observed` do that by themselves where they are not compiled;
        compiled functions had better take the result instead of both.

        **Arguments:**

        - `xs`: a batch of N observations; what is not observed may be NaN or anything else.
        - `observed`: N masks, of the form `obs_man.mask`.
        """
        return group_patterns(self.obs_man, xs, observed)

    def _check_one(self, point: Natural, x: Any, observed: Any) -> tuple[Any, Any]:
        """One observation, concealed if there is a mask, and this mask."""
        x = self.obs_man.check_form(x, batch=False, like=point)
        if observed is None:
            return x, None
        observed = check_mask(self.obs_man, observed, batch=False)
        return self.obs_man.conceal(x, observed), observed

    def _check_batch(self, point: Natural, xs: Any, observed: Any) -> Any:
        if isinstance(xs, Patterns):
            return check_patterns(self.obs_man, xs, observed, point)
        if observed is not None:
            return group_patterns(self.obs_man, xs, observed, point)
        return self.obs_man.check_form(xs, like=point)


def _first_order(mean: Mean) -> Any:
    """The expected vectors, or indicators, of what is lowest in a mean point of latents."""
    match mean:
        case HarmoniumPoint():
            return _first_order(mean.observable)
        case ProductPoint():
            return tuple(map(_first_order, mean.components))
    return jax.tree.leaves(mean)[0]


def _blocks_at_once(xs: Patterns, batch_size: int) -> int:
    """How many blocks of partly observed data are processed at once."""
    return max(1, min(MAX_BLOCKS, batch_size // xs.shape[1]))
