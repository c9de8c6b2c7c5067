"""Harmoniums over a part of the latents of others: trees whose leaves are at unequal depth."""

from typing import Any

import equinox as eqx
from jaxtyping import PRNGKeyArray

from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    compose,
)
from harmonium.geometry.point import Mean, Natural
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import embed_observable
from harmonium.harmoniums.lifted import Lifted
from harmonium.harmoniums.marginals import select_component
from harmonium.harmoniums.standardize import standardize_under


class Attached(Lifted):
    r"""A harmonium over one part of a larger latent: $p(x, y, z) = p(x|z)\, p(y, z)$.

    The given harmonium has the latent $z$, a statistic of which is part of those of the latent
    $(y, z)$. Where the large latent is the upper harmonium of a hierarchy, `hm.Parallel` of the
    hierarchy and of this is a tree in which $x$ hangs directly from $z$, beside a branch with one
    more level.

    Mathematically, with the embedding $a$ of natural parameters of $z$ among those of $(y, z)$,
    conjugation $\psi_X(\theta_X + \Theta_{XZ} s(z)) = \rho \cdot s(z) + \chi$ is conjugation over
    $(y, z)$ with parameters $a(\rho)$ and $\chi$, as $a(\rho) \cdot s(y, z) = \rho \cdot s(z)$.

    **Arguments:**

    - `hrm_man`: the harmonium of $x$ and $z$, with one latent manifold for posterior and prior.
    - `lat_emb`: the embedding $a$ of its latent manifold into the larger one, such as
        `hm.harmoniums.PosteriorEmbedding(upper)` for the latent, or
        `hm.harmoniums.ObservableEmbedding(upper)` for the observable of a harmonium,
        `hm.geometry.ComponentEmbedding(product, i)`, or compositions of these.
    - `pst_prr_emb`: the embedding of the larger latent manifold of the posterior into that of the
        prior, by default the identity. In parallel with a harmonium `other` whose posterior is
        restricted, `other.pst_prr_emb`.
    """

    hrm_man: Conjugated = eqx.field(static=True)
    lat_emb: LinearEmbedding = eqx.field(static=True)
    restriction: RestrictionEmbedding = eqx.field(static=True)

    def __init__(
        self,
        hrm_man: Conjugated,
        lat_emb: LinearEmbedding,
        pst_prr_emb: RestrictionEmbedding | None = None,
    ):
        identity = IdentityEmbedding(lat_emb.amb_man)
        self.hrm_man = hrm_man
        self.lat_emb = lat_emb
        self.restriction = identity if pst_prr_emb is None else pst_prr_emb

    def __check_init__(self):
        if self.lat_emb.sub_man != self.hrm_man.lat_man:
            raise TypeError(
                f"lat_emb embeds {self.lat_emb.sub_man}, but the latent manifold of the attached "
                f"harmonium is {self.hrm_man.lat_man}: these must be the same."
            )
        if self.lat_emb.amb_man != self.pst_prr_emb.sub_man:
            raise TypeError(
                f"lat_emb embeds into {self.lat_emb.amb_man}, pst_prr_emb embeds "
                f"{self.pst_prr_emb.sub_man}: these must be the same."
            )

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding that was given, or the identity."""
        return self.restriction

    @property
    def pst_lens(self) -> LinearEmbedding:
        """Where the attached harmonium's latent is in the larger one of the posterior."""
        return self.lat_emb

    @cached_property
    def prr_lens(self) -> LinearEmbedding:
        """Where the attached harmonium's latent is in the larger one of the prior."""
        return compose(self.pst_prr_emb, self.lat_emb)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self._join(key, self.hrm_man.initialize(key))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The attached harmonium from the sample, with random other latents."""
        return self._join(key, self.hrm_man.initialize_from_sample(key, xs))

    def _join(self, key: PRNGKeyArray, point: Natural) -> Natural:
        likelihood = self.hrm_man.likelihood_function(point)
        return self.join_dominated(likelihood, self.pst_man.initialize(key))


@embed_observable.register
def _(model: Attached, embedding: LinearEmbedding) -> Attached:
    attached = embed_observable(model.hrm_man, embedding)
    return Attached(attached, model.lat_emb, model.pst_prr_emb)


@standardize_under.register
def _(model: Attached, point: Natural, mean: Mean) -> Natural:
    """The point itself: the other harmoniums over the larger latent would have to follow."""
    return point


@select_component.register
def _(model: Attached, point: Natural, component: Any) -> tuple[Any, Natural]:
    raise TypeError(
        f"{model} cannot be conditioned on a category: its observable would be left without a "
        "latent, beside branches that keep theirs, and there is no model of both."
    )
