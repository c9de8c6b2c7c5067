"""Checks of values, which say what is wrong outside and inside compiled functions alike."""

import contextlib
import contextvars
import functools
from collections.abc import Iterator
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer
from jaxtyping import Array, Bool

from harmonium.exponential_family.compiled import add_flag, batched, is_traced, on_accelerator

REPAIR = "Remove or repair such observations first."
_raises = contextvars.ContextVar("raises", default=True)


@contextlib.contextmanager
def invalid_as_nan() -> Iterator[None]:
    """Within it, `require` returns NaN where it would raise an error in compiled functions.

    For loops that watch for NaN themselves, as fitting from several starts does: one that fails is
    no reason to stop the others.
    """
    token = _raises.set(False)
    try:
        yield
    finally:
        _raises.reset(token)


def require(value: Any, valid: Any, message: str) -> Any:
    """Returns `value` if a truth value holds, and otherwise raises an error with this message.

    **Raises:** `ValueError` if `valid` is a concrete value, and Equinox's run-time error from
    within `jax.jit` and other transformations, where values are not known beforehand.
    """
    if _raises.get() and not isinstance(valid, Tracer):
        if not bool(valid):
            raise ValueError(message)
        return value
    if _raises.get() and add_flag(valid, message):
        return value
    if _raises.get():
        # The check holds up a truth value, on which the rest depends, and not large arrays.
        valid = eqx.error_if(valid, jnp.logical_not(valid), message)
    return jax.tree.map(lambda leaf: jnp.where(valid, leaf, _no_number(leaf)), value)


def _no_number(leaf: Any) -> Any:
    """NaN for real numbers, zero for integers, which have none."""
    return jnp.nan if jnp.issubdtype(jnp.result_type(leaf), jnp.inexact) else 0


def all_finite(tree: Any) -> Bool[Array, ""]:
    """Whether all entries of all arrays are finite."""
    flags = [jnp.all(jnp.isfinite(leaf)) for leaf in jax.tree.leaves(tree)]
    return jnp.all(jnp.stack(flags)) if flags else jnp.asarray(True)


def real_array(value: Any, shape: tuple[int, ...], name: str) -> Array:
    """An array of real numbers of this shape; lists and integers will do.

    **Raises:** `TypeError` if this is no array of numbers, `ValueError` for another shape.
    """
    try:
        array = jnp.asarray(value)
    except (TypeError, ValueError):
        raise TypeError(
            f"{name} must be an array of real numbers of shape {shape}, got {value!r}."
        ) from None
    if array.shape != shape:
        raise ValueError(
            f"{name} must be an array of real numbers of shape {shape}, got one of {array.shape}."
        )
    return array if jnp.issubdtype(array.dtype, jnp.floating) else array.astype(float)


def finite_number(value: Any, name: str) -> Array:
    """A finite real number, as an array; raises errors as `positive_number` does."""
    number = real_array(value, (), name)
    return require(number, jnp.isfinite(number), f"{name} must be finite.")


def positive_number(value: Any, name: str) -> Array:
    """A finite real number above zero, as an array.

    **Raises:** `TypeError` if this is no number, `ValueError` if it is an array of them, and an
    error if it is not positive and finite.
    """
    number = real_array(value, (), name)
    valid = jnp.isfinite(number) & (number > 0)
    return require(number, valid, f"{name} must be positive and finite.")


def probability(value: Any, name: str) -> Array:
    """A number strictly between 0 and 1, as an array; raises errors as `positive_number` does."""
    number = real_array(value, (), name)
    return require(number, (number > 0) & (number < 1), f"{name} must be between 0 and 1.")


def check_weights(weights: Any, length: int, dtype: Any) -> Any:
    """Observation weights, normalised to sum to one; equal ones for `None`.

    **Raises:** an error if the weights have another length than the batch, are negative or not
    finite, or sum to zero.
    """
    library: Any = jnp if is_traced() or isinstance(weights, jax.Array) else np
    if weights is None:
        return library.full(length, 1 / length, dtype)
    if np.shape(weights) != (length,):
        raise ValueError(
            f"expected one weight for each of {length} observations, got an array of shape "
            f"{np.shape(weights)}."
        )
    weights = library.asarray(weights, dtype)
    total = library.sum(weights)
    valid = library.all(weights >= 0) & library.isfinite(total) & (total > 0)
    weights = require(
        weights,
        valid,
        "weights must be finite, not negative, and not all zero. Give weight 0 to observations "
        "that should not count.",
    )
    return weights / total


def all_close(first: Any, second: Any, *others: Any) -> Bool[Array, ""]:
    """Whether two points agree to half the digits, relative to the largest entry of each leaf.

    **Arguments:**

    - `first`, `second`: pytrees of the same structure.
    - `*others`: more of them, whose entries count for the size of a leaf, too.
    """

    def close(a: Array, b: Array, *rest: Array) -> Array:
        size = sum((jnp.max(jnp.abs(c), initial=0) for c in rest), jnp.max(jnp.abs(b), initial=0))
        return jnp.all(jnp.abs(a - b) <= jnp.finfo(a.dtype).eps ** 0.5 * size)

    return jnp.all(jnp.stack(jax.tree.leaves(jax.tree.map(close, first, second, *others))))


@batched
def rows_in_support(family: Any, xs: Any) -> Bool[Array, " n"]:
    """Which observations of a batch are in the support of a family."""
    return jax.vmap(family.in_support)(xs)


def check_support(family: Any, value: Any, xs: Any) -> Any:
    """Returns `value` if all of a batch of observations of a family are in its support.

    In compiled functions what is returned is a copy, so `value` had better be small.
    """
    inside = rows_in_support(family, xs)
    if not isinstance(inside, Tracer) and inside.is_fully_addressable:
        outside = np.flatnonzero(~np.asarray(inside))
        if len(outside):
            x = jax.tree.map(lambda leaf: np.asarray(leaf)[outside[0]], xs)
            raise ValueError(describe_outside(family, f"row {outside[0]}", x))
        return value
    return require(
        value,
        jnp.all(inside),
        f"some observations are outside {_support_of(family)}",
    )


def check_no_nan(family: Any, xs: Any) -> None:
    """Raises an error that names the first observation in which there is NaN."""
    for leaf in jax.tree.leaves(xs):
        library: Any = jnp if on_accelerator(leaf) else np
        missing = library.isnan(library.asarray(leaf))
        if bool(missing.any()):
            row, *entry = np.argwhere(np.asarray(missing))[0]
            place = f", column {entry[0]}" if entry else ""
            raise ValueError(
                f"row {row}{place} of these observations of {family} is NaN, which has no density. "
                "Pass masks of what is observed, as observed=~numpy.isnan(xs), or repair it."
            )


def flag_nan(x: Any) -> None:
    """Raises an error if a number of one observation is NaN.

    Within functions that users compile nothing is checked.
    """
    for leaf in jax.tree.leaves(x):
        valid = ~jnp.any(jnp.isnan(leaf))
        message = "there is NaN in this observation. Pass a mask of what is observed, `observed`."
        if isinstance(valid, Tracer):
            add_flag(valid, message)
        elif not bool(valid):
            raise ValueError(message)


def flag_support(family: Any, x: Any) -> None:
    """Raises an error if an observation is outside the support.

    Within functions that users compile nothing is checked.
    """
    inside = family.in_support(x)
    message = f"this observation is outside {_support_of(family)}"
    if isinstance(inside, Tracer):
        add_flag(inside, message)
    elif not bool(inside):
        raise ValueError(message)


def describe_outside(family: Any, place: str, x: Any) -> str:
    """What is wrong with an observation outside the support, and where: text of an error."""
    where, value, part = find_outside(family, x)
    return (
        f"{place}{where} is outside the support of {family}: got {value}, and "
        f"{describe_support(part)}. {REPAIR}"
    )


def _support_of(family: Any) -> str:
    return f"the support of {family}: {describe_support(family)}. {REPAIR}"


@functools.singledispatch
def describe_support(family: Any) -> str:
    """What observations are, in words that follow a colon in errors."""
    return "numbers are finite"


@functools.singledispatch
def find_outside(family: Any, x: Any) -> tuple[str, Any, Any]:
    """Where an observation is outside the support, the value there, and the family of that."""
    leaves = jax.tree.leaves(x)
    if len(leaves) == 1 and np.ndim(leaves[0]) == 1:
        bad = np.flatnonzero(~np.isfinite(leaves[0]))
        if len(bad):
            return f", column {bad[0]}", leaves[0][bad[0]], family
    return "", x, family
