"""The form of observations: which arrays of which shapes and dtypes a family observes."""

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array


def check_form(family: Any, xs: Any, batch: bool, dtype: Any) -> Any:
    """Checks the shapes and dtypes of observations, and makes JAX arrays of them.

    **Arguments:**

    - `family`: an exponential family, whose `observation` is the form.
    - `xs`: one observation or a batch, of anything that JAX can make arrays of.
    - `batch`: whether it is a batch, with a leading axis.
    - `dtype`: the floating point type of real numbers in the result; `None` to keep theirs.

    **Raises:** `TypeError` for another structure or dtype, `ValueError` for another shape.
    """
    form = family.observation
    structure = jax.tree.structure(form)
    try:
        parts = structure.flatten_up_to(xs)
    except ValueError:
        raise TypeError(f"{_describe_form(family, batch)}; got {_describe(xs)}.") from None
    pairs = zip(jax.tree.leaves(form), parts, strict=True)
    return structure.unflatten([_check_array(family, f, x, batch, dtype) for f, x in pairs])


def float_dtype(tree: Any) -> Any:
    """The floating point type of the arrays in a pytree; the default one if there are none."""
    leaves = jax.tree.leaves(tree)
    dtypes = [leaf.dtype for leaf in leaves if jnp.issubdtype(leaf.dtype, jnp.floating)]
    return jnp.result_type(*dtypes) if dtypes else jnp.zeros(()).dtype


def _check_array(family: Any, form: Any, x: Any, batch: bool, dtype: Any) -> Array:
    try:
        array: Any = x if isinstance(x, jax.Array) else _as_numpy(x)
    except (TypeError, ValueError):
        raise TypeError(f"{_describe_form(family, batch)}; got {_describe(x)}.") from None
    if array.shape[batch:] != form.shape or array.ndim != len(form.shape) + batch:
        remedy = _shape_remedy(form, array, batch)
        raise ValueError(f"{_describe_form(family, batch)}; got {_describe(array)}.{remedy}")
    real = jnp.issubdtype(form.dtype, jnp.floating)
    allowed = (jnp.floating, jnp.integer) if real else (jnp.integer, jnp.bool_)
    if not any(jnp.issubdtype(array.dtype, kind) for kind in allowed):
        wanted = "float" if real else "int"
        raise TypeError(
            f"{_describe_form(family, batch)}; got {_describe(array)}. If they mean the same, "
            f"convert them with astype({wanted})."
        )
    if real:
        array = array.astype(_computing_dtype(array) if dtype is None else dtype)
    else:
        array = _whole_numbers(family, array, batch)
    return array if isinstance(array, jax.Array) else jax.device_put(array)


def _as_numpy(x: Any) -> np.ndarray:
    """An array, of NumPy, as JAX compiles what it converts."""
    array = np.asarray(x)
    if array.dtype.kind not in "biuf" and not jnp.issubdtype(array.dtype, jnp.floating):
        return np.asarray(jnp.asarray(x))
    return array


def _computing_dtype(array: Any) -> Any:
    """The floating point type in which numbers are processed: theirs, if it is not a short one."""
    if not jnp.issubdtype(array.dtype, jnp.floating):
        return jnp.zeros(()).dtype
    own = jax.dtypes.canonicalize_dtype(array.dtype)
    return own if own.itemsize >= 4 else jnp.zeros(()).dtype


def _whole_numbers(family: Any, array: Any, batch: bool) -> Any:
    """Integers of JAX's default type, in which sums of them keep their digits.

    **Raises:** `ValueError` if there are some beyond its range.
    """
    wide = np.iinfo(jax.dtypes.canonicalize_dtype(np.int64))
    fits = np.can_cast(array.dtype, wide.dtype)
    if not fits and array.size and not isinstance(array, Tracer):
        low, high = int(array.min()), int(array.max())
        if low < wide.min or high > wide.max:
            raise ValueError(
                f"{_describe_form(family, batch)}; got numbers from {low} to {high}, beyond the "
                f"range of {wide.dtype}, {wide.min} to {wide.max}. For 64 bits call "
                "jax.config.update('jax_enable_x64', True) before all else."
            )
    return array.astype(wide.dtype)


class _Text(str):
    """Text that shows without quotes in the description of a structure."""

    __repr__ = str.__str__


def _shape_remedy(form: Any, array: Array, batch: bool) -> str:
    if batch and array.shape == form.shape:
        return " This looks like a single one: make a batch of it with x[None]."
    if not batch and array.ndim and array.shape[1:] == form.shape:
        return " This looks like a batch: map over it with jax.vmap."
    return ""


def _describe_form(family: Any, batch: bool) -> str:
    def describe(leaf: Any) -> _Text:
        kind = "real numbers" if jnp.issubdtype(leaf.dtype, jnp.floating) else "integers"
        shape = (_Text("N"), *leaf.shape) if batch else leaf.shape
        return _Text(f"{kind} of shape {shape}")

    what = "a batch of observations" if batch else "an observation"
    return f"expected {what} of {family}: {jax.tree.map(describe, family.observation)!r}"


def _describe(xs: Any) -> str:
    if isinstance(xs, jax.Array):
        return f"{xs.dtype} of shape {xs.shape}"
    if hasattr(xs, "shape") and hasattr(xs, "dtype"):
        return f"{type(xs).__name__} of {xs.dtype} of shape {xs.shape}"
    text = repr(xs)
    return f"{type(xs).__name__} {text if len(text) <= 60 else text[:57] + '...'}"
