"""What the components of a mixture may differ in, and the M-step for components that share some."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.families.normal_embedding import LocationEmbedding
from harmonium.geometry.embedding import IdentityEmbedding, LinearEmbedding, compose
from harmonium.geometry.joint_embedding import JointEmbedding
from harmonium.geometry.point import Mean, Natural
from harmonium.harmoniums.embedding import (
    InteractionEmbedding,
    ObservableEmbedding,
    PosteriorEmbedding,
)
from harmonium.harmoniums.linear_gaussian import LinearGaussianModel, solve_wide


def free_parameters(
    harmonium: Any, obs_emb: LinearEmbedding | None = None, shares_interaction: bool = False
) -> LinearEmbedding:
    """The parameters in which harmoniums may differ that are components of a mixture.

    Their latents always may; if these are all that differs, use `hm.stack(harmonium,
    hm.Mixture(latent, K))`.

    **Arguments:**

    - `harmonium`: a conjugated harmonium.
    - `obs_emb`: a linear embedding into its observable manifold of the part of the parameters that
        differs; by default all of them do. With `hm.LocationEmbedding(normal)` factor analysers
        share their noise.
    - `shares_interaction`: whether components share the interaction; no by default. Factor
        analysers that share both noise and interaction share their loadings.

    **Returns:** what `hm.Mixture` takes as `obs_emb`.
    """
    own = IdentityEmbedding(harmonium.obs_man) if obs_emb is None else obs_emb
    if own.amb_man != harmonium.obs_man:
        raise TypeError(
            f"obs_emb embeds into {own.amb_man}, but the components observe {harmonium.obs_man}: "
            "these must be the same."
        )
    if isinstance(own, IdentityEmbedding) and not shares_interaction:
        return IdentityEmbedding(harmonium)
    parts = compose(ObservableEmbedding(harmonium), own), PosteriorEmbedding(harmonium)
    interaction = () if shares_interaction else (InteractionEmbedding(harmonium),)
    return JointEmbedding((*parts, *interaction))


def shares_interaction(embedding: LinearEmbedding) -> bool:
    """Whether harmoniums that differ in what `free_parameters` returned share the interaction."""
    if not isinstance(embedding, JointEmbedding):
        return False
    return InteractionEmbedding(embedding.amb_man) not in embedding.embeddings  # pyright: ignore[reportArgumentType]


def has_formula(embedding: LinearEmbedding) -> bool:
    """Whether `fit_components` has one for components that differ in what is embedded only."""
    return fit_components.dispatch(type(embedding)) is not _refuse and _is_covered(embedding)


def _is_covered(embedding: LinearEmbedding) -> bool:
    """Whether a joint embedding is that of factor analysers that share their noise."""
    if not isinstance(embedding, JointEmbedding):
        return True
    family: Any = embedding.amb_man
    if not isinstance(family, LinearGaussianModel):
        return False
    location = LocationEmbedding(family.obs_man)
    shared = (free_parameters(family, location, shares) for shares in (False, True))
    return embedding in shared


def _refuse(*args: Any) -> Natural:
    raise TypeError(f"{args[0]} has no formula for components that differ in it only.")


fit_components = functools.singledispatch(_refuse)
fit_components.__doc__ = """The best points of a family that differ in what is embedded only.

The M-step of mixtures for K components, registered for the embeddings that have a formula.

**Arguments:**

- `embedding`: into the family.
- `total`: the sum of the components' statistics, a mean point of the family times one.
- `parts`: the components' shares of the interacting statistics, K mean points of `sub_man`
    times the components' weights.
- `weights`: (K,), positive, summing to one.
- `starts`: K natural points than which the result is not to be worse, or `None`.
"""


@fit_components.register
def _(
    embedding: IdentityEmbedding,
    total: Mean,
    parts: Mean,
    weights: Float[Array, " k"],
    starts: Natural | None,
) -> Natural:
    """Each component by itself: its share of the statistics divided by its weight."""
    family: Any = embedding.manifold
    means = jax.vmap(lambda part, weight: part / weight)(parts, weights)
    if starts is None:
        return jax.vmap(family.to_natural)(means)
    return jax.vmap(family.improve)(means, starts)


@fit_components.register
def _(
    embedding: LocationEmbedding,
    total: Mean,
    parts: Mean,
    weights: Float[Array, " k"],
    starts: Natural | None,
) -> Natural:
    """Components with one covariance: what the second moment has beyond that of their means."""
    normal = embedding.normal
    structure, n = normal.covariance_structure, normal.data_dim
    means = parts.values / weights[:, None]
    moment = total.shape - structure.cross_moment(parts.values, means)
    covariance = structure.matrix_from_moment(moment, n)
    return jax.vmap(normal.from_moments, (0, None))(means, covariance)


@fit_components.register
def _(
    embedding: JointEmbedding,
    total: Mean,
    parts: Mean,
    weights: Float[Array, " k"],
    starts: Natural | None,
) -> Natural:
    r"""Regressions of $x$ on $z$ by component, with the average of their residual covariances.

    Shared loadings are the regression within components: on covariances averaged over them.
    """
    model: Any = embedding.amb_man
    offsets, latents, *interactions = parts.components
    structure, latent_structure = (
        family.covariance_structure for family in (model.obs_man, model.pst_man)
    )
    n_obs, n_lat = model.obs_man.data_dim, model.pst_man.data_dim
    mean_x, mean_z = offsets.values / weights[:, None], latents.location / weights[:, None]

    def within(moment: Array, mean: Array, weight: Array) -> Array:
        spread = moment - weight * latent_structure.cross_moment(mean[None], mean[None])
        return latent_structure.matrix_from_moment(spread, n_lat)

    def regress(covariance: Array, covariance_zx: Array) -> Array:
        factor = latent_structure.factor(covariance, n_lat)
        return solve_wide(latent_structure, factor, covariance_zx)

    covariances = jax.vmap(within)(latents.shape, mean_z, weights)
    crosses = latents.location[:, :, None] * mean_x[:, None, :]
    if not interactions:
        moment = total.interaction.rows[0].values
        covariances_zx = (moment - jnp.sum(crosses, axis=0))[None]
        slopes = regress(jnp.sum(covariances, axis=0), covariances_zx[0])[None]
    else:
        covariances_zx = interactions[0].rows[0].values - crosses
        slopes = jax.vmap(regress)(covariances, covariances_zx)
    explained = slopes.reshape(-1, n_obs), covariances_zx.reshape(-1, n_obs)
    residual = (
        total.observable.shape
        - structure.cross_moment(offsets.values, mean_x)
        - structure.cross_moment(*explained)
    )
    noise = structure.matrix_from_moment(residual, n_obs)
    slopes = jnp.broadcast_to(slopes, crosses.shape)
    intercepts = mean_x - jnp.sum(mean_z[:, :, None] * slopes, axis=1)

    def join(slope: Array, intercept: Array, latent: Mean, weight: Array) -> Natural:
        likelihood = model.regression(slope, intercept, noise)
        return model.join_conjugated(likelihood, model.pst_man.to_natural(latent / weight))

    return jax.vmap(join)(slopes, intercepts, latents, weights)
