"""Exact inference in conjugated harmoniums: densities, posterior statistics, EM."""

from abc import abstractmethod
from typing import TYPE_CHECKING, Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from harmonium.exponential_family.base import BATCH_SIZE
from harmonium.exponential_family.checks import all_finite, check_weights, require
from harmonium.exponential_family.chunks import batch_length, map_chunks, sum_chunks
from harmonium.exponential_family.form import float_dtype
from harmonium.geometry.embedding import RestrictionEmbedding, Translations
from harmonium.geometry.linear_map import InteractionMap
from harmonium.geometry.point import Mean, Natural, dot, gradient
from harmonium.harmoniums.condense import two_moment_sample
from harmonium.harmoniums.harmonium import PartialConjugation, as_batch, first_of
from harmonium.harmoniums.marginals import ExactMarginals
from harmonium.harmoniums.patterns import (
    Patterns,
    check_mask,
    check_patterns,
    group_patterns,
)

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar

MAX_BLOCKS = 1024


class ExactInference(ExactMarginals):
    r"""What follows for observables from a prior and a posterior of one form.

    Densities, expectations and EM, for observations of which all or some parts are observed:
    integrating out a part of the observable leaves a harmonium over the rest, see
    [`harmonium.PartialConjugation`][], so that $\log p(x_o) = s(x_o) \cdot \theta' +
    \psi_Z(e(\theta_Z) + \rho + \Theta'^T s(x_o)) + \chi + \log h(x_o) - \psi(\theta)$. Expectations
    of what is not observed are derivatives of that by the likelihood's parameters.
    """

    pst_prr_emb: AbstractVar[RestrictionEmbedding]
    marginal_interaction: AbstractVar[InteractionMap]

    @abstractmethod
    def partial_conjugation(self, likelihood: Natural, observed: Any) -> PartialConjugation:
        """What is left of a likelihood when hidden parts of the observable are integrated out.

        **Arguments:**

        - `likelihood`: natural, as `likelihood_function` returns it.
        - `observed`: a mask, of the form `obs_man.mask`.
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
        xs, masks = self._check_one(point, x, observed)
        return self.log_observable_densities(point, xs, observed=masks)[0]

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
        if isinstance(xs, Patterns):
            return self._partial_densities(point, xs, batch_size) - log_partition
        observable = as_batch(point.observable)

        def densities(chunk: Any) -> Array:
            posteriors = self._posteriors(point, chunk)
            energies = self.obs_man.pair_statistics(observable, chunk)[:, 0]
            base_measures = jax.vmap(self.obs_man.log_base_measure)(chunk)
            return energies + posteriors.log_partitions[:, 0] - log_partition + base_measures

        return map_chunks(densities, xs, batch_size)

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

    def _posteriors(self, point: Natural, xs: Any) -> Translations:
        shifts = self.int_man.shifts(point.interaction, xs)
        return self.int_man.translations(point.latent, shifts)

    def posterior_statistics(self, point: Natural, x: Any, observed: Any = None) -> Mean:
        r"""Expected joint statistics given one observation: $s_X(x)$, $s_X(x) \otimes E[s_Z|x]$,
        $E[s_Z|x]$, as a mean point; with a mask, expectations of what is not observed, too.
        """
        xs, masks = self._check_one(point, x, observed)
        return self.mean_posterior_statistics(point, xs, observed=masks)

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
        """Averages of posterior statistics, and of log densities without constants."""
        self.check_single(point)
        xs = self._check_batch(point, xs, observed)
        if isinstance(xs, Patterns):
            weights = check_weights(weights, len(xs), float_dtype(point))
            return self._partial_sums(point, xs, weights, batch_size)
        weights = check_weights(weights, batch_length(xs), float_dtype(point))

        def sums(chunk: Any, chunk_weights: Array) -> tuple[Mean, Array]:
            posteriors = self._posteriors(point, chunk)
            projections = jax.tree.map(lambda leaf: leaf[:, 0], posteriors.projections)
            observable, interaction = self.int_man.outer_sum(
                chunk, projections, chunk_weights[:, 0]
            )
            latent = first_of(posteriors.total(chunk_weights))
            evidence = jnp.sum(chunk_weights * posteriors.log_partitions)
            return self.point(observable, interaction, latent), evidence

        mean, evidence = sum_chunks(sums, xs, weights[:, None], batch_size)
        return mean, evidence + dot(point.observable, mean.observable)

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
        """What a batch of observations says about the interacting latents, on average.

        **Returns:** for linear Gaussian lower levels an array (N, latent dimension) of expected
        positions; in general the leaves of the mean parameters of the interacting statistic.
        """
        self.check_single(point)
        xs = self.obs_man.check_form(xs, like=point)

        def expectations(chunk: Any) -> Any:
            posteriors = self._posteriors(point, chunk)
            return jax.tree.map(lambda leaf: leaf[:, 0], posteriors.projections)

        result = map_chunks(expectations, xs, batch_size)
        leaves = jax.tree.leaves(result)
        return leaves[0] if len(leaves) == 1 else tuple(leaves)

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
        """One observation, and its mask if there is one, as batches."""
        x = self.obs_man.check_form(x, batch=False, like=point)
        if observed is not None:
            observed = as_batch(check_mask(self.obs_man, observed, batch=False))
        return as_batch(x), observed

    def _check_batch(self, point: Natural, xs: Any, observed: Any) -> Any:
        if isinstance(xs, Patterns):
            return check_patterns(self.obs_man, xs, observed, point)
        if observed is not None:
            return group_patterns(self.obs_man, xs, observed, point)
        return self.obs_man.check_form(xs, like=point)

    def _marginal(self, point: Natural, observed: Any) -> tuple[PartialConjugation, Natural]:
        """The marginal harmonium of what is observed: its likelihood, and its latent."""
        partial = self.partial_conjugation(self.likelihood_function(point), observed)
        return partial, self.pst_prr_emb.embed(point.latent) + partial.rho

    def partial_posterior(self, point: Natural, x: Any, observed: Any) -> Natural:
        x = self.obs_man.check_form(x, batch=False, like=point)
        observed = check_mask(self.obs_man, observed, batch=False)
        partial, latent = self._marginal(point, observed)
        rows = as_batch(self.obs_man.conceal(x, observed))
        shift = first_of(self.marginal_interaction.shifts(partial.interaction, rows))
        return self.marginal_interaction.translate_domain(latent, shift)

    def _partial_densities(self, point: Natural, xs: Patterns, batch_size: int) -> Array:
        """Log densities, less the log partition function."""
        interaction, family = self.marginal_interaction, self.obs_man

        def densities(rows: Any, observed: Any) -> Array:
            partial, latent = self._marginal(point, observed)
            shifts = interaction.shifts(partial.interaction, rows)
            energies = family.pair_statistics(as_batch(partial.observable), rows)[:, 0]
            evidence = interaction.translations(latent, shifts).log_partitions[:, 0]
            measures = jax.vmap(family.log_partial_measure, (0, None))(rows, observed)
            return energies + evidence + partial.chi + measures

        blocks = map_chunks(
            lambda chunk: jax.vmap(densities)(chunk[0], chunk[1]),
            (xs.xs, xs.observed),
            _blocks_at_once(xs, batch_size),
        )
        return xs.gather(blocks)

    def _partial_sums(
        self, point: Natural, xs: Patterns, weights: Float[Array, " n"], batch_size: int
    ) -> tuple[Mean, Array]:
        def sums(chunk: Any, chunk_weights: Array) -> tuple[Mean, Array]:
            rows, masks = chunk
            return self.partial_statistics(point, rows, masks, chunk_weights)

        size = _blocks_at_once(xs, batch_size)
        return sum_chunks(sums, (xs.xs, xs.observed), xs.spread(weights), size)

    def partial_statistics(
        self, point: Natural, rows: Any, observed: Any, weights: Float[Array, "blocks n"]
    ) -> tuple[Mean, Float[Array, ""]]:
        r"""Weighted sums of posterior statistics and of log densities of partly observed data.

        Mathematically, with the expected statistics $\eta$ of the marginal harmonium of each
        block, those of the whole observable are the derivatives by the likelihood's parameters of
        $\sum_n w_n (s(x_n) \cdot \theta' + \eta_n \cdot (\rho + \Theta'^T s(x_n)) + \chi)$.

        **Arguments:**

        - `point`: natural.
        - `rows`: blocks of N observations each, concealed.
        - `observed`: one mask a block.
        - `weights`: (blocks, N).

        **Returns:** a mean point, and the sum of log densities less base measures and the log
        partition function.
        """
        interaction, family = self.marginal_interaction, self.obs_man

        def expectations(rows: Any, mask: Any, weights: Array) -> tuple[Any, Mean, Array]:
            partial, latent = self._marginal(point, mask)
            shifts = interaction.shifts(partial.interaction, rows)
            posteriors = interaction.translations(latent, shifts)
            projections = jax.tree.map(lambda leaf: leaf[:, 0], posteriors.projections)
            energies = family.pair_statistics(as_batch(partial.observable), rows)[:, 0]
            evidence = weights @ (energies + partial.chi + posteriors.log_partitions[:, 0])
            return projections, first_of(posteriors.total(weights[:, None])), evidence

        projections, totals, evidence = jax.vmap(expectations)(rows, observed, weights)

        def expected_energy(likelihood: Natural) -> Array:
            def energy(rows: Any, mask: Any, weights: Array, means: Any, total: Mean) -> Array:
                partial = self.partial_conjugation(likelihood, mask)
                own = family.pair_statistics(as_batch(partial.observable), rows)[:, 0] + partial.chi
                shifts = interaction.shifts(partial.interaction, rows)
                pairs = zip(jax.tree.leaves(means), jax.tree.leaves(shifts), strict=True)
                for mean, shift in pairs:
                    own = own + jnp.sum((mean * shift).reshape(len(weights), -1), axis=1)
                return weights @ own + dot(partial.rho, total)

            return jnp.sum(jax.vmap(energy)(rows, observed, weights, projections, totals))

        whole: Any = gradient(expected_energy)(self.likelihood_function(point))
        total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), totals)
        mean = self.point(whole.observable, whole.interaction, self.pst_prr_emb.project(total))
        return mean, jnp.sum(evidence)


def _blocks_at_once(xs: Patterns, batch_size: int) -> int:
    """How many blocks of partly observed data are processed at once."""
    return max(1, min(MAX_BLOCKS, batch_size // xs.shape[1]))
