"""Mixtures of harmoniums: of factor analysers, of hierarchies."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import all_close, require
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import Dependence, all_pairs, differing
from harmonium.geometry.block_map import BlockMapPoint
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    compose,
)
from harmonium.geometry.linear_map import LinearMapPoint
from harmonium.geometry.point import Coordinates, Mean, Natural, Point
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.components import stack_components
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.linear_gaussian import ComponentSums, fit_likelihoods, fits_likelihoods
from harmonium.harmoniums.mixed_interaction import MixedInteraction
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.observable import marginal_distribution


class MixtureOf(Conjugated):
    r"""A mixture of $K$ harmoniums of one kind: $p(x, y, k) = p(k)\, p(x, y \mid k)$.

    A harmonium over $x$ whose latent is the pair $(y, k)$, itself a mixture over the latents of the
    harmonium: a mixture of factor analysers is a factor analysis in which a category chooses the
    prior of the latents, the offset, the noise and the loadings. With the conjugation parameters
    $(\rho_k, \chi_k)$ of component $k$, those of the mixture are $\rho_0$ in the place of $y$,
    $\rho_k - \rho_0$ in that of its interaction with $k$, $\chi_k - \chi_0$ in that of $k$, and
    $\chi = \chi_0$.

    What the components may differ in is a choice. Their latents always may; if these are all that
    differs, use `hm.stack(harmonium, hm.Mixture(latent, K))`.

    **Arguments:**

    - `harmonium`: the conjugated harmonium of the components.
    - `n_components`: $K$.
    - `obs_emb`: a linear embedding into the observable manifold of the part of its parameters that
        differs between components; by default all of them do. With `hm.LocationEmbedding(normal)`
        factor analysers share their noise.
    - `shares_interaction`: whether components share the interaction; no by default. Factor
        analysers that share both noise and interaction share their loadings.

    **Source:** Ghahramani and Hinton, The EM Algorithm for Mixtures of Factor Analyzers (1996).
    """

    harmonium: Conjugated = eqx.field(static=True)
    n_components: int = eqx.field(static=True)
    obs_emb: LinearEmbedding = eqx.field(static=True)
    shares_interaction: bool = eqx.field(static=True)

    def __init__(
        self,
        harmonium: Any,
        n_components: int,
        obs_emb: LinearEmbedding | None = None,
        shares_interaction: bool = False,
    ):
        if not isinstance(harmonium, Conjugated):
            raise TypeError(
                f"MixtureOf takes a conjugated harmonium, got {harmonium!r}. Mixtures of other "
                "families are made by hm.Mixture."
            )
        if n_components < 1:
            raise ValueError(f"a mixture needs at least one component, got {n_components}.")
        self.harmonium = harmonium
        self.n_components = n_components
        self.obs_emb = IdentityEmbedding(harmonium.obs_man) if obs_emb is None else obs_emb
        self.shares_interaction = shares_interaction
        if self.obs_emb.amb_man != harmonium.obs_man:
            raise TypeError(
                f"obs_emb embeds into {self.obs_emb.amb_man}, but the components observe "
                f"{harmonium.obs_man}: these must be the same."
            )

    def __str__(self) -> str:
        parts = [str(self.harmonium), str(self.n_components)]
        if not isinstance(self.obs_emb, IdentityEmbedding):
            parts.append(str(self.obs_emb))
        if self.shares_interaction:
            parts.append("shares_interaction=True")
        return f"MixtureOf({', '.join(parts)})"

    @property
    def obs_man(self) -> Any:
        """The observable manifold of the components."""
        return self.harmonium.obs_man

    @cached_property
    def pst_man(self) -> Mixture:
        """The mixture over the latents of the components."""
        return Mixture(self.harmonium.pst_man, self.n_components)

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """That of the components, for each of them."""
        if self.harmonium.is_symmetric:
            return IdentityEmbedding(self.pst_man)
        prior = Mixture(self.harmonium.prr_man, self.n_components)
        return MixtureEmbedding(self.harmonium.pst_prr_emb, self.pst_man, prior)

    @cached_property
    def int_man(self) -> MixedInteraction:
        """The interaction of the components, and its and the observable's differences."""
        base, embedding = self.harmonium.int_man, IdentityEmbedding(self.pst_man)
        return MixedInteraction(
            base, self.pst_man, self.obs_emb, self.shares_interaction, embedding
        )

    @property
    def _shares_nothing(self) -> bool:
        return isinstance(self.obs_emb, IdentityEmbedding) and not self.shares_interaction

    @property
    def is_closed_form(self) -> bool:
        """If the harmonium has a formula for components that share what these share."""
        if self._shares_nothing:
            return self.harmonium.is_closed_form
        return fits_likelihoods(self.harmonium, self.obs_emb)

    @property
    def is_quadratic(self) -> bool:
        """Never."""
        return False

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """Those of the components, and of all that is observed with the category."""
        interacting = 0 if self.shares_interaction else self.harmonium.int_man.dim
        total = self.obs_man.dim + self.harmonium.int_man.dim
        note = differing(self.obs_emb.sub_man.dim + interacting, total)
        within = self.harmonium.interactions(latents.observable, observables)
        return within + all_pairs(latents.latent, observables, note)

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """Those of the components, joined to the natural parameters of the mixture of latents."""
        message, components = self.harmonium.message, self._likelihoods(likelihood)
        rhos, chis = jax.vmap(lambda own: message(own, x, observed))(components)
        latent: Any = self.pst_man if is_whole(x, observed) else self.prr_man
        return latent.join_components(rhos, chis[1:] - chis[0]), chis[0]

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """Component by component, or all at once where they share parameters."""
        harmonium, sums = self.harmonium, self._component_sums(point)
        if not self._shares_nothing:
            return self._merge(fit_likelihoods(harmonium, sums))
        components = jax.vmap(harmonium.point)(sums.offsets, sums.interactions, sums.latents)
        means = jax.vmap(lambda own, weight: own / weight)(components, sums.weights)
        starts = () if start is None else (self._likelihoods(start),)
        return self._merge(jax.vmap(harmonium.likelihood_to_natural)(means, *starts))

    def embed_observable(self, embedding: LinearEmbedding) -> "MixtureOf":
        harmonium = self.harmonium.embed_observable(embedding)
        obs_emb = compose(embedding, self.obs_emb)
        return MixtureOf(harmonium, self.n_components, obs_emb, self.shares_interaction)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        """Whether the harmonium admits every component."""
        return jnp.all(jax.vmap(self.harmonium.admits)(self.components(point)))

    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        """Each component by itself, or all alike where they share the interaction."""
        components, weights = self.components(point), self.weights(point)
        if self.shares_interaction:
            standardizing = self.harmonium.standardizing_map(latent.observable)
            if standardizing is None:
                return point
            substitute = self.harmonium.substitute_latent
            return self._assemble(
                jax.vmap(lambda component: substitute(component, *standardizing))(components),
                weights,
            )
        if not self.is_closed_form and not self._shares_nothing:
            return point  # a shift of the latents would move what is shared
        sums, shares = self.pst_man.component_sums(latent)
        means = jax.vmap(lambda own, share: own / share)(sums, shares)
        return self._assemble(
            jax.vmap(self.harmonium.standardize_under)(components, means), weights
        )

    # --- marginals

    def observable_distribution(self, point: Natural) -> tuple[Differentiable, Natural]:
        return marginal_distribution(self, point)

    def select_component(self, point: Natural, component: Any) -> tuple[Conjugated, Natural]:
        return self.harmonium, self.components(point)[component]

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random components with random weights."""
        component_key, weight_key = jax.random.split(key)
        keys = jax.random.split(component_key, self.n_components)
        components = jax.vmap(self.harmonium.initialize)(keys)
        weights = jax.random.dirichlet(weight_key, jnp.full(self.n_components, 5.0))
        return self._assemble(self._shared(components), weights)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Components from the parts into which a mixture of observables cuts the sample.

        That mixture is a random start itself. A tenth of what each component starts from comes from
        the whole sample, so that none is without data.
        """
        xs = self.obs_man.check_data(xs)
        cut_key, draw_key, start_key = jax.random.split(key, 3)
        cut = Mixture(self.obs_man, self.n_components)
        parts = cut.assign(cut.initialize_from_sample(cut_key, xs), xs)
        length = len(parts)

        def start(draw_key: PRNGKeyArray, start_key: PRNGKeyArray, part: Array) -> Natural:
            members = (parts == part).astype(float)
            share = members / jnp.maximum(jnp.sum(members), 1)
            rows = jax.random.choice(draw_key, length, (length,), p=0.9 * share + 0.1 / length)
            own = jax.tree.map(lambda leaf: leaf[rows], xs)
            return self.harmonium.initialize_from_sample(start_key, own)

        draw_keys = jax.random.split(draw_key, self.n_components)
        start_keys = jax.random.split(start_key, self.n_components)
        components = jax.vmap(start)(draw_keys, start_keys, jnp.arange(self.n_components))
        weights = jnp.full(self.n_components, 1 / self.n_components)
        return self._assemble(self._shared(components), weights)

    def _shared(self, components: Natural) -> Natural:
        """Components that share what they have to, near these.

        Where there is no formula for them, those that differ from the first by a tenth, so that all
        are in the domain.
        """
        if self._shares_nothing:
            return components
        if self.is_closed_form:
            n = self.n_components
            means = jax.vmap(self.harmonium.to_mean)(components)
            sums = self._from_component_sums(means / n, jnp.full(n, 1 / n))
            merged = self.likelihood_to_natural(sums)
        else:
            likelihoods = jax.vmap(self.harmonium.likelihood_function)(components)
            merged = self._merge(jax.tree.map(lambda a: 0.9 * a[:1] + 0.1 * a, likelihoods))
        priors = jax.vmap(self.harmonium.prior)(components)
        latents = jax.vmap(self.harmonium.pst_prr_emb.restrict)(priors)
        return jax.vmap(self.harmonium.join_dominated)(self._likelihoods(merged), latents)

    # --- standard parameters

    def from_components(self, components: Any, weights: Any) -> Natural:
        """The mixture of given harmoniums.

        **Arguments:**

        - `components`: a batch of `n_components` natural points of `harmonium`, or a sequence of
            such points.
        - `weights`: (n_components,), positive, summing to one.

        **Raises:** an error for another number of components, bad weights, and components that
        differ in parameters that they are to share.
        """
        components = stack_components(self, self.harmonium, components)
        category = self.pst_man.pst_man
        weights = category.probabilities(category.from_probabilities(weights))
        point = self._assemble(components, weights)
        if self._shares_nothing:
            return point
        return require(
            point,
            all_close(self.components(point), components),
            f"the components of {self} share parameters in which these differ.",
        )

    def components(self, point: Natural) -> Natural:
        """The components of a natural point, a batch of natural points of `harmonium`."""
        self.check_single(point)
        likelihoods = self._likelihoods(self.likelihood_function(point))
        latents = self.pst_man.components(point.latent)
        return self._points(likelihoods, latents)

    def weights(self, point: Natural) -> Float[Array, " {self.n_components}"]:
        """The weights of the components of a natural point."""
        return self.prr_man.weights(self.prior(point))

    def _likelihoods(self, likelihood: Natural) -> Natural:
        """The likelihoods of the components, a batch."""
        parts = self.int_man.components(likelihood.observable, likelihood.interaction)
        return jax.vmap(self.harmonium.make_likelihood)(*parts)

    def _merge(self, likelihoods: Natural) -> Natural:
        """The likelihood of the whole, from those of the components."""
        observables, interactions = likelihoods.observable, likelihoods.interaction
        interaction = self.int_man.from_components(observables, interactions)
        return self.make_likelihood(observables[0], interaction)

    def _points(self, likelihoods: Natural, latents: Point) -> Point:
        parts = likelihoods.observable, likelihoods.interaction, latents
        return jax.vmap(self.harmonium.point)(*parts)

    def _assemble(self, components: Natural, weights: Array) -> Natural:
        r"""The mixture with these components and weights.

        Mathematically, with $\psi_k$ the log partition function of component $k$, its log odds are
        $\log w_k - \psi_k$ less those of component 0.
        """
        likelihood = self._merge(jax.vmap(self.harmonium.likelihood_function)(components))
        log_partitions = jax.vmap(self.harmonium.log_partition_function)(components)
        scores = jnp.log(weights) - log_partitions
        latent = self.pst_man.join_components(components.latent, scores[1:] - scores[0])
        return self.point(likelihood.observable, likelihood.interaction, latent)

    def _component_sums(self, point: Mean) -> ComponentSums:
        """What a mean point says of each component."""
        latents, weights = self.pst_man.component_sums(point.latent)
        interactions, offset_rows = point.interaction.blocks[:2]
        offsets = _with_first(self.obs_emb.project(point.observable), offset_rows.rows[0])
        if not self.shares_interaction:
            interactions = _with_first(interactions, point.interaction.blocks[2].rows[0])
        return ComponentSums(point.observable, offsets, interactions, latents, weights)

    def _from_component_sums(self, sums: Mean, weights: Float[Array, " k"]) -> Mean:
        """The mean point of components with these means times their weights."""
        total = jax.tree.map(lambda leaf: jnp.sum(leaf, axis=0), sums)
        offsets = jax.vmap(self.obs_emb.project)(sums.observable[1:])
        maps, kind = self.int_man.maps, Coordinates.MEAN
        blocks = total.interaction, LinearMapPoint((offsets,), maps[1], kind)
        if not self.shares_interaction:
            blocks = *blocks, LinearMapPoint((sums.interaction[1:],), maps[2], kind)
        latent = self.pst_man.from_component_sums(sums.latent, weights)
        return self.point(total.observable, BlockMapPoint(blocks, self.int_man, kind), latent)


def _with_first(total: Mean, others: Mean) -> Mean:
    """All parts of a total of which all but the first are known."""
    first = jax.tree.map(lambda whole, part: whole - jnp.sum(part, axis=0), total, others)
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, others)


class MixtureEmbedding(RestrictionEmbedding):
    """A mixture in another, every component by the same embedding.

    **Fields:** `component_emb`, of the components of `sub_man` in those of `amb_man`; `sub_man`
    and `amb_man`, mixtures of as many components that may differ in all parameters.
    """

    component_emb: RestrictionEmbedding = eqx.field(static=True)
    sub_man: Mixture = eqx.field(static=True)
    amb_man: Mixture = eqx.field(static=True)

    def __check_init__(self):
        emb, sub, amb = self.component_emb, self.sub_man, self.amb_man
        fitting = Mixture(emb.sub_man, sub.n_components), Mixture(emb.amb_man, sub.n_components)  # pyright: ignore[reportArgumentType]
        if (sub, amb) != fitting:
            raise TypeError(
                f"an embedding of {sub} into {amb} cannot be made of one of {emb.sub_man} into "
                f"{emb.amb_man}."
            )

    def _map(self, function: Any, point: Point, target: Mixture) -> Point:
        rows = jax.vmap(function)(point.interaction.rows[0])
        interaction = LinearMapPoint((rows,), target.int_man, point.coordinates)
        return target.point(function(point.observable), interaction, point.latent)

    def embed(self, point: Natural) -> Natural:
        self.sub_man.check_single(point)
        return self._map(self.component_emb.embed, point, self.amb_man)

    def project(self, point: Mean) -> Mean:
        self.amb_man.check_single(point)
        return self._map(self.component_emb.project, point, self.sub_man)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + self.embed(shift)

    def observe(self, x: Any) -> Any:
        return Joint(self.component_emb.observe(x.observable), x.latent)

    def restrict(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        return self._map(self.component_emb.restrict, point, self.sub_man)

    def dominate(self, point: Natural) -> Natural:
        self.amb_man.check_single(point)
        components = jax.vmap(self.component_emb.dominate)(self.amb_man.components(point))
        return self.sub_man.join_components(components, point.latent.values)
