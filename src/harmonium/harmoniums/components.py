"""What mixtures share: many translations of one point, and the components given to them."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.embedding import (
    LinearEmbedding,
    Translations,
    compose,
    map_translations,
)
from harmonium.geometry.point import (
    Coordinates,
    Mean,
    Natural,
    Point,
    VectorPoint,
    relabel,
    stack_points,
)
from harmonium.harmoniums.embedding import ObservableEmbedding, PosteriorEmbedding

# An embedding into a latent manifold, and shifts of its submanifold.
LatentShifts = tuple[LinearEmbedding, Natural] | None


def stack_components(mixture: Any, family: Any, components: Any) -> Natural:
    """The components that a mixture is made of, as one batch.

    **Arguments:**

    - `mixture`: the mixture, which has `n_components`.
    - `family`: the manifold of its components.
    - `components`: a batch of natural points, or a sequence of such points.

    **Raises:** `TypeError` or `ValueError` for other points, and for another number of them.
    """
    if not isinstance(components, Point):
        components = stack_points(components)
    family.check_point(components)
    if components.coordinates is not Coordinates.NATURAL:
        raise TypeError("from_components takes natural points, got mean points. Use to_natural.")
    if components.batch_shape != (mixture.n_components,):
        raise ValueError(
            f"{mixture} has {mixture.n_components} components, got a batch of shape "
            f"{components.batch_shape}."
        )
    return components


def map_parts(
    model: Any, inner: LinearEmbedding, points: Natural, shifts: Natural, latent: LatentShifts
) -> Translations:
    """`observable_translations` of any harmonium, one point at a time."""
    both = compose(ObservableEmbedding(model), inner)
    if latent is None:
        return map_translations(model, both.translate, both.project, points, shifts)
    top = compose(PosteriorEmbedding(model), latent[0])

    def translate(point: Natural, own: tuple[Natural, Natural]) -> Natural:
        return top.translate(both.translate(point, own[0]), own[1])

    def project(point: Mean) -> tuple[Mean, Mean]:
        return both.project(point), top.project(point)

    return map_translations(model, translate, project, points, (shifts, latent[1]))


def shift_log_odds(family: Any, points: Natural, latent: LatentShifts) -> Float[Array, "... m k"]:
    """The log odds of all categories, (M, K), or (N, M, K) with N shifts of the latent.

    **Arguments:**

    - `family`: the categorical.
    - `points`: M natural points of it.
    - `latent`: an embedding into it and N shifts, or none.
    """
    values = points.values
    if latent is not None:
        inner, shifts = latent
        over_points = jax.vmap(inner.translate, (0, None))
        values = jax.vmap(over_points, (None, 0))(points, shifts).values
    return jnp.pad(values, [(0, 0)] * (values.ndim - 1) + [(1, 0)])


def project_weights(family: Any, found: Translations, latent: LatentShifts) -> Translations:
    """Translations with the projections that are asked for, from those of components.

    **Arguments:**

    - `family`: the categorical.
    - `found`: what `translate_components` returns.
    - `latent`: the shifts of the latent, or none.
    """
    projections, weights = found.projections
    if latent is not None:
        means = VectorPoint(weights[..., 1:], family, Coordinates.MEAN)
        projections = projections, jax.vmap(jax.vmap(latent[0].project))(means)
    return Translations(found.log_partitions, projections, found.total)


def translate_states(
    model: Any, inner: LinearEmbedding, points: Natural, shifts: Natural, latent: LatentShifts
) -> Translations:
    """`observable_translations` of any harmonium with a categorical latent."""
    family = model.pst_man

    def components(likelihood: Natural) -> Natural:
        states = jnp.arange(family.n_categories)
        return jax.vmap(lambda state: model.lkl_man.apply(likelihood, state))(states)

    def likelihood_of(point: Natural) -> Natural:
        return model.make_likelihood(point.observable, point.interaction)

    def from_sums(sums: Mean, weights: Array) -> Mean:
        _, transpose = jax.vjp(components, jax.tree.map(lambda a: a[0], likelihoods))
        own = relabel(transpose(relabel(sums))[0])
        return model.point(
            own.observable, own.interaction, VectorPoint(weights[1:], family, Coordinates.MEAN)
        )

    likelihoods = jax.vmap(likelihood_of)(points)
    log_odds = shift_log_odds(family, points.latent, latent)
    batch = jax.vmap(components)(likelihoods)
    found = translate_components(batch, log_odds, from_sums, inner, shifts)
    return project_weights(family, found, latent)


def translate_components(
    components: Natural,
    log_odds: Float[Array, "... m k"],
    from_sums: Callable[[Mean, Array], Mean],
    inner: LinearEmbedding,
    shifts: Natural,
) -> Translations:
    r"""A shift of the observable of a mixture shifts every component, and reweighs them.

    Mathematically, with $\psi_{nk}$ the log partition function of component $k$ translated by
    shift $n$, $\psi_n = \log \sum_k \exp(\theta_k + \psi_{nk})$, and all means are sums over
    components with weights $\exp(\theta_k + \psi_{nk} - \psi_n)$.

    **Arguments:**

    - `components`: of M mixtures, an (M, K) batch of natural points of the observable.
    - `log_odds`: (M, K) or (N, M, K), the $\theta_k$.
    - `from_sums`: the mean point of the mixture from the K sums of the components' means times
        their weights, and these weights.
    - `inner`: the embedding of the shifts' manifold in the observable manifold.
    - `shifts`: a batch of N natural points of `inner.sub_man`.

    **Returns:** translations whose projections are pairs: those of the observable, and (N, M, K)
    weights.
    """
    n_points, n_components = components.batch_shape
    n_merged = n_points * n_components
    merged = jax.tree.map(lambda a: a.reshape(n_merged, *a.shape[2:]), components)
    translations = inner.translations(merged, shifts)

    def split(leaf: Array) -> Array:
        return leaf.reshape(leaf.shape[0], n_points, n_components, *leaf.shape[2:])

    scores = split(translations.log_partitions)
    scores = scores + jnp.broadcast_to(log_odds, scores.shape)
    largest = jax.lax.stop_gradient(jnp.max(scores, axis=2))
    shares = jnp.exp(scores - largest[:, :, None])
    totals = jnp.sum(shares, axis=2)
    responsibilities = shares / totals[:, :, None]

    def average(leaf: Array) -> Array:
        flat = split(leaf).reshape(*responsibilities.shape, -1)
        summed = jnp.sum(responsibilities[..., None] * flat, axis=2)
        return summed.reshape(*summed.shape[:2], *leaf.shape[2:])

    def total(weights: Float[Array, "n m"]) -> Mean:
        shares = weights[:, :, None] * responsibilities
        sums = translations.total(shares.reshape(len(shares), -1))
        sums = jax.tree.map(lambda a: a.reshape(n_points, n_components, *a.shape[1:]), sums)
        return jax.vmap(from_sums)(sums, jnp.sum(shares, axis=0))

    projections: Any = jax.tree.map(average, translations.projections)
    return Translations(largest + jnp.log(totals), (projections, responsibilities), total)
