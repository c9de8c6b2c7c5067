"""Harmoniums side by side: over one common latent, or each over its own."""

import functools
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.scipy.linalg import block_diag
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.base import Differentiable
from harmonium.exponential_family.evidence import is_whole
from harmonium.exponential_family.outline import Dependence, interactions
from harmonium.exponential_family.product import Product
from harmonium.exponential_family.product_embedding import ProductEmbedding
from harmonium.geometry.embedding import (
    IdentityEmbedding,
    LinearEmbedding,
    RestrictionEmbedding,
    zeros_like,
)
from harmonium.geometry.point import Coordinates, Mean, Natural, Point
from harmonium.geometry.product import ManifoldTuple, ProductPoint, zip_parts
from harmonium.geometry.structure import Structure, cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.embedding import embed_observable
from harmonium.harmoniums.lifted import Lifted
from harmonium.harmoniums.marginals import Channel, channel, select_component
from harmonium.harmoniums.standardize import (
    standardize_under,
    standardizing_map,
    substitute_cause,
    substitute_likelihood,
)


class Beside(Conjugated):
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
    def obs_man(self) -> Product:
        """The product of the observable manifolds of the parts."""
        return Product(*(part.obs_man for part in self.harmoniums))

    @cached_property
    def int_man(self) -> ManifoldTuple:
        """The interactions of the parts, side by side."""
        return ManifoldTuple(tuple(part.int_man for part in self.harmoniums))

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

    @property
    def has_closed_form_likelihood(self) -> bool:
        """If all parts have."""
        return all(part.has_closed_form_likelihood for part in self.harmoniums)

    def message(
        self, likelihood: Natural, x: Any, observed: Any
    ) -> tuple[Natural, Float[Array, ""]]:
        """Those of the parts, side by side.

        Where all of one part is observed, but not of others, its rho is embedded as theirs are.
        """
        whole, rhos, chis = is_whole(x, observed), [], []
        parts = zip_parts(self.harmoniums, split(self, likelihood), x, observed)
        for part, own, xi, mask in parts:
            rho, chi = part.message(own, xi, mask)
            is_restricted = is_whole(xi, mask) and not whole
            rhos.append(part.pst_prr_emb.embed(rho) if is_restricted else rho)
            chis.append(chi)
        latent = self.pst_man if whole else self.prr_man
        rho = ProductPoint(tuple(rhos), latent, Coordinates.NATURAL)
        return rho, functools.reduce(operator.add, chis)

    def observable_at(self, likelihood: Natural, latent: Any) -> Natural:
        triples = zip(self.harmoniums, split(self, likelihood), latent, strict=True)
        components = tuple(part.observable_at(own, z) for part, own, z in triples)
        return ProductPoint(components, self.obs_man, Coordinates.NATURAL)

    def likelihood_to_natural(self, point: Mean, start: Natural | None = None) -> Natural:
        """Part by part."""
        starts = None if start is None else split(self, start)
        triples = zip_parts(self.harmoniums, split_point(self, point), starts)
        return merge(self, [part.likelihood_to_natural(mean, own) for part, mean, own in triples])

    def initialize(self, key: PRNGKeyArray) -> Natural:
        keys = jax.random.split(key, len(self.harmoniums))
        points = [part.initialize(k) for part, k in zip(self.harmoniums, keys, strict=True)]
        return join_points(self, points)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        keys = jax.random.split(key, len(self.harmoniums))
        triples = zip(self.harmoniums, keys, self.data_man.check_data(xs), strict=True)
        points = [part.initialize_from_sample(k, x) for part, k, x in triples]
        return join_points(self, points)


class _Copies(Structure):
    """A latent as that of several harmoniums: messages about it add up, and each has its mean."""

    amb_man: Any = eqx.field(static=True)
    sub_man: Product = eqx.field(static=True)

    def embed(self, point: Natural) -> Natural:
        return functools.reduce(operator.add, point.components)

    def project(self, point: Mean) -> Mean:
        return ProductPoint(self.observe(point), self.sub_man, Coordinates.MEAN)

    def observe(self, x: Any) -> tuple:
        return (x,) * len(self.sub_man.parts)


class Parallel(Lifted):
    r"""Several views of one latent: $p(x_1, \dots, x_k, z) = p(z) \prod_i p(x_i|z)$.

    The parts are harmoniums over the same latent manifold, whose observables are independent given
    the latent. An observation is a tuple with one entry a part. Messages add: $\rho = \sum_i
    \rho_i$ and $\chi = \sum_i \chi_i$. Factor analyses in parallel are multi-view factor analysis,
    with full noise probabilistic canonical correlation analysis; mixtures in parallel are naive
    Bayes over mixed views.

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

    @cached_property
    def hrm_man(self) -> Beside:
        """The parts, each with a latent of its own."""
        return Beside(*self.harmoniums)

    @cached_property
    def pst_lens(self) -> _Copies:
        """The latent of the posterior as that of every part."""
        return _Copies(self.harmoniums[0].pst_man, self.hrm_man.pst_man)

    @cached_property
    def prr_lens(self) -> _Copies:
        """The latent of the prior as that of every part."""
        return _Copies(self.harmoniums[0].prr_man, self.hrm_man.prr_man)

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """The embedding that the parts share."""
        return self.harmoniums[0].pst_prr_emb

    def initialize(self, key: PRNGKeyArray) -> Natural:
        """Random parts with the prior of the first."""
        keys = jax.random.split(key, len(self.harmoniums))
        points = [part.initialize(k) for part, k in zip(self.harmoniums, keys, strict=True)]
        return self._join(points)

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """Parts from their views of the same random choices, with the prior of the first."""
        pairs = zip(self.harmoniums, self.data_man.check_data(xs), strict=True)
        return self._join([part.initialize_from_sample(key, x) for part, x in pairs])

    def _join(self, points: list[Any]) -> Natural:
        prior = self.harmoniums[0].prior(points[0])
        return self.join_dominated(merge(self, points), self.pst_prr_emb.restrict(prior))


# --- what both have in common


def _checked(harmoniums: tuple) -> tuple:
    if not harmoniums:
        raise ValueError("expected at least one harmonium.")
    for part in harmoniums:
        if not isinstance(part, Conjugated):
            raise TypeError(f"expected conjugated harmoniums, got {part!r}.")
    return harmoniums


def split(model: Any, likelihood: Point) -> list[Any]:
    """The likelihoods of the parts, of a point or a likelihood."""
    triples = zip_parts(model.harmoniums, likelihood.observable, likelihood.interaction)
    return [part.make_likelihood(observable, own) for part, observable, own in triples]


def split_point(model: "Beside", point: Point) -> list[Any]:
    """The points of the parts."""
    parts = zip_parts(model.harmoniums, split(model, point), point.latent)
    return [part.point(own.observable, own.interaction, z) for part, own, z in parts]


def merge(model: Any, points: list[Any]) -> Natural:
    """The likelihood of the whole, from points or likelihoods of the parts."""
    observable = tuple(point.observable for point in points)
    interaction = tuple(point.interaction for point in points)
    return model.make_likelihood(
        ProductPoint(observable, model.obs_man, Coordinates.NATURAL),
        ProductPoint(interaction, model.int_man, Coordinates.NATURAL),
    )


def join_points(model: Beside, points: list[Any]) -> Natural:
    """The harmoniums with these points, side by side."""
    likelihood, latents = merge(model, points), tuple(point.latent for point in points)
    latent = ProductPoint(latents, model.pst_man, Coordinates.NATURAL)
    return model.point(likelihood.observable, likelihood.interaction, latent)


@interactions.register
def _(model: Beside, latents: Any, observables: Any) -> tuple[Dependence, ...]:
    """Those of each part with its own latents."""
    triples = zip(model.harmoniums, latents, observables, strict=True)
    return sum((interactions(part, z, x) for part, z, x in triples), ())


def _embed_parts(model: Any, embedding: LinearEmbedding) -> Any:
    if not isinstance(embedding, ProductEmbedding) or embedding.sub_man != model.obs_man:
        raise TypeError(
            f"embed_observable takes a ProductEmbedding of {model.obs_man}, got {embedding}."
        )
    pairs = zip(model.harmoniums, embedding.parts, strict=True)
    return type(model)(*(embed_observable(part, own) for part, own in pairs))


embed_observable.register(Parallel, _embed_parts)
embed_observable.register(Beside, _embed_parts)


# --- affine maps


@standardizing_map.register
def _(model: Parallel, marginal: Mean) -> tuple[Any, Any] | None:
    """That of the first part."""
    return standardizing_map(model.harmoniums[0], marginal)


@standardizing_map.register
def _(model: Beside, marginal: Mean) -> tuple[tuple, tuple] | None:
    """Tuples of scales and of shifts, `None` for parts that have no such map."""
    pairs = zip(model.harmoniums, marginal.components, strict=True)
    maps = [standardizing_map(part, own) or (None, None) for part, own in pairs]
    scales, shifts = zip(*maps, strict=True)
    return scales, shifts


@standardize_under.register
def _(model: Beside, point: Natural, mean: Mean) -> Natural:
    """Part by part."""
    parts = zip_parts(model.harmoniums, split_point(model, point), split_point(model, mean))
    return join_points(model, [standardize_under(*part) for part in parts])


@substitute_likelihood.register
def _(model: Beside, likelihood: Natural, scale: Any, shift: Any) -> tuple[Natural, Natural]:
    """Those of the parts of which something is scaled or shifted."""
    likelihoods, rhos = [], []
    parts = zip_parts(model.harmoniums, split(model, likelihood), scale, shift)
    for part, own, own_scale, own_shift in parts:
        if own_scale is None and own_shift is None:
            rho = zeros_like(part.pst_man, own)
        else:
            own, rho = substitute_likelihood(part, own, own_scale, own_shift)
        likelihoods.append(own)
        rhos.append(rho)
    return merge(model, likelihoods), ProductPoint(tuple(rhos), model.pst_man, Coordinates.NATURAL)


@substitute_cause.register
def _(model: Parallel, likelihood: Natural, scale: Any, shift: Any) -> Natural:
    return substitute_cause(model.hrm_man, likelihood, *map(model.pst_lens.observe, (scale, shift)))


@substitute_cause.register
def _(model: Beside, likelihood: Natural, scale: Any, shift: Any) -> Natural:
    parts = zip_parts(model.harmoniums, split(model, likelihood), scale, shift)
    return merge(
        model,
        [
            own if b is None and c is None else substitute_cause(part, own, b, c)
            for part, own, b, c in parts
        ],
    )


# --- marginals


def _channels(model: Any, likelihood: Natural) -> list[Channel]:
    pairs = zip(model.harmoniums, split(model, likelihood), strict=True)
    return [channel(part, own) for part, own in pairs]


def _side_by_side(channels: list[Channel], loadings: Array) -> Channel:
    offset = jnp.concatenate([own.offset for own in channels])
    return Channel(loadings, offset, block_diag(*(own.noise for own in channels)))


@channel.register
def _(model: Parallel, likelihood: Natural) -> Channel:
    """Those of the parts, all from one latent."""
    channels = _channels(model, likelihood)
    return _side_by_side(channels, jnp.concatenate([own.loadings for own in channels]))


@channel.register
def _(model: Beside, likelihood: Natural) -> Channel:
    """Those of the parts, each from its own latent."""
    channels = _channels(model, likelihood)
    return _side_by_side(channels, block_diag(*(own.loadings for own in channels)))


@select_component.register
def _(model: Parallel, point: Natural, component: Any) -> tuple[Differentiable, Natural]:
    pairs = zip(model.harmoniums, split(model, point), strict=True)
    selected = [
        select_component(part, part.point(own.observable, own.interaction, point.latent), component)
        for part, own in pairs
    ]
    models, points = zip(*selected, strict=True)
    if models == tuple(part.obs_man for part in model.harmoniums):  # no latents are left
        return model.obs_man, ProductPoint(points, model.obs_man, Coordinates.NATURAL)
    views = Parallel(*models)
    likelihood = merge(views, list(points))
    return views, views.point(likelihood.observable, likelihood.interaction, points[0].latent)
