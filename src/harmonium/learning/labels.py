"""Fits to data with labels: values of latents that are known for some observations."""

import dataclasses
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool

from harmonium.exponential_family.checks import all_finite
from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.compiled import compiled, is_traced
from harmonium.exponential_family.outline import variables
from harmonium.geometry.point import Natural, Point
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.labelled import Labelled
from harmonium.learning.batches import as_batches
from harmonium.learning.problem import ConjugatePrior, Problem
from harmonium.learning.scaling import Scaling

# How much of what components start from comes from observations without labels.
WITHOUT_LABELS = 0.05


class LabelledData(NamedTuple):
    """Data with labels.

    **Fields:** the `model` that has them as data, a `Labelled`; the `data`, a tuple of observations
    and labels; and the masks `observed`, `None` if everything is.
    """

    model: Any
    data: Any
    observed: Any


def join_labels(model: Any, data: Any, labels: Any, labelled: Any, observed: Any) -> LabelledData:
    """The data of a model and its labels as one.

    **Arguments:**

    - `model`: a conjugated harmonium.
    - `data`: a batch of N observations.
    - `labels`: (N,), values of the latent at the top, or a tuple with an entry for each latent, the
        lowest first, and `None` for those without labels. Unknown are negative categories and
        reals that are NaN. Latents of which one value is several arrays can have none.
    - `labelled`: masks of labels that are known, in the same form, or `None`.
    - `observed`: N masks of the data, or `None`.

    **Returns:** these, with the model itself and the data as they are if no label is known.

    **Raises:** `TypeError` or `ValueError` for labels of another form, out of range, or not as many
    as there are observations.
    """
    if not isinstance(model, Conjugated):
        raise TypeError(f"{model} has no latents that labels could be of.")
    if as_batches(data, None) is not None:
        raise TypeError("labels are not taken beside data that are read batch by batch.")
    if labels is None:
        raise ValueError("labelled says which labels are known: pass the labels, too.")
    count = sum(own.is_latent for own in jax.tree.leaves(variables(model)))
    if not isinstance(labels, tuple):
        labels, labelled = (None,) * (count - 1) + (labels,), (None,) * (count - 1) + (labelled,)
    labelled = (None,) * len(labels) if labelled is None else labelled
    if len(labels) != count or not isinstance(labelled, tuple) or len(labelled) != count:
        raise ValueError(
            f"expected labels, and masks of them, as a tuple with one entry for each of {count} "
            f"latents of {model}, None for those without; got {len(labels)}."
        )
    known = tuple(number for number, own in enumerate(labels) if own is not None)
    if not known:
        return LabelledData(model, data, observed)
    whole = Labelled(model, known)
    family = model.data_man
    length = batch_length(family.check_form(data))
    triples = [
        (own, labels[n], labelled[n]) for own, n in zip(whole.label_families, known, strict=True)
    ]
    pairs = [_check_labels(*triple, length) for triple in triples]
    masks = tuple(mask for _, mask in pairs)
    traced = any(isinstance(mask, Tracer) for mask in masks)
    if not traced and not any(mask.any() for mask in masks):
        return LabelledData(model, data, observed)
    data = (data, *(own for own, _ in pairs))
    if observed is None and not traced and all(mask.all() for mask in masks):
        return LabelledData(whole, data, None)
    if observed is None:
        observed = jax.tree.map(lambda form: np.ones((length, *form.shape), bool), family.mask)
    return LabelledData(whole, data, (observed, *masks))


def _check_labels(family: Any, labels: Any, labelled: Any, length: int) -> tuple[Any, Any]:
    """Labels with zeros where they are unknown, and masks, one for each entry."""
    form, *others = jax.tree.leaves(family.observation)
    if others:
        raise TypeError(
            f"labels of {family} are not taken, as each would be {1 + len(others)} arrays. Give "
            "labels of other latents, and None for this one."
        )
    real = jnp.issubdtype(form.dtype, jnp.floating)
    library: Any = jnp if isinstance(labels, Tracer) else np
    values = library.asarray(labels)
    if values.shape != (length, *form.shape):
        shape = ("N", *form.shape)
        raise ValueError(
            f"expected labels of {family} of shape ({', '.join(map(str, shape))}), one for each of "
            f"{length} observations; got shape {values.shape}."
        )
    if not real and not jnp.issubdtype(values.dtype, jnp.integer):
        raise TypeError(
            f"expected labels of {family} that are integers from 0, and -1 where they are unknown; "
            f"got {values.dtype}. Encode other labels first: numpy.unique(ys, return_inverse=True)."
        )
    shown = ~library.isnan(values) if real else values >= 0
    if labelled is not None:
        mask = library.asarray(labelled)
        if mask.dtype != bool or mask.shape not in ((length,), values.shape):
            raise TypeError(
                f"expected truth values for which of {length} labels are known; got {mask.dtype} "
                f"of shape {mask.shape}."
            )
        shown = library.broadcast_to(
            mask.reshape(mask.shape + (1,) * (values.ndim - mask.ndim)), values.shape
        )
    values = library.where(shown, values, 0)
    if library is np:
        _refuse_outside(family, values)
    (mask_form,) = jax.tree.leaves(family.mask)
    return values, shown if mask_form.shape == form.shape else shown.all(axis=-1)


def _refuse_outside(family: Any, values: np.ndarray) -> None:
    outside = np.flatnonzero(~np.asarray(jax.vmap(family.in_support)(values)))
    if len(outside):
        row = int(outside[0])
        raise ValueError(
            f"the label of row {row} is {values[row]}, which is outside the support of {family}. "
            "Number categories from 0, and pass -1 where the label is unknown."
        )


def known_rows(observed: Any) -> Any:
    """Which observations have a label of each latent that is data."""
    library: Any = jnp if is_traced() else np
    masks = [library.asarray(mask).reshape(len(mask), -1).all(axis=1) for mask in observed[1:]]
    return library.stack(masks).all(axis=0)


def start_from_labels(problem: Problem, starts: Natural, known: Any) -> Natural:
    """Starts after a step of EM in which observations with labels count for nearly all.

    Components of which no label is known stay about where they were.

    **Arguments:**

    - `problem`: that of a model with labels.
    - `starts`: a batch of natural points, made without labels.
    - `known`: (N,), which observations have labels; data may be padded.
    """
    assert problem.weights is not None  # as the data are arrays
    library: Any = jnp if is_traced() else np
    known = library.pad(known, (0, len(problem.weights) - len(known)))
    return _stepped(problem, starts, jnp.asarray(known))


@compiled
def _stepped(problem: Problem, starts: Natural, known: Bool[Array, " n"]) -> Natural:
    model, prior = problem.model, problem.prior
    weights: Any = problem.weights
    share = jnp.sum(jnp.where(known, weights, 0))
    parts = jnp.where(known, weights / share, 0), jnp.where(known, 0, weights / (1 - share))
    mixed = (1 - WITHOUT_LABELS) * parts[0] + WITHOUT_LABELS * parts[1]
    mixed = jnp.where((share > 0) & (share < 1), mixed, weights)
    if prior is not None:  # as heavy beside the observations with labels as it is beside all
        prior = ConjugatePrior(prior.mean, prior.weight / jnp.where(share > 0, share, 1))
    reweighted = dataclasses.replace(problem, weights=mixed, prior=prior)

    def improved(start: Natural) -> Natural:
        mean, _ = reweighted.expectation(start)
        result = model.maximization(mean, start)
        valid = all_finite(result)
        return jax.tree.map(lambda new, old: jnp.where(valid, new, old), result, start)

    return jax.vmap(improved)(starts)


def monitor_of(model: Any, whole: Any, monitor: Any) -> Any:
    """A monitor of points of the model, for a fit of the model with labels; or `None`."""
    if monitor is None:
        return None
    return lambda n_steps, point: monitor(n_steps, convert_points(whole, model, point))


def without_labels(model: Any, scaling: Scaling) -> Scaling:
    """A map of the data of a model that leaves labels among them as they are."""
    if not isinstance(model, Labelled) or not isinstance(scaling, tuple):
        return scaling
    return None if scaling[0] is None else (scaling[0], *(None for _ in scaling[1:]))


def convert_points(source: Any, target: Any, tree: Any) -> Any:
    """A pytree with points of another model of the same parts in the place of those of one."""
    if source == target:
        return tree

    def is_point(node: Any) -> bool:
        return isinstance(node, Point) and node.manifold == source

    def convert(node: Any) -> Any:
        return dataclasses.replace(node, manifold=target) if is_point(node) else node

    return jax.tree.map(convert, tree, is_leaf=is_point)
