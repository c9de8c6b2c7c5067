"""Mixtures of any exponential family."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import BATCH_SIZE, Differentiable
from harmonium.exponential_family.checks import all_close, check_weights, require
from harmonium.exponential_family.chunks import sum_chunks
from harmonium.exponential_family.form import float_dtype
from harmonium.exponential_family.outline import Dependence, all_pairs, differing
from harmonium.families.categorical import Categorical
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    Translations,
    compose,
)
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    VectorPoint,
)
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.components import (
    LatentShifts,
    project_weights,
    shift_log_odds,
    stack_components,
    translate_components,
)
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.harmonium import PartialConjugation


class Mixture(Conjugated):
    r"""A mixture of $K$ distributions of one family: a harmonium with a categorical latent.

    $\log p(x, k) = \theta_X \cdot s(x) + \theta_k + \Theta_k \cdot s(x) + \dots$ with
    $\theta_0 = \Theta_0 = 0$: component 0 has natural parameters $\theta_X$, component $k$ has
    $\theta_X + e(\Theta_k)$. Conjugation parameters: $\rho_k = \psi_X(\theta_X + e(\Theta_k)) -
    \psi_X(\theta_X)$ and $\chi = \psi_X(\theta_X)$.

    **Arguments:**

    - `obs_man`: the family of the components.
    - `n_components`: $K$.
    - `obs_emb`: a linear embedding $e$ into `obs_man` of the part of the parameters that differs
        between components; by default all of them do. `hm.LocationEmbedding(normal)` gives
        components that share their precision.
    """

    obs_man: Differentiable = eqx.field(static=True)
    n_components: int = eqx.field(static=True)
    obs_emb: LinearEmbedding = eqx.field(static=True)

    def __init__(
        self, obs_man: Differentiable, n_components: int, obs_emb: LinearEmbedding | None = None
    ):
        if n_components < 1:
            raise ValueError(f"a mixture needs at least one component, got {n_components}.")
        self.obs_man = obs_man
        self.n_components = n_components
        self.obs_emb = IdentityEmbedding(obs_man) if obs_emb is None else obs_emb
        if self.obs_emb.amb_man != obs_man:
            raise TypeError(
                f"obs_emb embeds into {self.obs_emb.amb_man}, but the components are in {obs_man}: "
                "these must be the same."
            )

    def __str__(self) -> str:
        mixed = "" if self._shares_nothing else f", {self.obs_emb}"
        return f"Mixture({self.obs_man}, {self.n_components}{mixed})"

    @cached_property
    def pst_man(self) -> Categorical:
        """The categorical distribution of the component."""
        return Categorical(self.n_components)

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The identity."""
        return IdentityEmbedding(self.pst_man)

    @cached_property
    def int_man(self) -> LinearMap:
        """K - 1 differences of component parameters."""
        return LinearMap(IdentityEmbedding(self.pst_man), self.obs_emb)

    @property
    def is_closed_form(self) -> bool:
        """If the embedding has a formula for components that differ in what it embeds only."""
        return self.obs_emb.fits_components

    @property
    def _shares_nothing(self) -> bool:
        return isinstance(self.obs_emb, IdentityEmbedding)

    @property
    def is_quadratic(self) -> bool:
        """Never."""
        return False

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """All of what is observed depends on the category, with what the components share noted."""
        note = differing(self.obs_emb.sub_man.dim, self.obs_man.dim)
        return all_pairs(latents, observables, note)

    def conjugation_parameters(self, likelihood: Natural) -> tuple[Natural, Float[Array, ""]]:
        self.lkl_man.check_single(likelihood)
        components = self._components(likelihood.observable, likelihood.interaction)
        log_partitions = jax.vmap(self.obs_man.log_partition_function)(components)
        rho = log_partitions[1:] - log_partitions[0]
        return VectorPoint(rho, self.pst_man, Coordinates.NATURAL), log_partitions[0]

    @cached_property
    def marginal_interaction(self) -> LinearMap:
        """As `int_man`, of components that differ in everything."""
        return LinearMap(IdentityEmbedding(self.pst_man), IdentityEmbedding(self.obs_man))

    def partial_conjugation(self, likelihood: Natural, observed: Any) -> PartialConjugation:
        """The marginals of the components."""
        self.lkl_man.check_single(likelihood)
        components = self._components(likelihood.observable, likelihood.interaction)
        left, constants = jax.vmap(self.obs_man.marginalize, (0, None))(components, observed)
        first, natural = left[0], Coordinates.NATURAL
        rows = jax.vmap(lambda own: own - first)(left[1:])
        interaction = LinearMapPoint((rows,), self.marginal_interaction, natural)
        rho = VectorPoint(constants[1:] - constants[0], self.pst_man, natural)
        return PartialConjugation(first, interaction, rho, constants[0])

    def log_partition_and_mean(self, point: Natural) -> tuple[Float[Array, ""], Mean]:
        """The weighted means of the components; equal to the chain rule, and faster."""
        components = self._components(point.observable, point.interaction)
        log_partitions, means = jax.vmap(self.obs_man.log_partition_and_mean)(components)
        scores = log_partitions + jnp.pad(point.latent.values, (1, 0))
        weights = jax.nn.softmax(scores)
        weighted = jax.vmap(lambda mean, weight: mean * weight)(means, weights)
        return jax.nn.logsumexp(scores), self.from_component_sums(weighted, weights)

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        parts, weights = self.component_sums(point)
        starts = None if start is None else self._components(start.observable, start.interaction)
        components = self.obs_emb.fit_components(point.observable, parts, weights, starts)
        return self._from_natural_components(components)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        """Whether the family admits every component."""
        return jnp.all(jax.vmap(self.obs_man.admits)(self.components(point)))

    def embed_observable(self, embedding: LinearEmbedding) -> "Mixture":
        family: Any = embedding.amb_man
        return Mixture(family, self.n_components, compose(embedding, self.obs_emb))

    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        """The point itself: a categorical has nothing to standardise."""
        return point

    def standardizing_map(self, marginal: Mean) -> tuple[None, int]:
        """The identity: no scale, and for a shift the reference, whose statistic is zero."""
        self.pst_man.check_single(marginal)
        return None, 0

    def observable_translations(
        self,
        inner: LinearEmbedding,
        points: Natural,
        shifts: Natural,
        latent: LatentShifts = None,
    ) -> Translations:
        """A shift of the observable shifts every component, and reweighs them."""
        components = jax.vmap(self.components)(points)
        log_odds = shift_log_odds(self.pst_man, points.latent, latent)
        found = translate_components(components, log_odds, self.from_component_sums, inner, shifts)
        return project_weights(self.pst_man, found, latent)

    # --- marginals

    def observable_distribution(self, point: Natural) -> tuple["Mixture", Natural]:
        self.check_single(point)
        return self, point

    def select_component(self, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
        return self.obs_man, self.components(point)[component]

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random components with random weights."""
        if not self._shares_nothing:
            return self._initialize_shared(key)
        observable_key, weight_key = jax.random.split(key)
        keys = jax.random.split(observable_key, self.n_components)
        components = jax.vmap(self.obs_man.initialize)(keys)
        likelihood = self._from_natural_components(components)
        return self.join_conjugated(likelihood, self.pst_man.initialize(weight_key))

    def _initialize_shared(self, key: PRNGKeyArray) -> Natural:
        """Components that differ by small multiples of the interacting part of random points."""
        keys = jax.random.split(key, self.n_components + 1)
        components = jax.vmap(self.obs_man.initialize)(keys[1:])
        base = components[0]
        differences = jax.vmap(lambda c: self.obs_emb.restrict(c - base))(components)
        likelihood = self._make_likelihood(base, differences[1:] * 0.1)
        return self.join_conjugated(likelihood, self.pst_man.initialize(keys[0]))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Components half way between the average of the sample and random members of it.

        In mean coordinates, so that every component has a valid, broad distribution. Weights are
        equal. Components that share parameters differ by what moves their interacting means there,
        and are then narrowed by a step of EM in which observations belong to one component.
        """
        xs = self.obs_man.check_data(xs)
        member_key, observable_key = jax.random.split(key)
        n = jax.tree.leaves(xs)[0].shape[0]
        chosen = jax.random.choice(
            member_key, n, (self.n_components,), replace=n < self.n_components
        )
        overall = self.obs_man.initialize_from_sample(observable_key, xs)
        average = self.obs_man.to_mean(overall)
        members = jax.vmap(self.obs_man.sufficient_statistic)(jax.tree.map(lambda a: a[chosen], xs))
        means = jax.vmap(lambda member: member * 0.5 + average * 0.5)(members)
        prior = self.pst_man.zeros(Coordinates.NATURAL)
        if self._shares_nothing:
            components = jax.vmap(self.obs_man.improve, (0, None))(means, overall)
            return self.join_conjugated(self._from_natural_components(components), prior)
        differences = self._differences_towards(overall, means)
        first = self.obs_emb.translate(overall, differences[0])
        rest = jax.vmap(lambda d: d - differences[0])(differences[1:])
        likelihood = self._make_likelihood(first, rest)
        return self._narrowed(self.join_conjugated(likelihood, prior), xs)

    def _narrowed(self, point: Natural, xs: Any) -> Natural:
        """The M-step for observations that belong to their likeliest component.

        A tenth of the point itself is mixed in, so that no component is empty. Components that
        share parameters start as broad as the sample, and soft assignments would leave them so.
        """
        shares = jax.nn.one_hot(self.assign(point, xs), self.n_components)[:, 1:]
        weights = check_weights(None, len(shares), float_dtype(point))[:, None]

        def statistics(chunk: Any, chunk_weights: Array) -> Mean:
            members, member_shares = chunk
            chunk_weights = chunk_weights[:, 0]
            total, parts = self.int_man.outer_sum(members, member_shares, chunk_weights)
            masses = VectorPoint(chunk_weights @ member_shares, self.pst_man, Coordinates.MEAN)
            return self.point(total, parts, masses)

        hard = sum_chunks(statistics, (xs, shares.astype(weights.dtype)), weights, BATCH_SIZE)
        return self.improve(hard * 0.9 + self.to_mean(point) * 0.1, point)

    def _differences_towards(self, base: Natural, means: Mean) -> Natural:
        """Differences from one component that move its interacting mean to others, to first order.

        Each is halved until the result is inside the natural domain.
        """
        sub: Any = self.obs_emb.sub_man

        def interacting_mean(vector: Array) -> Array:
            moved = self.obs_emb.translate(base, sub.unravel(vector))
            return sub.ravel(self.obs_emb.project(self.obs_man.to_mean(moved)))

        zero = jnp.zeros(sub.dim, jax.tree.leaves(base)[0].dtype)
        fisher, current = jax.jacfwd(interacting_mean)(zero), interacting_mean(zero)

        def difference(mean: Mean) -> Natural:
            target = sub.ravel(self.obs_emb.project(mean))
            full = jnp.linalg.solve(fisher, target - current)

            def outside(step: Array) -> Array:
                moved = self.obs_emb.translate(base, sub.unravel(step))
                return ~self.obs_man.in_domain(moved) & jnp.any(step != 0)

            return sub.unravel(jax.lax.while_loop(outside, lambda step: step / 2, full))

        return jax.vmap(difference)(means)

    # --- standard parameters

    def from_components(self, components: Any, weights: Any) -> Natural:
        """The mixture of given components.

        **Arguments:**

        - `components`: a batch of `n_components` natural points of `obs_man`, or a sequence of such
            points.
        - `weights`: (n_components,), positive, summing to one.

        **Raises:** an error for another number of components, bad weights, and components that
        differ in parameters that `obs_emb` does not reach.
        """
        components = stack_components(self, self.obs_man, components)
        prior = self.pst_man.from_probabilities(weights)
        return self.join_conjugated(self._from_natural_components(components, check=True), prior)

    def components(self, point: Natural) -> Natural:
        """The components of a natural point, a batch of natural points of `obs_man`."""
        self.check_single(point)
        return self._components(point.observable, point.interaction)

    def weights(self, point: Natural) -> Float[Array, " {self.n_components}"]:
        """The weights of the components of a natural point."""
        return self.pst_man.probabilities(self.prior(point))

    def _components(self, observable: Natural, interaction: Natural) -> Natural:
        others = jax.vmap(lambda d: self.obs_emb.translate(observable, d))(interaction.rows[0])
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), observable, others)

    def _from_natural_components(self, components: Natural, check: bool = False) -> Natural:
        first = components[0]
        differences = jax.vmap(lambda c: self.obs_emb.restrict(c - first))(components[1:])
        likelihood = self._make_likelihood(first, differences)
        if check and not self._shares_nothing:
            rebuilt = self._components(likelihood.observable, likelihood.interaction)
            likelihood = require(
                likelihood,
                all_close(rebuilt, components),
                f"the components of {self} may differ in the parameters that obs_emb embeds only; "
                "these differ in others.",
            )
        return likelihood

    def _make_likelihood(self, observable: Natural, differences: Natural) -> Natural:
        interaction = LinearMapPoint((differences,), self.int_man, Coordinates.NATURAL)
        return self.make_likelihood(observable, interaction)

    def join_components(self, components: Natural, log_odds: Float[Array, " k"]) -> Natural:
        """The mixture with these components and this natural category.

        **Arguments:**

        - `components`: K natural points of `obs_man`.
        - `log_odds`: (K - 1,), the natural parameters of the posterior's category.
        """
        likelihood = self._from_natural_components(components)
        category = VectorPoint(log_odds, self.pst_man, Coordinates.NATURAL)
        return self.point(likelihood.observable, likelihood.interaction, category)

    def component_sums(self, point: Mean) -> tuple[Mean, Float[Array, " k"]]:
        """The components' shares of the interacting statistics, and their weights.

        **Returns:** K mean points of `obs_emb.sub_man` times the components' weights, and (K,)
        weights.
        """
        rows, weights = point.interaction.rows[0], point.latent.values
        others = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), rows)
        first = self.obs_emb.project(point.observable) - others
        parts = jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, rows)
        return parts, jnp.concatenate([1 - jnp.sum(weights, keepdims=True), weights])

    def from_component_sums(self, sums: Mean, weights: Float[Array, " k"]) -> Mean:
        """The mean point of components with these shares of the statistics, and these weights.

        **Arguments:**

        - `sums`: K mean points of `obs_man`, times the components' weights.
        - `weights`: (K,), the components' probabilities.
        """
        observable = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), sums)
        rows = jax.vmap(self.obs_emb.project)(sums[1:])
        interaction = LinearMapPoint((rows,), self.int_man, Coordinates.MEAN)
        latent = VectorPoint(weights[1:], self.pst_man, Coordinates.MEAN)
        return self.point(observable, interaction, latent)
