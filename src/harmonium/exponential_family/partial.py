"""Observations of which some parts are hidden: masks, measures, expectations and draws."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PRNGKeyArray

from harmonium.exponential_family.chunks import batch_length
from harmonium.geometry.point import Mean, Natural, Point


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
            parts = [_as_array(part) for part in structure.flatten_up_to(observed)]
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


def _as_array(part: Any) -> Array:
    """As `jnp.asarray`, which compiles for each shape."""
    return part if isinstance(part, jax.Array) else jax.device_put(np.asarray(part))


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


def check_partial(family: Any, x: Any, observed: Any, like: Point | None = None) -> tuple[Any, Any]:
    """One observation, of which a mask tells what is observed, checked and masked out.

    **Raises:** as `check_form`, and for masks of another form.
    """
    x = family.check_form(x, batch=False, like=like)
    if observed is not None:
        observed = check_mask(family, observed, batch=False)
        x = mask_out(family, x, observed)
    return x, observed


def mask_out(family: Any, x: Any, observed: Any) -> Any:
    """An observation with a placeholder for what is not observed."""
    other = jax.tree.map(lambda a, b: jnp.asarray(b, a.dtype), x, placeholder(family))
    return fill(observed, x, other)


def fill(observed: Any, x: Any, other: Any) -> Any:
    """What is observed of `x`, and the rest from another observation."""

    def choose(mask: Array, a: Any, b: Any) -> Any:
        def one(a: Array, b: Array) -> Array:
            shown = mask.reshape(mask.shape + (1,) * (b.ndim - mask.ndim))
            return jnp.where(shown, a.astype(b.dtype), b)

        return jax.tree.map(one, a, b)

    return jax.tree.map(choose, observed, x, other)


# --- what families with parts, or of vectors, know better


@functools.singledispatch
def placeholder(family: Any) -> Any:
    """An observation to stand where nothing is observed; zeros by default."""
    return jax.tree.map(lambda form: np.zeros(form.shape), family.observation)


@functools.singledispatch
def log_partial_measure(family: Any, x: Any, observed: Any) -> Float[Array, ""]:
    """The log base measure of what is observed, given a masked observation."""
    return jnp.where(observed, family.log_base_measure(x), 0)


@functools.singledispatch
def expected_observation(family: Any, point: Mean) -> Any:
    """What observation to expect of a mean point.

    The expectation of numbers, the most probable category, the mean direction of angles.

    **Raises:** `TypeError` where mean parameters do not tell.
    """
    raise TypeError(
        f"the mean parameters of {family} do not tell what observation to expect. Draw samples."
    )


@functools.singledispatch
def sample_hidden(family: Any, key: PRNGKeyArray, point: Natural, x: Any, observed: Any) -> Any:
    """An observation whose hidden parts are drawn given its observed ones.

    By default all parts are hidden or none.

    **Arguments:**

    - `family`: a family from which samples can be drawn.
    - `key`: a JAX random key.
    - `point`: natural.
    - `x`: an observation.
    - `observed`: a mask, of the form `mask`; what is not observed has no effect.
    """
    return fill(observed, x, family.sample_one(key, point))
