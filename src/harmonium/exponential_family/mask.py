"""Masks: which parts of observations are observed."""

from typing import Any

import jax
import jax.numpy as jnp

from harmonium.exponential_family.chunks import batch_length


def check_mask(family: Any, observed: Any, batch: bool) -> Any:
    """Checks the structure, shapes and dtypes of a mask, or a batch of masks, of observations.

    **Raises:** `TypeError` for another structure or dtype, `ValueError` for another shape.
    """
    form = family.mask
    structure = jax.tree.structure(form)
    axes = ("N",) if batch else ()
    shapes = jax.tree.map(lambda leaf: f"({', '.join(map(str, axes + leaf.shape))})", form)
    expected = f"expected truth values of shapes {shapes} for what of {family} is observed"
    try:
        with jax.ensure_compile_time_eval():  # masks that are known stay known while compiling
            parts = [jnp.asarray(part) for part in structure.flatten_up_to(observed)]
    except (TypeError, ValueError):
        raise TypeError(f"{expected}; got {type(observed).__name__}.") from None
    for leaf, part in zip(jax.tree.leaves(form), parts, strict=True):
        if part.dtype != bool:
            raise TypeError(
                f"{expected}; got {part.dtype}. Masks are True where there is an observation: "
                "for NaN as missing pass ~numpy.isnan(xs)."
            )
        if part.shape[batch:] != leaf.shape or part.ndim != len(leaf.shape) + batch:
            raise ValueError(f"{expected}; got shape {part.shape}.")
    return structure.unflatten(parts)


def check_masks(family: Any, observed: Any, length: int) -> Any:
    """`check_mask` of a batch of as many masks as there are observations.

    **Raises:** `ValueError` also for another number of them.
    """
    observed = check_mask(family, observed, batch=True)
    if batch_length(observed) != length:
        raise ValueError(
            f"expected a mask for each of {length} observations, got {batch_length(observed)}."
        )
    return observed
