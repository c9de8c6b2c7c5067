"""Mixtures of any exponential family, harmoniums included."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PRNGKeyArray

from harmonium.exponential_family.affine import substitute
from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.checks import all_close, require
from harmonium.exponential_family.outline import Dependence, all_pairs, differing, interactions
from harmonium.families.categorical import Categorical
from harmonium.families.normal import Normal
from harmonium.geometry.embedding import IdentityEmbedding, LinearEmbedding, compose
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    Point,
    VectorPoint,
    stack_points,
)
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.components import fit_components, has_formula, shares_interaction
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import embed_observable
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.latents import top_marginal
from harmonium.harmoniums.marginals import (
    joined_moments,
    observable_distribution,
    select_component,
)
from harmonium.harmoniums.mixture_starts import random_mixture, start_mixture
from harmonium.harmoniums.standardize import (
    standardize_under,
    standardizing_map,
    substitute_latent,
    substitute_likelihood,
)


class Mixture(Conjugated):
    r"""A mixture of $K$ distributions of one family: a harmonium with a categorical latent.

    $\log p(x, k) = \theta_X \cdot s(x) + \theta_k + \Theta_k \cdot s(x) + \dots$ with
    $\theta_0 = \Theta_0 = 0$: component 0 has natural parameters $\theta_X$, component $k$ has
    $\theta_X + e(\Theta_k)$. With the evidence $f_X$ of the family, an observation has the message
    $\rho_k = f_X(\theta_X + e(\Theta_k), x) - f_X(\theta_X, x)$ and $\chi = f_X(\theta_X, x)$.

    The family may be a harmonium with latents of its own, which its evidence hides:
    `hm.Mixture(hm.factor_analysis(64, 5), 10)` is a mixture of factor analysers, and its data are
    those of the factor analysers.

    **Arguments:**

    - `obs_man`: the family of the components.
    - `n_components`: $K$.
    - `obs_emb`: a linear embedding $e$ into `obs_man` of the part of the parameters that differs
        between components; by default all of them do. `hm.LocationEmbedding(normal)` gives
        components that share their precision; for harmoniums see `hm.free_parameters`.

    **Source:** Ghahramani and Hinton, The EM Algorithm for Mixtures of Factor Analyzers (1996).
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
        mixed = "" if self.shares_nothing else f", {self.obs_emb}"
        return f"Mixture({self.obs_man}, {self.n_components}{mixed})"

    @cached_property
    def pst_man(self) -> Categorical:
        """The categorical distribution of the component."""
        return Categorical(self.n_components)

    @cached_property
    def int_man(self) -> LinearMap:
        """K - 1 differences of component parameters."""
        return LinearMap(self.pst_man, self.obs_emb.sub_man)

    @property
    def shares_nothing(self) -> bool:
        """Whether components may differ in all parameters."""
        return isinstance(self.obs_emb, IdentityEmbedding)

    @property
    def has_closed_form_likelihood(self) -> bool:
        """If there is a formula for components that differ in what `obs_emb` embeds only."""
        return has_formula(self.obs_emb)

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """The evidence of $x$ under the components, less that under the first, which is chi."""
        evidence = self.obs_man.evidence_kernel
        components = self.components_of(likelihood)
        return self._compare(jax.vmap(lambda own: evidence(own, x, observed))(components))

    def translated_evidence(
        self, point: Natural, shift: Natural, x: Any, observed: Any
    ) -> Float[Array, ""]:
        """With the observable's shift added to every component by the family itself."""
        x, z = (None, None) if x is None else x
        x_mask, z_mask = (None, None) if observed is None else observed
        likelihood = self.make_likelihood(point.observable, point.interaction + shift.interaction)

        def evidence(component: Natural) -> Array:
            return self.obs_man.translated_evidence(component, shift.observable, x, x_mask)

        rho, chi = self._compare(jax.vmap(evidence)(self.components_of(likelihood)))
        latent = point.latent + shift.latent + rho
        return self.pst_man.evidence_kernel(latent, z, z_mask) + chi

    def _compare(self, evidences: Float[Array, " k"]) -> tuple[Natural, Float[Array, ""]]:
        """The message that the evidence of the components makes."""
        differences = evidences[1:] - evidences[0]
        return VectorPoint(differences, self.pst_man, Coordinates.NATURAL), evidences[0]

    def observable_at(self, likelihood: Natural, latent: Any) -> Natural:
        return jax.tree.map(lambda leaf: leaf[latent], self.components_of(likelihood))

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        starts = None if start is None else self.components_of(start)
        parts, weights = self.component_sums(point)
        components = fit_components(self.obs_emb, point.observable, parts, weights, starts)
        return self.join_components(components)

    def admits(self, point: Natural) -> Bool[Array, ""]:
        """Whether the family admits every component."""
        return jnp.all(jax.vmap(self.obs_man.admits)(self.components(point)))

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random components with random weights."""
        return random_mixture(self, key)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Components from clusters of the sample, or, for every other key, broad ones.

        Clusters are those of k-means on vectors of the observations; a twentieth of what each
        component starts from comes from the whole sample, so that none is without data. Broad
        components lie half way between the average of the sample and random members of it, in mean
        coordinates, and have equal weights. Where components share parameters, those differ by what
        moves their interacting means there, and are then narrowed by a step of EM in which
        observations belong to one component. Clusters lead to the same good optimum more often,
        broad components to more of them.

        Harmoniums start from the parts into which a mixture of the family of their data cuts the
        sample. Of a large sample a random part makes the components.
        """
        return start_mixture(self.obs_man, self, key, self.data_man.check_data(xs))

    # --- components

    def from_components(self, components: Any, weights: Any) -> Natural:
        """The mixture of given components.

        **Arguments:**

        - `components`: a batch of `n_components` natural points of `obs_man`, or a sequence of such
            points.
        - `weights`: (n_components,), positive, summing to one.

        **Raises:** an error for another number of components, bad weights, and components that
        differ in parameters that `obs_emb` does not reach.
        """
        if not isinstance(components, Point):
            components = stack_points(components)
        self.obs_man.check_point(components)
        if components.coordinates is not Coordinates.NATURAL:
            raise TypeError("from_components takes natural points, not mean points: to_natural.")
        if components.batch_shape != (self.n_components,):
            raise ValueError(
                f"{self} has {self.n_components} components, got a batch of shape "
                f"{components.batch_shape}."
            )
        prior = self.pst_man.from_probabilities(weights)
        likelihood = self.join_components(components)
        if not self.shares_nothing:
            likelihood = require(
                likelihood,
                all_close(self.components_of(likelihood), components),
                f"the components of {self} may differ in the parameters that obs_emb embeds only; "
                "these differ in others.",
            )
        return self.join_conjugated(likelihood, prior)

    def components(self, point: Natural) -> Natural:
        """The components of a natural point, a batch of natural points of `obs_man`."""
        return self.components_of(self.likelihood_function(point))

    def weights(self, point: Natural) -> Float[Array, " {self.n_components}"]:
        """The weights of the components of a natural point."""
        return self.pst_man.probabilities(self.prior(point))

    def components_of(self, likelihood: Natural) -> Natural:
        """The components of a likelihood, without checks."""
        first, differences = likelihood.observable, likelihood.interaction.rows[0]
        others = jax.vmap(lambda own: self.obs_emb.translate(first, own))(differences)
        return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, others)

    def join_components(self, components: Natural) -> Natural:
        """The likelihood with K components, or those nearest to them that differ as allowed."""
        first = components[0]
        rows = jax.vmap(lambda own: self.obs_emb.restrict(own - first))(components[1:])
        interaction = LinearMapPoint((rows,), self.int_man, Coordinates.NATURAL)
        return self.make_likelihood(first, interaction)

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


@interactions.register
def _(model: Mixture, latents: Any, observables: Any) -> tuple[Dependence, ...]:
    """All of a component depends on the category, with what the components share noted.

    The latents of components that are harmoniums share nothing.
    """
    free, total = model.obs_emb.sub_man.dim, model.obs_man.dim
    if not isinstance(observables, Joint):
        return all_pairs(latents, observables, differing(free, total))
    own: Any = model.obs_man
    note = differing(free - own.pst_man.dim, total - own.pst_man.dim)
    data = all_pairs(latents, observables.observable, note)
    return data + all_pairs(latents, observables.latent)


@embed_observable.register
def _(model: Mixture, embedding: LinearEmbedding) -> Mixture:
    if embedding.sub_man == model.obs_man:
        family: Any = embedding.amb_man
        return Mixture(family, model.n_components, compose(embedding, model.obs_emb))
    raise TypeError(f"the components of {model} can't be embedded by {embedding}.")


@select_component.register
def _(model: Mixture, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
    return model.obs_man, model.components(point)[component]


@substitute_likelihood.register
def _(model: Mixture, likelihood: Natural, scale: Any, shift: Any) -> tuple[Natural, Natural]:
    """That of the components; as the prior stays, the latent gets what conjugation takes less."""
    components = model.components_of(likelihood)
    moved = jax.vmap(lambda own: substitute(model.obs_man, own, scale, shift))(components)
    result = model.join_components(moved)
    before, after = (model.message(own, None, None)[0] for own in (likelihood, result))
    return result, before - after


@standardize_under.register
def _(model: Mixture, point: Natural, mean: Mean) -> Natural:
    """Each harmonium by itself, or all alike where they share the interaction.

    Harmoniums that share something else stay as they are, as it might not be shared any more.
    """
    family: Any = model.obs_man
    if family.data_man == family:
        return point
    components = model.components(point)
    if shares_interaction(model.obs_emb):
        common = standardizing_map(family, mean.observable.latent)
        if common is None:
            return point
        components = jax.vmap(lambda own: substitute_latent(family, own, *common))(components)
    elif model.has_closed_form_likelihood:
        standardize = jax.vmap(lambda own, mean: standardize_under(family, own, mean))
        components = standardize(components, _component_means(model, mean))
    else:
        return point
    return model.join_conjugated(model.join_components(components), model.prior(point))


def _component_means(model: Mixture, mean: Mean) -> Mean:
    """The statistics of harmoniums, of which those that share some have no other than latents'."""
    family: Any = model.obs_man
    sums, weights = model.component_sums(mean)
    if not model.shares_nothing:
        nothing = family.zeros(Coordinates.MEAN)
        parts = nothing.observable, nothing.interaction
        sums = jax.vmap(lambda latent: family.point(*parts, latent))(sums.components[1])
    return jax.vmap(lambda own, weight: own / weight)(sums, weights)


# --- the marginal over observables, by conditioning on the category at the top


@observable_distribution.register
def _(model: Conjugated, point: Natural) -> tuple[Differentiable, Natural]:
    model.check_single(point)
    top = top_marginal(model, point)
    if top is None:
        marginal = _normal(model, point)
        return _family(marginal), marginal
    components = jax.vmap(lambda k: _component(model, point, k))(
        jnp.arange(_family(top).n_categories)
    )
    mixture = Mixture(_family(components), len(components))
    return mixture, mixture.join_conjugated(mixture.join_components(components), top)


@observable_distribution.register
def _(model: Mixture, point: Natural) -> tuple[Differentiable, Natural]:
    model.check_single(point)
    if model.obs_man.data_man == model.obs_man:
        return model, point
    return observable_distribution.dispatch(Conjugated)(model, point)


def _component(model: Conjugated, point: Natural, component: Any) -> Natural:
    """The distribution of the data given one category."""
    conditioned, own = select_component(model, point, component)
    if conditioned == model.data_man:  # no latents are left
        return own
    if top_marginal(conditioned, own) is not None:
        raise TypeError(
            f"given the category at the top of {model}, the observables have a mixture again, so "
            "their marginal is in no family at hand. log_observable_density and observable_sample "
            "are exact nevertheless."
        )
    return _normal(conditioned, own)


def _normal(model: Differentiable, point: Natural) -> Natural:
    mean, covariance = joined_moments(model, point)
    return Normal(len(mean)).from_moments(mean, covariance)


def _family(point: Natural) -> Any:
    return point.manifold
