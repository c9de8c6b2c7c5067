"""Harmoniums side by side: over one common latent, or each over its own."""

import functools
import operator
from typing import TYPE_CHECKING, Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import Dependence
from harmonium.exponential_family.product import Product
from harmonium.exponential_family.product_embedding import ProductEmbedding
from harmonium.geometry.block_map import BlockMap, BlockMapPoint
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
)
from harmonium.geometry.joint_embedding import ComponentEmbedding
from harmonium.geometry.point import Coordinates, Mean, Natural
from harmonium.geometry.product import ProductPoint
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.marginals import Channel
from harmonium.harmoniums.observable import marginal_distribution

if TYPE_CHECKING:  # type checkers would take abstract variables for dataclass fields
    from typing import ClassVar as AbstractVar
else:
    from equinox import AbstractVar


class SideBySide(Conjugated):
    """Conjugated harmoniums whose observables are independent given the latents.

    An observation is a tuple with one entry for each of the `harmoniums`.
    """

    harmoniums: AbstractVar[tuple]

    def __str__(self) -> str:
        return f"{type(self).__name__}({', '.join(map(str, self.harmoniums))})"

    @cached_property
    def obs_man(self) -> Product:
        """The product of the observable manifolds of the parts."""
        return Product(*(part.obs_man for part in self.harmoniums))

    @property
    def is_closed_form(self) -> bool:
        """If all parts are."""
        return all(part.is_closed_form for part in self.harmoniums)

    @property
    def is_quadratic(self) -> bool:
        """No: observations are tuples, of which no smaller sample is made."""
        return False

    def _split(self, likelihood: Natural) -> list[Any]:
        """The likelihoods of the parts."""
        pairs = likelihood.observable.components, likelihood.interaction.blocks
        return [
            part.make_likelihood(observable, part.int_man.adopt(block))
            for part, observable, block in zip(self.harmoniums, *pairs, strict=True)
        ]

    def _merge(self, points: list[Any]) -> Natural:
        """The likelihood of the whole, from points or likelihoods of the parts."""
        interaction: Any = self.int_man
        observables = tuple(point.observable for point in points)
        pairs = zip(interaction.maps, points, strict=True)
        blocks = tuple(block.adopt(point.interaction) for block, point in pairs)
        return self.make_likelihood(
            ProductPoint(observables, self.obs_man, Coordinates.NATURAL),
            BlockMapPoint(blocks, interaction, Coordinates.NATURAL),
        )

    def _messages(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[list[Natural], Float[Array, ""]]:
        """Those of the parts: every rho on one kind of latent manifold, and the sum of every chi.

        Where all of one part is observed, but not of others, its rho is embedded as theirs are.
        """
        nothing, whole = (None,) * len(self.harmoniums), is_whole(x, observed)
        xs, masks = nothing if x is None else x, nothing if observed is None else observed
        rhos, chis = [], []
        for part, own, xi, mask in zip(
            self.harmoniums, self._split(likelihood), xs, masks, strict=True
        ):
            rho, chi = part.message(own, xi, mask)
            is_restricted = is_whole(xi, mask) and not whole
            rhos.append(part.pst_prr_emb.embed(rho) if is_restricted else rho)
            chis.append(chi)
        return rhos, functools.reduce(operator.add, chis)

    def _fit_parts(self, point: Mean, latents: tuple, start: Natural | None) -> Natural:
        """`likelihood_to_natural` of the parts, given the mean of the latent of each."""
        starts = (None,) * len(self.harmoniums) if start is None else self._split(start)
        components = point.observable.components, point.interaction.blocks
        quintuples = zip(self.harmoniums, *components, latents, starts, strict=True)
        return self._merge(
            [
                part.likelihood_to_natural(part.point(x, part.int_man.adopt(block), z), begin)
                for part, x, block, z, begin in quintuples
            ]
        )

    # --- marginals

    def observable_distribution(self, point: Natural) -> tuple[Differentiable, Natural]:
        return marginal_distribution(self, point)

    def _channels(self, likelihood: Natural) -> list[Channel]:
        self.lkl_man.check_single(likelihood)
        parts = zip(self.harmoniums, self._split(likelihood), strict=True)
        return [part.channel(own) for part, own in parts]

    def _embed_parts(self, embedding: LinearEmbedding) -> list[Conjugated]:
        if not isinstance(embedding, ProductEmbedding) or embedding.sub_man != self.obs_man:
            raise TypeError(
                f"embed_observable takes a ProductEmbedding of {self.obs_man}, got {embedding}."
            )
        pairs = zip(self.harmoniums, embedding.parts, strict=True)
        return [part.embed_observable(own) for part, own in pairs]


class Parallel(SideBySide):
    r"""Several views of one latent: $p(x_1, \dots, x_k, z) = p(z) \prod_i p(x_i|z)$.

    The parts are harmoniums over the same latent manifold, whose observables are independent given
    the latent. An observation is a tuple with one entry a part. Conjugation parameters add:
    $\rho = \sum_i \rho_i$ and $\chi = \sum_i \chi_i$. Factor analyses in parallel are multi-view
    factor analysis, with full noise probabilistic canonical correlation analysis; mixtures in
    parallel are naive Bayes over mixed views.

    **Arguments:**

    - `*harmoniums`: conjugated harmoniums with the same `pst_man` and `prr_man`.

    **Source:** Bach and Jordan, A Probabilistic Interpretation of Canonical Correlation Analysis
    (2005).
    """

    harmoniums: tuple = eqx.field(static=True)

    def __init__(self, *harmoniums: Conjugated):
        self.harmoniums = _checked(harmoniums)
        for part in harmoniums[1:]:
            if part.pst_prr_emb != harmoniums[0].pst_prr_emb:
                raise TypeError(
                    "harmoniums in parallel share their latent, but their latent manifolds are "
                    f"{harmoniums[0].pst_man} in {harmoniums[0].prr_man} and {part.pst_man} in "
                    f"{part.prr_man}."
                )

    @property
    def pst_man(self) -> Any:
        """The latent manifold that the parts share."""
        return self.harmoniums[0].pst_man

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding that the parts share."""
        return self.harmoniums[0].pst_prr_emb

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """Those of all parts with the latents that they share."""
        pairs = zip(self.harmoniums, observables, strict=True)
        return sum((part.interactions(latents, own) for part, own in pairs), ())

    @cached_property
    def int_man(self) -> BlockMap:
        """One block for each part, into its component of the observable."""
        views = enumerate(self.harmoniums)
        maps = (p.int_man.compose_codomain(ComponentEmbedding(self.obs_man, i)) for i, p in views)
        return BlockMap(tuple(maps))

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """The sum of those of the parts."""
        rhos, chi = self._messages(likelihood, x, observed)
        return functools.reduce(operator.add, rhos), chi

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """Part by part."""
        return self._fit_parts(point, (point.latent,) * len(self.harmoniums), start)

    def embed_observable(self, embedding: LinearEmbedding) -> "Parallel":
        return Parallel(*self._embed_parts(embedding))

    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        standardizing = self.standardizing_map(latent)
        return point if standardizing is None else self.substitute_latent(point, *standardizing)

    def standardizing_map(self, marginal: Mean) -> tuple[Any, Any] | None:
        """That of the first part."""
        return self.harmoniums[0].standardizing_map(marginal)

    def channel(self, likelihood: Natural) -> Channel:
        """Those of the parts, all from one latent."""
        channels = self._channels(likelihood)
        return _side_by_side(channels, jnp.concatenate([c.loadings for c in channels]))

    def select_component(self, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
        self.check_single(point)
        parts = zip(self.harmoniums, self._split(self.likelihood_function(point)), strict=True)
        selected = [
            part.select_component(
                part.point(own.observable, own.interaction, point.latent), component
            )
            for part, own in parts
        ]
        models, points = zip(*selected, strict=True)
        if models == tuple(part.obs_man for part in self.harmoniums):  # no latents are left
            return self.obs_man, ProductPoint(points, self.obs_man, Coordinates.NATURAL)
        views = Parallel(*models)
        likelihood = views._merge(list(points))
        return views, views.point(likelihood.observable, likelihood.interaction, points[0].latent)

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random parts with the prior of the first."""
        keys = jax.random.split(key, len(self.harmoniums))
        points = [part.initialize(k) for part, k in zip(self.harmoniums, keys, strict=True)]
        return self._join(points)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Parts from their views of the same random choices, with the prior of the first."""
        xs = self.obs_man.check_data(xs)
        return self._join(
            [
                part.initialize_from_sample(key, x)
                for part, x in zip(self.harmoniums, xs, strict=True)
            ]
        )

    def _join(self, points: list[Any]) -> Natural:
        prior = self.harmoniums[0].prior(points[0])
        return self.join_dominated(self._merge(points), self.pst_prr_emb.restrict(prior))


class Beside(SideBySide):
    r"""Independent harmoniums side by side: $p(x_1, z_1, \dots, x_k, z_k) = \prod_i p(x_i, z_i)$.

    Observables and latents are tuples with one entry a part. By itself this is just several models;
    as the lower half of a hierarchy, under `hm.Parallel`, it is a node of a tree with several
    children.

    **Arguments:**

    - `*harmoniums`: conjugated harmoniums.
    """

    harmoniums: tuple = eqx.field(static=True)

    def __init__(self, *harmoniums: Conjugated):
        self.harmoniums = _checked(harmoniums)

    @cached_property
    def pst_man(self) -> Product:
        """The product of the latent manifolds of the parts."""
        return Product(*(part.pst_man for part in self.harmoniums))

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """Those of the parts, side by side."""
        if all(part.is_symmetric for part in self.harmoniums):
            return IdentityEmbedding(self.pst_man)
        return ProductEmbedding(*(part.pst_prr_emb for part in self.harmoniums))

    def interactions(self, latents: Any, observables: Any) -> tuple[Dependence, ...]:
        """Those of each part with its own latents."""
        triples = zip(self.harmoniums, latents, observables, strict=True)
        return sum((part.interactions(z, x) for part, z, x in triples), ())

    @cached_property
    def int_man(self) -> BlockMap:
        """One block for each part, between its components of the latent and the observable."""
        maps = []
        for i, part in enumerate(self.harmoniums):
            block = part.int_man.compose_domain(ComponentEmbedding(self.pst_man, i))
            maps.append(block.compose_codomain(ComponentEmbedding(self.obs_man, i)))
        return BlockMap(tuple(maps))

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """Those of the parts, side by side."""
        rhos, chi = self._messages(likelihood, x, observed)
        latent = self.pst_man if is_whole(x, observed) else self.prr_man
        return ProductPoint(tuple(rhos), latent, Coordinates.NATURAL), chi

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """Part by part."""
        return self._fit_parts(point, point.latent.components, start)

    def embed_observable(self, embedding: LinearEmbedding) -> "Beside":
        return Beside(*self._embed_parts(embedding))

    def standardize_under(self, point: Natural, latent: Mean) -> Natural:
        """Part by part."""
        points = [
            part.standardize_under(part.point(p.observable, p.interaction, own), expected)
            for part, p, own, expected in zip(
                self.harmoniums,
                self._split(self.likelihood_function(point)),
                point.latent.components,
                latent.components,
                strict=True,
            )
        ]
        return self._join(points)

    def channel(self, likelihood: Natural) -> Channel:
        """Those of the parts, each from its own latent."""
        channels = self._channels(likelihood)
        return _side_by_side(channels, block_diag(*(c.loadings for c in channels)))

    def standardizing_map(self, marginal: Mean) -> tuple[tuple, tuple] | None:
        """Tuples of scales and of shifts, if there are several parts and all have such maps."""
        self.pst_man.check_single(marginal)
        pairs = zip(self.harmoniums, marginal.components, strict=True)
        maps: Any = [part.standardizing_map(own) for part, own in pairs]
        if len(maps) == 1 or any(own is None for own in maps):
            return None
        scales, shifts = zip(*maps, strict=True)
        return scales, shifts

    def initialize(self, key: PRNGKeyArray) -> Natural:
        keys = jax.random.split(key, len(self.harmoniums))
        return self._join(
            [part.initialize(k) for part, k in zip(self.harmoniums, keys, strict=True)]
        )

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        xs = self.obs_man.check_data(xs)
        keys = jax.random.split(key, len(self.harmoniums))
        triples = zip(self.harmoniums, keys, xs, strict=True)
        return self._join([part.initialize_from_sample(k, x) for part, k, x in triples])

    def _join(self, points: list[Any]) -> Natural:
        likelihood = self._merge(points)
        latents = tuple(point.latent for point in points)
        latent = ProductPoint(latents, self.pst_man, Coordinates.NATURAL)
        return self.point(likelihood.observable, likelihood.interaction, latent)


def _side_by_side(channels: list[Channel], loadings: Array) -> Channel:
    offset = jnp.concatenate([channel.offset for channel in channels])
    return Channel(loadings, offset, block_diag(*(channel.noise for channel in channels)))


def _checked(harmoniums: tuple) -> tuple:
    if not harmoniums:
        raise ValueError("expected at least one harmonium.")
    for part in harmoniums:
        if not isinstance(part, Conjugated):
            raise TypeError(f"expected conjugated harmoniums, got {part!r}.")
    return harmoniums
