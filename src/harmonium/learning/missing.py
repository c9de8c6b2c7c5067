"""Data of which some values are missing: what `fit` takes, with masks of what is observed."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from harmonium.exponential_family.chunks import batch_length
from harmonium.exponential_family.partial import check_masks
from harmonium.harmoniums.conjugated import Conjugated
from harmonium.harmoniums.grouped import GroupedObservations, mask_rows


def mark_missing(model: Any, data: Any, observed: Any, missing: str) -> tuple[Any, Any]:
    """The data, and masks of what is observed, for NaN if asked for."""
    if isinstance(data, GroupedObservations):
        raise TypeError(
            "fit takes observations and masks, `data` and `observed`, not groups of them."
        )
    if missing not in ("error", "nan"):
        raise ValueError(f"missing is 'error' or 'nan', got {missing!r}.")
    if (observed is not None or missing == "nan") and not isinstance(model, Conjugated):
        raise TypeError(f"{model} has no latents; of observations all has to be observed.")
    if missing == "error" or observed is not None:
        return data, observed
    family = model.data_man
    forms, masks = jax.tree.leaves(family.observation), jax.tree.leaves(family.mask)
    shapes = [form.shape for form in forms]
    if shapes != [mask.shape for mask in masks]:
        raise TypeError(
            f"NaN does not tell what of {family} is missing. Pass masks of the form "
            f"{family.mask} as `observed`."
        )
    structure = jax.tree.structure(family.observation)
    marked = [
        _marked(form, part) for form, part in zip(forms, structure.flatten_up_to(data), strict=True)
    ]
    parts, seen = zip(*marked, strict=True)
    return structure.unflatten(parts), jax.tree.structure(family.mask).unflatten(seen)


def _marked(form: Any, part: Any) -> tuple[Any, Any]:
    """An array, and what of it is not NaN: counts and categories with holes are whole numbers."""
    library: Any = jnp if isinstance(part, jax.Array) else np
    part = library.asarray(part)
    seen = ~library.isnan(part)
    holed = jnp.issubdtype(part.dtype, jnp.floating) and jnp.issubdtype(form.dtype, jnp.integer)
    if holed and not isinstance(part, Tracer):
        shown = np.where(seen, part, 0)
        whole = shown.astype(np.int64)
        if np.array_equal(shown, whole):
            return whole, seen
    return part, seen


def check_marked(family: Any, data: Any, observed: Any) -> Any:
    """The data as JAX arrays, with a placeholder where nothing is observed."""
    if observed is None:
        return family.check_data(data)
    xs = family.check_form(data)
    masks = check_masks(family, observed, batch_length(xs))
    return family.check_data(mask_rows(family, (xs, masks))[0])
