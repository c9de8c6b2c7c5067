"""Mixtures of any exponential family."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import all_close, require
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.evidence import sum_statistics
from harmonium.exponential_family.form import float_dtype
from harmonium.exponential_family.outline import Dependence, all_pairs, differing
from harmonium.families.categorical import Categorical
from harmonium.geometry.cholesky import solve_positive_definite
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    compose,
    zeros_like,
)
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    VectorPoint,
)
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.clusters import features_of, k_means, scaled_columns
from harmonium.harmoniums.components import stack_components
from harmonium.harmoniums.conjugated import Conjugated

# How many observations make the components of a start, and how much of each is the whole sample.
LARGEST_SAMPLE = 16_384
WHOLE_SAMPLE = 0.05


class Mixture(Conjugated):
    r"""A mixture of $K$ distributions of one family: a harmonium with a categorical latent.

    $\log p(x, k) = \theta_X \cdot s(x) + \theta_k + \Theta_k \cdot s(x) + \dots$ with
    $\theta_0 = \Theta_0 = 0$: component 0 has natural parameters $\theta_X$, component $k$ has
    $\theta_X + e(\Theta_k)$. With the evidence $f_X$ of the family, an observation has the message
    $\rho_k = f_X(\theta_X + e(\Theta_k), x) - f_X(\theta_X, x)$ and $\chi = f_X(\theta_X, x)$.

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

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """The evidence of $x$ under the components, less that under the first, which is $chi$."""
        components = self._components(likelihood.observable, likelihood.interaction)
        evidence = self.obs_man.evidence_kernel
        scores = jax.vmap(lambda own: evidence(own, x, observed))(components)
        return VectorPoint(scores[1:] - scores[0], self.pst_man, Coordinates.NATURAL), scores[0]

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
        """Components from clusters of the sample, or, for every other key, broad ones.

        Clusters are those of k-means on the `features` of the observations; a twentieth of what
        each component starts from comes from the whole sample, so that none is without data. Broad
        components lie half way between the average of the sample and random members of it, in mean
        coordinates, and have equal weights. Where components share parameters, those differ by what
        moves their interacting means there, and are then narrowed by a step of EM in which
        observations belong to one component. Clusters lead to the same good optimum more often,
        broad components to more of them.

        Of a large sample a random part makes the components.
        """
        xs = self.obs_man.check_data(xs)
        member_key, observable_key, cluster_key, part_key, coin_key = jax.random.split(key, 5)
        overall = self.obs_man.initialize_from_sample(observable_key, xs)
        average = self.obs_man.to_mean(overall)
        n = batch_length(xs)
        if n > LARGEST_SAMPLE:
            rows = jax.random.randint(part_key, (LARGEST_SAMPLE,), 0, n)
            xs = jax.tree.map(lambda leaf: leaf[rows], xs)
        if self._shares_nothing:
            base, broad = overall, self._broad_components(member_key, xs, average)
        else:
            base = self._shared_components(member_key, xs, overall, average)
            broad = self._narrowed(base, xs)
        clustered = self._clusters(cluster_key, xs, average)
        clusters = jax.random.bernoulli(coin_key)
        mean = jax.tree.map(lambda a, b: jnp.where(clusters, a, b), clustered, broad)
        if not self._shares_nothing:
            return self.improve(mean, base)
        parts, weights = self.component_sums(mean)
        means = jax.vmap(lambda part, weight: part / weight)(parts, weights)
        components = jax.vmap(self.obs_man.improve, (0, None))(means, overall)
        prior = self.pst_man.to_natural(mean.latent)
        return self.join_conjugated(self._from_natural_components(components), prior)

    def _members(self, key: PRNGKeyArray, xs: Any) -> Mean:
        """The statistics of random members of a sample, one for each component."""
        n = batch_length(xs)
        chosen = jax.lax.top_k(jax.random.uniform(key, (n,)), min(n, self.n_components))[1]
        chosen = jnp.resize(chosen, (self.n_components,))
        return jax.vmap(self.obs_man.sufficient_statistic)(jax.tree.map(lambda a: a[chosen], xs))

    def _broad_components(self, key: PRNGKeyArray, xs: Any, average: Mean) -> Mean:
        """Components half way between the average and members of the sample."""
        k = self.n_components
        sums = jax.vmap(lambda m: (m * 0.5 + average * 0.5) / k)(self._members(key, xs))
        return self.from_component_sums(sums, jnp.full(k, 1 / k, float_dtype(average)))

    def _shared_components(
        self, key: PRNGKeyArray, xs: Any, overall: Natural, average: Mean
    ) -> Natural:
        """As `_broad_components`, of components that share parameters."""
        means = jax.vmap(lambda m: m * 0.5 + average * 0.5)(self._members(key, xs))
        differences = self._differences_towards(overall, means)
        first = self.obs_emb.translate(overall, differences[0])
        rest = jax.vmap(lambda d: d - differences[0])(differences[1:])
        prior = zeros_like(self.pst_man, first)
        return self.join_conjugated(self._make_likelihood(first, rest), prior)

    def _clusters(self, key: PRNGKeyArray, xs: Any, average: Mean) -> Mean:
        """The statistics of clusters of the sample, each with some of the whole sample."""
        k, dtype = self.n_components, float_dtype(average)
        features = jax.vmap(lambda x: features_of(self.obs_man, x))(xs).astype(dtype)
        features = scaled_columns(features)
        members = jax.nn.one_hot(k_means(key, features, k), k, dtype=dtype)
        shares = members * (1 - WHOLE_SAMPLE) / len(members)
        sums = jax.vmap(lambda own: own + average * (WHOLE_SAMPLE / k))(self._sums(xs, shares))
        return self.from_component_sums(sums, jnp.sum(shares, axis=0) + WHOLE_SAMPLE / k)

    def _narrowed(self, point: Natural, xs: Any) -> Mean:
        """The statistics if observations belonged to their likeliest component.

        A tenth of those of the point itself is mixed in, so that no component is empty. Components
        that share parameters start as broad as the sample, and soft assignments would leave them
        so.
        """
        dtype = float_dtype(point)
        members = jax.nn.one_hot(self.assign(point, xs), self.n_components, dtype=dtype)
        shares = members / len(members)
        hard = self.from_component_sums(self._sums(xs, shares), jnp.sum(shares, axis=0))
        return hard * 0.9 + self.to_mean(point) * 0.1

    def _sums(self, xs: Any, shares: Float[Array, "n k"]) -> Mean:
        """Sums of the statistics of observations, with the weights that these have in clusters."""
        return jax.vmap(lambda own: sum_statistics(self.obs_man, xs, own), 1)(shares)

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
            full = solve_positive_definite(fisher, target - current)

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
