"""Hierarchies: conjugated harmoniums whose latent is a conjugated harmonium."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import Dependence
from harmonium.families.normal import Normal
from harmonium.geometry.diagonal import Diagonal
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
)
from harmonium.geometry.linear_map import InteractionMap
from harmonium.geometry.matrix import CovarianceStructure, PositiveDefinite
from harmonium.geometry.point import Mean, Natural
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import LatentHarmoniumEmbedding, ObservableEmbedding
from harmonium.harmoniums.linear_gaussian import LinearGaussianModel
from harmonium.harmoniums.marginals import Channel
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.observable import marginal_distribution


class Hierarchical(Conjugated):
    r"""A conjugated harmonium on top of another: $p(x, y, z) = p(x|y)\, p(y|z)\, p(z)$.

    $\log p(x, y, z) = \theta_X \cdot s(x) + s(x) \cdot \Theta_{XY} \cdot s(y) +
    \log q(y, z) + \dots$, where the lower harmonium gives the likelihood $p(x|y)$, and the latent
    $(y, z)$ is the upper harmonium, natural parameters of which are the latent component of a
    point. Conjugation parameters are those of the lower harmonium, placed in the observable of
    the upper one. As the upper harmonium may be a hierarchy, so recurses everything.

    Where the posterior of the lower harmonium is restricted (a diagonal covariance), the upper
    harmonium of the prior is derived from that of the posterior by embedding its observable.

    **Fields:**

    - `lwr_hrm`: the lower harmonium.
    - `upr_hrm`: the upper harmonium; its observable manifold is the lower's latent manifold.
    """

    lwr_hrm: Conjugated = eqx.field(static=True)
    upr_hrm: Conjugated = eqx.field(static=True)

    def __check_init__(self):
        lower, upper = self.lwr_hrm.pst_man, self.upr_hrm.obs_man
        if lower != upper:
            raise TypeError(
                f"the levels do not fit: the posterior of the lower harmonium lies on {lower}, the "
                f"observable of the upper harmonium on {upper}. {_remedy(lower, upper)}"
            )

    @property
    def pst_upr_hrm(self) -> Conjugated:
        """The upper harmonium, of the posterior."""
        return self.upr_hrm

    @cached_property
    def prr_upr_hrm(self) -> Conjugated:
        """The upper harmonium of the prior, whose observable may be fuller."""
        if self.lwr_hrm.is_symmetric:
            return self.upr_hrm
        return self.upr_hrm.embed_observable(self.lwr_hrm.pst_prr_emb)

    @property
    def obs_man(self) -> Any:
        """The observable manifold of the lower harmonium."""
        return self.lwr_hrm.obs_man

    @property
    def pst_man(self) -> Conjugated:
        """The upper harmonium, of the posterior."""
        return self.upr_hrm

    @cached_property
    def int_man(self) -> InteractionMap:
        """The lower harmonium's interaction, on the observable of the upper one."""
        return self.lwr_hrm.int_man.compose_domain(ObservableEmbedding(self.upr_hrm))

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding of the upper harmonium of the posterior into that of the prior."""
        if self.lwr_hrm.is_symmetric:
            return IdentityEmbedding(self.upr_hrm)
        embedding = self.lwr_hrm.pst_prr_emb
        return LatentHarmoniumEmbedding(embedding, self.upr_hrm, self.prr_upr_hrm)

    @property
    def is_closed_form(self) -> bool:
        """If the lower harmonium's likelihood has a closed-form M-step."""
        return self.lwr_hrm.is_closed_form

    @property
    def is_quadratic(self) -> bool:
        """If both levels are jointly Gaussian."""
        return self.lwr_hrm.is_quadratic and self.upr_hrm.is_quadratic

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """Those of the lower harmonium, with what the upper one observes."""
        return self.lwr_hrm.interactions(latents.observable, observables)

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """That of the lower harmonium, in the observable of the upper one."""
        rho, chi = self.lwr_hrm.message(self._to_lower(likelihood), x, observed)
        upper = self.upr_hrm if is_whole(x, observed) else self.prr_upr_hrm
        return ObservableEmbedding(upper).embed(rho), chi

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        lower = self.lwr_hrm
        interaction = lower.int_man.adopt(point.interaction)
        lower_mean = lower.point(point.observable, interaction, point.latent.observable)
        lower_start = None if start is None else self._to_lower(start)
        return self._from_lower(lower.likelihood_to_natural(lower_mean, lower_start))

    def embed_observable(self, embedding: LinearEmbedding) -> "Hierarchical":
        return Hierarchical(self.lwr_hrm.embed_observable(embedding), self.upr_hrm)

    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        """First the latent of the lower level, by its marginal; then the upper level."""
        standardizing = self.lwr_hrm.standardizing_map(latent.observable)
        if standardizing is not None:
            point = self.substitute_latent(point, *standardizing)
        upper = self.upr_hrm.standardize_under(point.latent, latent.latent)
        return self.point(point.observable, point.interaction, upper)

    # --- marginals

    def observable_distribution(self, point: Natural) -> tuple[Differentiable, Natural]:
        return marginal_distribution(self, point)

    def channel(self, likelihood: Natural) -> Channel:
        """That of the lower harmonium, from the observable of the upper one."""
        self.lkl_man.check_single(likelihood)
        return self.lwr_hrm.channel(self._to_lower(likelihood))

    def select_component(self, point: Natural, component: Any) -> tuple[Conjugated, Natural]:
        self.check_single(point)
        upper: Any
        upper, latent = self.upr_hrm.select_component(point.latent, component)
        lower: Any = self.lwr_hrm
        model = lower if upper == lower.pst_man else Hierarchical(lower, upper)
        return model, model.point(point.observable, model.int_man.adopt(point.interaction), latent)

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random levels, joined so that the prior is valid."""
        lower_key, upper_key = jax.random.split(key)
        likelihood = self.lwr_hrm.likelihood_function(self.lwr_hrm.initialize(lower_key))
        upper = self.upr_hrm.initialize(upper_key)
        return self.join_dominated(self._from_lower(likelihood), upper)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The lower level from the sample, the upper from the latents of the sample.

        These are expected latents if they are real vectors, and samples of the posterior if not.
        """
        lower_key, upper_key = jax.random.split(key)
        lower = self.lwr_hrm.initialize_from_sample(lower_key, xs)
        latents = self._latents_of(jax.random.fold_in(upper_key, 0), lower, xs)
        upper = self.upr_hrm.initialize_from_sample(upper_key, latents)
        likelihood = self.lwr_hrm.likelihood_function(lower)
        return self.join_dominated(self._from_lower(likelihood), upper)

    def _latents_of(self, key: PRNGKeyArray, lower: Natural, xs: Any) -> Any:
        """An observation of the upper level for each of the lower."""
        family = self.lwr_hrm.pst_man
        forms = jax.tree.leaves(family.observation)
        if all(jnp.issubdtype(form.dtype, jnp.floating) for form in forms):
            return self.lwr_hrm.expected_latents(lower, xs)
        keys = jax.random.split(key, batch_length(xs))

        def draw(own: PRNGKeyArray, x: Any) -> Any:
            return family.sample_one(own, self.lwr_hrm.posterior_at(lower, x))

        return jax.vmap(draw)(keys, self.obs_man.check_data(xs))

    # --- levels

    def from_levels(self, lower: Natural, upper: Natural) -> Natural:
        r"""The hierarchy with $p(x|y)$ of the lower model and $p(y, z)$ of the upper.

        **Arguments:**

        - `lower`: natural, on `lwr_hrm`, of which only the likelihood is used.
        - `upper`: natural, on `prr_upr_hrm`, or on `upr_hrm`.

        **Raises:** an error if the posterior is restricted and cannot accommodate this prior.
        """
        self.lwr_hrm.check_single(lower)
        if upper.manifold == self.upr_hrm:
            upper = self.pst_prr_emb.embed(upper)
        likelihood = self._from_lower(self.lwr_hrm.likelihood_function(lower))
        return self.join_conjugated(likelihood, upper)

    def _to_lower(self, likelihood: Natural) -> Natural:
        lower = self.lwr_hrm
        interaction = lower.int_man.adopt(likelihood.interaction)
        return lower.make_likelihood(likelihood.observable, interaction)

    def _from_lower(self, likelihood: Natural) -> Natural:
        interaction = self.int_man.adopt(likelihood.interaction)
        return self.make_likelihood(likelihood.observable, interaction)


def _remedy(lower: Any, upper: Any) -> str:
    if isinstance(lower, Normal) and isinstance(upper, Normal):
        if lower.data_dim != upper.data_dim:
            return "Give them the same dimension."
        return (
            f"Give the lower harmonium a posterior with {upper.covariance_structure} covariance, "
            f"or the upper one an observable with {lower.covariance_structure} covariance."
        )
    return (
        f"Use an upper harmonium over {lower}, or a lower harmonium whose latent variable is on "
        f"{upper}."
    )


def stack(*harmoniums: Conjugated) -> Conjugated:
    """A hierarchy of any depth.

    **Arguments:**

    - `*harmoniums`: conjugated harmoniums from the bottom to the top, the observable of each being
        the posterior's latent manifold of the one before.

    **Raises:** `TypeError` naming the two manifolds if two levels do not fit.
    """
    if not harmoniums:
        raise ValueError("a stack needs at least one harmonium.")
    model = harmoniums[-1]
    for lower in reversed(harmoniums[:-1]):
        model = Hierarchical(lower, model)
    return model


def hierarchical_mixture_of_gaussians(
    obs_dim: int,
    lat_dim: int,
    n_components: int,
    obs_covariance: CovarianceStructure | None = None,
    pst_covariance: CovarianceStructure | None = None,
) -> Hierarchical:
    """A Gaussian mixture over the latents of a linear Gaussian model.

    **Arguments:**

    - `obs_dim`, `lat_dim`, `n_components`: the numbers of observables, latents and components.
    - `obs_covariance`: the structure of the noise, `hm.Diagonal()` by default (factor analysis).
    - `pst_covariance`: the structure of the latents' posterior and of the components,
        `hm.PositiveDefinite()` by default.
    """
    noise = Diagonal() if obs_covariance is None else obs_covariance
    posterior = PositiveDefinite() if pst_covariance is None else pst_covariance
    latent = Normal(lat_dim, posterior)
    lower = LinearGaussianModel(Normal(obs_dim, noise), latent)
    return Hierarchical(lower, Mixture(latent, n_components))
