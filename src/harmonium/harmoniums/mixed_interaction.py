"""The interaction of mixtures of harmoniums: each category has its own."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from harmonium.geometry.block_map import BlockMapPoint
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    compose,
)
from harmonium.geometry.linear_map import (
    InteractionMap,
    LinearMap,
    LinearMapPoint,
    check_sub_statistics,
)
from harmonium.geometry.point import Coordinates, Natural, Point
from harmonium.geometry.product import ravel_parts, unravel_parts
from harmonium.geometry.structure import AnyArray, cached_property
from harmonium.harmoniums.mixture import Mixture


class MixedInteraction(InteractionMap):
    r"""The interaction of an observable $x$ with a latent $(y, k)$, $k$ a category.

    $s_X(x) \cdot (\Theta + \Theta_k)\, s_Y(y) + s_X(x) \cdot e(\theta_k)$, with
    $\Theta_0 = \theta_0 = 0$: the category chooses both the offset of the observable and its
    interaction with $y$. A point has the blocks $\Theta$, $\theta_1, \dots, \theta_{K-1}$ and,
    unless the interaction is shared, $\Theta_1, \dots, \Theta_{K-1}$.

    What an observation adds to the latent is a pair: for each of the K categories the shift of $y$,
    and K - 1 shifts of log odds. So is the interacting part of a mean latent point: for each
    category that of $y$ times its probability, and the probabilities of all but the first.

    **Fields:**

    - `base`: the interaction of $x$ with $y$.
    - `mixture`: the family of $(y, k)$, a mixture over the latents of `base`.
    - `obs_emb`: the embedding $e$ of what the category chooses of the observable's parameters.
    - `shares_interaction`: whether there are no $\Theta_k$.
    - `dom_emb`: the embedding of `mixture` into the latent manifold.
    """

    base: InteractionMap = eqx.field(static=True)
    mixture: Mixture = eqx.field(static=True)
    obs_emb: LinearEmbedding = eqx.field(static=True)
    shares_interaction: bool = eqx.field(static=True)
    dom_emb: LinearEmbedding = eqx.field(static=True)

    @cached_property
    def maps(self) -> tuple[InteractionMap, ...]:
        """The manifolds of the blocks."""
        category = IdentityEmbedding(self.mixture.pst_man)
        blocks = self.base, LinearMap(category, self.obs_emb)
        if self.shares_interaction:
            return blocks
        return (*blocks, LinearMap(category, IdentityEmbedding(self.base)))

    def _point(self, blocks: tuple, coordinates: Coordinates) -> Point:
        return BlockMapPoint(blocks, self, coordinates)

    # --- coordinates

    @property
    def dim(self) -> int:
        """The sum of the dimensions of the blocks."""
        return sum(block.dim for block in self.maps)

    def zeros(self, coordinates: Coordinates = Coordinates.NATURAL) -> Point:
        return self._point(tuple(m.zeros(coordinates) for m in self.maps), coordinates)

    def ravel(self, point: Point) -> Float[Array, " {self.dim}"]:
        self.check_single(point)
        return ravel_parts(self.maps, point.blocks)

    def unravel(
        self, vector: Float[AnyArray, " {self.dim}"], coordinates: Coordinates = Coordinates.NATURAL
    ) -> Point:
        return self._point(unravel_parts(self.maps, vector, coordinates), coordinates)

    # --- categories

    def components(self, observable: Natural, point: Natural) -> tuple[Natural, Natural]:
        """The observables and the interactions of the K categories, two batches of points."""
        offsets = point.blocks[1].rows[0]
        others = jax.vmap(lambda d: self.obs_emb.translate(observable, d))(offsets)
        return _prepend(observable, others), self._interactions(point)

    def _interactions(self, point: Natural) -> Natural:
        first, n_components = point.blocks[0], self.mixture.n_components
        if self.shares_interaction:
            return jax.tree.map(lambda a: jnp.broadcast_to(a, (n_components, *a.shape)), first)
        return _prepend(first, jax.vmap(lambda d: first + d)(point.blocks[2].rows[0]))

    def from_components(self, observables: Natural, interactions: Natural) -> Natural:
        """The point with these K observables and interactions, of which `components` returns them.

        Differences that are shared are dropped.
        """
        observable, interaction = observables[0], interactions[0]
        offsets = jax.vmap(lambda o: self.obs_emb.restrict(o - observable))(observables[1:])
        blocks = interaction, LinearMapPoint((offsets,), self.maps[1], Coordinates.NATURAL)
        if not self.shares_interaction:
            rows = jax.vmap(lambda i: i - interaction)(interactions[1:])
            blocks = *blocks, LinearMapPoint((rows,), self.maps[2], Coordinates.NATURAL)
        return self._point(blocks, Coordinates.NATURAL)

    # --- from latents to observables

    def _at(self, observable: Natural, point: Natural, category: Any) -> tuple[Natural, Natural]:
        observables, interactions = self.components(observable, point)
        return observables[category], interactions[category]

    def translate_codomain(self, observable: Natural, point: Natural, latent: Any) -> Natural:
        latent = self.dom_emb.observe(latent)
        observable, interaction = self._at(observable, point, latent.latent)
        return self.base.translate_codomain(observable, interaction, latent.observable)

    def translate_at(self, observable: Natural, point: Natural, interacting: Any) -> Natural:
        observable, interaction = self._at(observable, point, interacting.latent)
        return self.base.translate_at(observable, interaction, interacting.observable)

    # --- from observables to latents

    # --- structure

    def compose_domain(self, embedding: LinearEmbedding) -> "MixedInteraction":
        dom_emb = compose(embedding, self.dom_emb)
        return MixedInteraction(
            self.base, self.mixture, self.obs_emb, self.shares_interaction, dom_emb
        )

    def compose_codomain(self, embedding: LinearEmbedding) -> "MixedInteraction":
        base, obs_emb = self.base.compose_codomain(embedding), compose(embedding, self.obs_emb)
        return MixedInteraction(base, self.mixture, obs_emb, self.shares_interaction, self.dom_emb)

    def _rebase(self, function: Any, point: Point) -> tuple:
        """The blocks of `base`, transformed: the first, and those of categories if there are."""
        first = function(point.blocks[0])
        if self.shares_interaction:
            return (first,), ()
        rows = jax.vmap(function)(point.blocks[2].rows[0])
        return (first,), (LinearMapPoint((rows,), self.maps[2], point.coordinates),)

    def adopt(self, point: Point) -> Point:
        check_sub_statistics(self, point)
        first, rest = self._rebase(self.base.adopt, point)
        blocks = *first, self.maps[1].adopt(point.blocks[1]), *rest
        return self._point(blocks, point.coordinates)

    def substitute_codomain(self, point: Natural, scale: Any, shift: Any) -> Natural:
        first, rest = self._rebase(
            lambda block: self.base.substitute_codomain(block, scale, shift), point
        )
        offsets = self.maps[1].substitute_codomain(point.blocks[1], scale, shift)
        return self._point((*first, offsets, *rest), point.coordinates)

    def substitute_domain(self, point: Natural, scale: Any) -> Natural:
        raise TypeError(
            "the latents of a mixture of harmoniums cannot be substituted all alike: substitute "
            "those of its components."
        )

    @property
    def domain_embedding(self) -> None:
        """None: several statistics interact."""
        return None

    @property
    def sub_statistics(self) -> tuple:
        """Those of the base, the observable's, and whether the interaction is shared."""
        category = self.mixture.pst_man
        own = (category, self.obs_emb.sub_man), (category, self.shares_interaction)
        return (*self.base.sub_statistics, *own)


def _prepend(first: Point, others: Point) -> Point:
    return jax.tree.map(lambda a, b: jnp.concatenate([a[None], b]), first, others)
