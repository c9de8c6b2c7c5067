"""Harmoniums some of whose latents are data: labels, known for some observations or for all."""

import dataclasses
import operator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.outline import Variable, variables
from harmonium.exponential_family.product import Product
from harmonium.families.categorical import Categorical
from harmonium.geometry.embedding import IdentityEmbedding, RestrictionEmbedding, zeros_like
from harmonium.geometry.point import Mean, Natural, Point
from harmonium.geometry.product import zip_parts
from harmonium.geometry.structure import cached_property
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.harmonium import HarmoniumPoint, Joint
from harmonium.harmoniums.latents import posterior_top
from harmonium.harmoniums.lifted import Lifted
from harmonium.harmoniums.standardize import standardize_under, substitute_likelihood


class Labelled(Lifted):
    """A harmonium of whose latents some are data, too.

    It is the same distribution; what differs is what counts as data: tuples of the data of the
    harmonium and the values of these latents. Masks tell for which observations these are known, as
    they do for all data. `hm.fit(model, xs, labels=ys)` makes one, and returns points of the model.

    **Arguments:**

    - `hrm_man`: a conjugated harmonium.
    - `latents`: the numbers of the latents that are data, of all latents in the order from the data
        upwards, 0 for the lowest, -1 for the highest: by default that one, as the labels of the
        components of a mixture.
    """

    hrm_man: Conjugated = eqx.field(static=True)
    latents: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, hrm_man: Conjugated, latents: tuple[int, ...] = (-1,)):
        count = len(_latents(variables(hrm_man)))
        numbers = [operator.index(own) for own in latents]
        if not numbers or not all(-count <= own < count for own in numbers):
            raise ValueError(
                f"{hrm_man} has {count} latents, numbered from 0 or backwards from -1; got "
                f"latents={latents}."
            )
        self.hrm_man = hrm_man
        self.latents = tuple(sorted({own % count for own in numbers}))

    def wrap(self, point: Point) -> Point:
        """A point of the harmonium as one of this model."""
        self.hrm_man.check_point(point)
        return dataclasses.replace(point, manifold=self)

    def unwrap(self, point: Point) -> Point:
        """A point of this model as one of the harmonium."""
        self.check_point(point)
        return dataclasses.replace(point, manifold=self.hrm_man)

    # --- data

    @cached_property
    def _places(self) -> tuple[int, ...]:
        """Where the labels are among the variables."""
        latents = _latents(variables(self.hrm_man))
        return tuple(latents[own] for own in self.latents)

    @cached_property
    def label_families(self) -> tuple[Any, ...]:
        """The families of the latents that are data."""
        found = jax.tree.leaves(variables(self.hrm_man))
        return tuple(found[place].family for place in self._places)

    @property
    def data_man(self) -> Product:
        """The product of the harmonium's and the families of the latents that are data."""
        return Product(self.hrm_man.data_man, *self.label_families)

    def as_observation(self, data: Any) -> Joint:
        """A `Joint` with the other latents hidden."""
        xs, *labels = data
        tree = variables(self.hrm_man)
        shown = iter(jax.tree.structure(variables(self.hrm_man.data_man)).flatten_up_to(xs))
        known = dict(zip(self._places, labels, strict=True))
        return jax.tree.structure(tree).unflatten(
            known.get(place) if own.is_latent else next(shown)
            for place, own in enumerate(jax.tree.leaves(tree))
        )

    def data_of(self, x: Joint) -> tuple:
        parts = jax.tree.structure(variables(self.hrm_man)).flatten_up_to(x)
        return (self.hrm_man.data_of(x), *(parts[place] for place in self._places))

    # --- the harmonium itself

    @cached_property
    def pst_lens(self) -> IdentityEmbedding:
        """The identity: the latent is that of the harmonium."""
        return IdentityEmbedding(self.hrm_man.pst_man)

    @cached_property
    def prr_lens(self) -> IdentityEmbedding:
        """The identity: the latent is that of the harmonium."""
        return IdentityEmbedding(self.hrm_man.prr_man)

    @cached_property
    def pst_prr_emb(self) -> RestrictionEmbedding:
        """That of the harmonium."""
        return self.hrm_man.pst_prr_emb

    def initialize(self, key: PRNGKeyArray) -> Natural:
        return self.wrap(self.hrm_man.initialize(key))

    def initialize_from_sample(self, key: PRNGKeyArray, xs: Any) -> Natural:
        """The harmonium from its data, whatever the labels."""
        return self.wrap(self.hrm_man.initialize_from_sample(key, xs[0]))


def _latents(tree: Any) -> list[int]:
    """The places of latents among the variables of a model."""
    return [place for place, own in enumerate(jax.tree.leaves(tree)) if own.is_latent]


@variables.register
def _(family: Labelled, is_latent: bool = False) -> Joint:
    """Those of the harmonium, of which labels are no latents."""
    found, structure = jax.tree.flatten(variables(family.hrm_man, is_latent))

    def mark(place: int, own: Variable) -> Variable:
        return dataclasses.replace(own, is_latent=is_latent or place not in family._places)

    return structure.unflatten(
        mark(place, own) if own.is_latent else own for place, own in enumerate(found)
    )


@substitute_likelihood.register
def _(model: Labelled, likelihood: Natural, scale: Any, shift: Any) -> tuple[Natural, Natural]:
    """That of the harmonium, as labels stay as they are."""
    (_, b, c), *labels = zip_parts(model.data_man.parts, scale, shift)
    if any(own is not None for label in labels for own in label[1:]):
        raise TypeError(f"labels of {model} cannot be scaled and shifted.")
    if b is None and c is None:
        return likelihood, zeros_like(model.pst_man, likelihood)
    return substitute_likelihood(model.hrm_man, likelihood, b, c)


@standardize_under.register
def _(model: Labelled, point: Natural, mean: Mean) -> Natural:
    """That of the harmonium, unless labels say where its real latents are."""
    if not all(isinstance(own, Categorical) for own in model.label_families):
        return point
    return model.wrap(standardize_under(model.hrm_man, model.unwrap(point), model.unwrap(mean)))


@posterior_top.register
def _(model: Labelled, point: Natural, x: Any, observed: Any) -> Float[Array, " k"]:
    """By expected statistics, as given labels the posterior is no point of the latent manifold."""
    top = model.posterior_statistics(point, x, observed).latent
    while isinstance(top, HarmoniumPoint):
        top = top.latent
    family: Any = top.manifold
    if not isinstance(family, Categorical):
        raise TypeError(f"{model} has no categorical latent variable at its top.")
    # Not by natural parameters, as those of a label that is known are infinite.
    first = jnp.maximum(1 - jnp.sum(top.values, keepdims=True), 0)
    return jnp.concatenate([first, top.values])
