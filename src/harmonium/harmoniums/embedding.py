"""Embeddings of the parts of harmoniums, and of harmoniums in each other."""

from typing import Any

import equinox as eqx

from harmonium.geometry.embedding import (
    LinearEmbedding,
    RestrictionEmbedding,
    TupleEmbedding,
)
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Mean, Natural, Point
from harmonium.harmoniums.harmonium import Harmonium, Joint


class ObservableEmbedding(TupleEmbedding):
    """The observable manifold of a harmonium in the harmonium itself.

    It projects mean points to their observable component, and embeds natural observable points by
    setting interaction and latent parameters to zero: the joint of an observable with an
    independent latent. Projecting natural points or embedding mean ones is refused.

    **Fields:** `hrm_man`, the harmonium.
    """

    hrm_man: Harmonium = eqx.field(static=True)

    @property
    def sub_man(self) -> Manifold:
        """The observable manifold."""
        return self.hrm_man.obs_man

    @property
    def amb_man(self) -> Harmonium:
        """The harmonium."""
        return self.hrm_man

    def component(self, point: Point) -> Point:
        return point.observable

    def replace(self, point: Point, component: Point) -> Point:
        return self.hrm_man.point(component, point.interaction, point.latent)

    def observe(self, x: Any) -> Any:
        return x.observable


class InteractionEmbedding(TupleEmbedding):
    """The interaction manifold of a harmonium in the harmonium itself.

    **Fields:** `hrm_man`, the harmonium.
    """

    hrm_man: Harmonium = eqx.field(static=True)

    @property
    def sub_man(self) -> Manifold:
        """The interaction manifold."""
        return self.hrm_man.int_man

    @property
    def amb_man(self) -> Harmonium:
        """The harmonium."""
        return self.hrm_man

    def component(self, point: Point) -> Point:
        return point.interaction

    def replace(self, point: Point, component: Point) -> Point:
        return self.hrm_man.point(point.observable, component, point.latent)

    def observe(self, x: Any) -> Any:
        """The joint observation: interactions are products of both its statistics."""
        return x


class PosteriorEmbedding(TupleEmbedding):
    """The latent manifold of a harmonium's posterior in the harmonium itself.

    **Fields:** `hrm_man`, the harmonium.
    """

    hrm_man: Harmonium = eqx.field(static=True)

    @property
    def sub_man(self) -> Manifold:
        """The latent manifold of the posterior."""
        return self.hrm_man.pst_man

    @property
    def amb_man(self) -> Harmonium:
        """The harmonium."""
        return self.hrm_man

    def component(self, point: Point) -> Point:
        return point.latent

    def replace(self, point: Point, component: Point) -> Point:
        return self.hrm_man.point(point.observable, point.interaction, component)

    def observe(self, x: Any) -> Any:
        return x.latent


class LatentHarmoniumEmbedding(RestrictionEmbedding):
    r"""One harmonium in another which differs in its observable manifold only.

    The latent of a hierarchy is a harmonium. Where its posterior uses a restricted observable (a
    diagonal covariance, say) and its prior a fuller one, this maps between them leaf by leaf:
    natural points embed as $(o, i, l) \mapsto (e(o), i, l)$, mean points project as
    $(o, i, l) \mapsto (e^*(o), i, l)$, with the given embedding $e$ and its projection $e^*$.

    **Fields:**

    - `pst_obs_emb`: the embedding $e$ of `pst_hrm.obs_man` into `prr_hrm.obs_man`.
    - `pst_hrm`: the harmonium with the restricted observable manifold.
    - `prr_hrm`: the harmonium with the fuller one, and the same latent manifold and interacting
        statistics.
    """

    pst_obs_emb: LinearEmbedding = eqx.field(static=True)
    pst_hrm: Harmonium = eqx.field(static=True)
    prr_hrm: Harmonium = eqx.field(static=True)

    def __check_init__(self):
        sub, amb = self.pst_obs_emb.sub_man, self.pst_obs_emb.amb_man
        if sub != self.pst_hrm.obs_man:
            raise TypeError(
                f"pst_obs_emb embeds {sub}, but the observable manifold of pst_hrm is "
                f"{self.pst_hrm.obs_man}: these must be the same."
            )
        if amb != self.prr_hrm.obs_man:
            raise TypeError(
                f"pst_obs_emb embeds into {amb}, but the observable manifold of prr_hrm is "
                f"{self.prr_hrm.obs_man}: these must be the same."
            )
        if self.pst_hrm.pst_man != self.prr_hrm.pst_man:
            raise TypeError(
                f"pst_hrm and prr_hrm must have the same latent manifold, got "
                f"{self.pst_hrm.pst_man} and {self.prr_hrm.pst_man}."
            )
        interactions = self.pst_hrm.int_man.sub_statistics, self.prr_hrm.int_man.sub_statistics
        if interactions[0] != interactions[1]:
            raise TypeError(
                "pst_hrm and prr_hrm must have interactions between the same statistics, got "
                f"{interactions[0]} and {interactions[1]}."
            )

    @property
    def sub_man(self) -> Harmonium:
        """The posterior's harmonium."""
        return self.pst_hrm

    @property
    def amb_man(self) -> Harmonium:
        """The prior's harmonium."""
        return self.prr_hrm

    def embed(self, point: Natural) -> Natural:
        self.pst_hrm.check_single(point)
        observable = self.pst_obs_emb.embed(point.observable)
        interaction = self.prr_hrm.int_man.adopt(point.interaction)
        return self.prr_hrm.point(observable, interaction, point.latent)

    def project(self, point: Mean) -> Mean:
        self.prr_hrm.check_single(point)
        observable = self.pst_obs_emb.project(point.observable)
        interaction = self.pst_hrm.int_man.adopt(point.interaction)
        return self.pst_hrm.point(observable, interaction, point.latent)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + self.embed(shift)

    def observe(self, x: Any) -> Any:
        return Joint(self.pst_obs_emb.observe(x.observable), x.latent)

    def restrict(self, point: Natural) -> Natural:
        self.prr_hrm.check_single(point)
        observable = self.pst_obs_emb.restrict(point.observable)
        interaction = self.pst_hrm.int_man.adopt(point.interaction)
        return self.pst_hrm.point(observable, interaction, point.latent)

    def dominate(self, point: Natural) -> Natural:
        self.prr_hrm.check_single(point)
        observable_embedding: Any = self.pst_obs_emb
        observable = observable_embedding.dominate(point.observable)
        interaction = self.pst_hrm.int_man.adopt(point.interaction)
        return self.pst_hrm.point(observable, interaction, point.latent)
