"""Embeddings of the parts of harmoniums, and of harmoniums in each other."""

import functools
from typing import Any

import equinox as eqx

from harmonium.geometry.embedding import (
    LinearEmbedding,
    RestrictionEmbedding,
    TupleEmbedding,
    compose,
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

    def part(self, point: Point) -> Point:
        return point.observable

    def replace(self, point: Point, part: Point) -> Point:
        return self.hrm_man.point(part, point.interaction, point.latent)

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

    def part(self, point: Point) -> Point:
        return point.interaction

    def replace(self, point: Point, part: Point) -> Point:
        return self.hrm_man.point(point.observable, part, point.latent)

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

    def part(self, point: Point) -> Point:
        return point.latent

    def replace(self, point: Point, part: Point) -> Point:
        return self.hrm_man.point(point.observable, point.interaction, part)

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
        if self.pst_hrm.int_man != self.prr_hrm.int_man:
            raise TypeError(
                "pst_hrm and prr_hrm must have interactions between the same statistics, got "
                f"{self.pst_hrm.int_man} and {self.prr_hrm.int_man}."
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
        return self.prr_hrm.point(observable, point.interaction, point.latent)

    def project(self, point: Mean) -> Mean:
        self.prr_hrm.check_single(point)
        observable = self.pst_obs_emb.project(point.observable)
        return self.pst_hrm.point(observable, point.interaction, point.latent)

    def translate(self, point: Natural, shift: Natural) -> Natural:
        return point + self.embed(shift)

    def observe(self, x: Any) -> Any:
        return Joint(self.pst_obs_emb.observe(x.observable), x.latent)

    def restrict(self, point: Natural) -> Natural:
        self.prr_hrm.check_single(point)
        observable = self.pst_obs_emb.restrict(point.observable)
        return self.pst_hrm.point(observable, point.interaction, point.latent)

    def dominate(self, point: Natural) -> Natural:
        self.prr_hrm.check_single(point)
        observable_embedding: Any = self.pst_obs_emb
        observable = observable_embedding.dominate(point.observable)
        return self.pst_hrm.point(observable, point.interaction, point.latent)


@functools.singledispatch
def embed_observable(model: Any, embedding: LinearEmbedding) -> Any:
    """The same model with its observable manifold embedded in a fuller one.

    **Arguments:**

    - `model`: a harmonium.
    - `embedding`: of its `obs_man` into the fuller manifold.
    """
    raise TypeError(
        f"{model} has no fuller observable, so it can't be the upper harmonium over a posterior "
        "that is restricted. Use an unrestricted posterior below."
    )


def embed_deep(
    model: Harmonium, embedding: LinearEmbedding
) -> tuple[Harmonium, LatentHarmoniumEmbedding]:
    """`embed_observable` of the observable, or of what is observed there if that is a harmonium.

    **Returns:** the fuller harmonium, and the embedding of this one into it.
    """
    if embedding.sub_man != model.obs_man:
        _, embedding = embed_deep(model.obs_man, embedding)
    fuller = embed_observable(model, embedding)
    return fuller, LatentHarmoniumEmbedding(embedding, model, fuller)


def observable_lens(model: Harmonium, part: Manifold) -> LinearEmbedding | None:
    """The embedding of what a harmonium observes, at any depth; `None` if it does not observe it.

    **Arguments:**

    - `model`: a harmonium.
    - `part`: its `obs_man`, or the `obs_man` of that if it is a harmonium itself, and so on.
    """
    lens: Any = ObservableEmbedding(model)
    while lens.sub_man != part:
        if not isinstance(lens.sub_man, Harmonium):
            return None
        lens = compose(lens, ObservableEmbedding(lens.sub_man))
    return lens
