"""Objects of files of version 1 as those of today.

Interactions knew where their statistics are in the observable and the latent, which models know
now, and mixtures of harmoniums were a class of their own, whose latent was a mixture of latents.
"""

from collections.abc import Callable
from typing import Any

from harmonium.geometry.embedding import ComposedEmbedding, IdentityEmbedding
from harmonium.geometry.linear_map import LinearMap, LinearMapPoint
from harmonium.geometry.point import Point
from harmonium.geometry.product import ManifoldTuple, ProductPoint
from harmonium.harmoniums.attached import Attached
from harmonium.harmoniums.components import free_parameters
from harmonium.harmoniums.embedding import ObservableEmbedding, observable_lens
from harmonium.harmoniums.grouped import GroupedObservations
from harmonium.harmoniums.harmonium import HarmoniumPoint
from harmonium.harmoniums.mixture import Mixture
from harmonium.harmoniums.parallel import Parallel


def _linear_map(dom_emb: Any, cod_emb: Any) -> LinearMap:
    return LinearMap(dom_emb.sub_man, cod_emb.sub_man)


def _composed_embedding(outer: Any, inner: Any) -> Any:
    """Into a harmonium, whose observable may be a harmonium now that has this for its own."""
    if isinstance(outer, ObservableEmbedding):
        outer = observable_lens(outer.hrm_man, inner.amb_man) or outer
    return ComposedEmbedding(outer, inner)


def _mixed_interaction(
    base: Any, mixture: Any, obs_emb: Any, shares_interaction: bool, dom_emb: Any
) -> ManifoldTuple:
    """The manifolds of its blocks."""
    blocks = base, LinearMap(mixture.pst_man, obs_emb.sub_man)
    if shares_interaction:
        return ManifoldTuple(blocks)
    return ManifoldTuple((*blocks, LinearMap(mixture.pst_man, base)))


def _mixture_of(
    harmonium: Any, n_components: int, obs_emb: Any, shares_interaction: bool
) -> Mixture:
    embedding = free_parameters(harmonium, obs_emb, shares_interaction)
    return Mixture(harmonium, n_components, embedding)


def _parallel(harmoniums: tuple) -> Any:
    """Where these were mixtures of harmoniums they shared the latents of these, too."""
    mixtures = [part for part in harmoniums if isinstance(part, Mixture)]
    inner: list[Any] = [m.obs_man for m in mixtures if m.obs_man.data_man != m.obs_man]
    if not inner:
        return Parallel(*harmoniums)
    if len(inner) < len(harmoniums) or not all(part.shares_nothing for part in mixtures):
        raise TypeError("mixtures of harmoniums in parallel can't be read any more.")
    return Mixture(Parallel(*inner), mixtures[0].n_components)


def _harmonium_point(
    observable: Point, interaction: Point, latent: Point, manifold: Any, coordinates: Any
) -> Point:
    if not isinstance(manifold, Mixture) or not isinstance(interaction, ProductPoint):
        return HarmoniumPoint(observable, interaction, latent, manifold, coordinates)
    harmonium: Any = manifold.obs_man
    base, offsets, *rest = interaction.components
    first = harmonium.point(observable, base, latent.observable)
    differences = [offsets.rows[0], latent.interaction.rows[0], *(own.rows[0] for own in rest)]
    if isinstance(manifold.obs_emb, IdentityEmbedding):
        rows = harmonium.point(differences[0], differences[2], differences[1])
    else:
        rows = ProductPoint(tuple(differences), manifold.obs_emb.sub_man, coordinates)
    interaction = LinearMapPoint((rows,), manifold.int_man, coordinates)
    return HarmoniumPoint(first, interaction, latent.latent, manifold, coordinates)


# By the name of the class: its fields in order, and what makes an object of today of them.
CLASSES: dict[str, tuple[tuple[str, ...], Callable[..., Any]]] = {
    "LinearMap": (("dom_emb", "cod_emb"), _linear_map),
    "ComposedEmbedding": (("outer", "inner"), _composed_embedding),
    "BlockMap": (("maps",), ManifoldTuple),
    "BlockMapPoint": (("blocks", "manifold", "coordinates"), ProductPoint),
    "MixedInteraction": (
        ("base", "mixture", "obs_emb", "shares_interaction", "dom_emb"),
        _mixed_interaction,
    ),
    "MixtureOf": (("harmonium", "n_components", "obs_emb", "shares_interaction"), _mixture_of),
    "Parallel": (("harmoniums",), _parallel),
    "HarmoniumPoint": (
        ("observable", "interaction", "latent", "manifold", "coordinates"),
        _harmonium_point,
    ),
    "Attached": (("hrm_man", "lat_emb", "pst_prr_emb"), Attached),
    "Patterns": (("xs", "observed", "slots"), GroupedObservations),
}
