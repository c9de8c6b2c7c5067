"""Hierarchies: conjugated harmoniums whose latent is a conjugated harmonium."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PRNGKeyArray

from harmonium.exponential_family.chunks import batch_length
from harmonium.families.normal import Normal
from harmonium.geometry.diagonal import Diagonal
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
)
from harmonium.geometry.matrix import CovarianceStructure, PositiveDefinite
from harmonium.geometry.point import Mean, Natural
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import embed_deep, embed_observable, observable_lens
from harmonium.harmoniums.lifted import Lifted
from harmonium.harmoniums.linear_gaussian import LinearGaussianModel
from harmonium.harmoniums.marginals import Channel, channel, select_component
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.standardize import (
    standardize_under,
    standardizing_map,
    substitute_latent,
)


class Hierarchical(Lifted):
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
        if observable_lens(self.upr_hrm, lower) is None:
            raise TypeError(
                f"the levels do not fit: the posterior of the lower harmonium lies on {lower}, the "
                f"observable of the upper harmonium on {upper}. {_remedy(lower, upper)}"
            )

    @property
    def hrm_man(self) -> Conjugated:
        """The lower harmonium."""
        return self.lwr_hrm

    @property
    def pst_upr_hrm(self) -> Conjugated:
        """The upper harmonium, of the posterior."""
        return self.upr_hrm

    @cached_property
    def prr_upr_hrm(self) -> Conjugated:
        """The upper harmonium of the prior, whose observable may be fuller."""
        embedding: Any = self.pst_prr_emb
        return embedding.amb_man

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding of the upper harmonium of the posterior into that of the prior."""
        if self.lwr_hrm.is_symmetric:
            return IdentityEmbedding(self.upr_hrm)
        return embed_deep(self.upr_hrm, self.lwr_hrm.pst_prr_emb)[1]

    @cached_property
    def pst_lens(self) -> LinearEmbedding:
        """Where the lower harmonium's latent is in the upper harmonium of the posterior."""
        return _found(observable_lens(self.upr_hrm, self.lwr_hrm.pst_man))

    @cached_property
    def prr_lens(self) -> LinearEmbedding:
        """Where the lower harmonium's latent is in the upper harmonium of the prior."""
        return _found(observable_lens(self.prr_upr_hrm, self.lwr_hrm.prr_man))

    @property
    def is_jointly_gaussian(self) -> bool:
        """If both levels are."""
        return self.lwr_hrm.is_jointly_gaussian and self.upr_hrm.is_jointly_gaussian

    # --- starts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random levels, joined so that the prior is valid."""
        lower_key, upper_key = jax.random.split(key)
        likelihood = self.lwr_hrm.likelihood_function(self.lwr_hrm.initialize(lower_key))
        upper = self.upr_hrm.initialize(upper_key)
        return self.join_dominated(likelihood, upper)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The lower level from the sample, the upper from the latents of the sample.

        These are expected latents if they are real vectors, and samples of the posterior if not.
        """
        lower_key, upper_key = jax.random.split(key)
        lower = self.lwr_hrm.initialize_from_sample(lower_key, xs)
        latents = _latents_of(self.lwr_hrm, jax.random.fold_in(upper_key, 0), lower, xs)
        upper = self.upr_hrm.initialize_from_sample(upper_key, latents)
        likelihood = self.lwr_hrm.likelihood_function(lower)
        return self.join_dominated(likelihood, upper)

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
        return self.join_conjugated(self.lwr_hrm.likelihood_function(lower), upper)


def _found(lens: LinearEmbedding | None) -> LinearEmbedding:
    assert lens is not None  # which the constructor has checked
    return lens


def _latents_of(model: Conjugated, key: PRNGKeyArray, point: Natural, xs: Any) -> Any:
    """Data of the latent for each observation: expected vectors, or draws from the posterior."""
    family = model.pst_man
    forms = jax.tree.leaves(family.data_man.observation)
    if all(jnp.issubdtype(form.dtype, jnp.floating) for form in forms):
        return model.expected_latents(point, xs)
    keys = jax.random.split(key, batch_length(xs))

    def draw(own: PRNGKeyArray, x: Any) -> Any:
        return family.data_of(family.sample_one(own, model.posterior_at(point, x)))

    return jax.vmap(draw)(keys, model.data_man.check_data(xs))


@embed_observable.register
def _(model: Hierarchical, embedding: LinearEmbedding) -> Hierarchical:
    return Hierarchical(embed_observable(model.lwr_hrm, embedding), model.upr_hrm)


@standardize_under.register
def _(model: Hierarchical, point: Natural, mean: Mean) -> Natural:
    """First the latent of the lower level, by its marginal; then the upper level."""
    standardizing = standardizing_map(model.lwr_hrm, model.pst_lens.project(mean.latent))
    if standardizing is not None:
        point = substitute_latent(model, point, *standardizing)
    upper = standardize_under(model.upr_hrm, point.latent, mean.latent)
    return model.point(point.observable, point.interaction, upper)


@channel.register
def _(model: Hierarchical, likelihood: Natural) -> Channel:
    """That of the lower harmonium, from the observable of the upper one."""
    return channel(model.lwr_hrm, likelihood)


@select_component.register
def _(model: Hierarchical, point: Natural, component: Any) -> tuple[Conjugated, Natural]:
    upper: Any
    upper, latent = select_component(model.upr_hrm, point.latent, component)
    lower: Any = model.lwr_hrm
    result = lower if upper == lower.pst_man else Hierarchical(lower, upper)
    return result, result.point(point.observable, point.interaction, latent)


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
