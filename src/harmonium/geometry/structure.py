"""Hashable structure: what manifolds, embeddings and covariance structures have in common."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import wadler_lindig as wl


def _flatten(value: Any) -> tuple:
    if isinstance(value, Structure):
        return value._key
    if isinstance(value, tuple):
        return (len(value), *(key for item in value for key in _flatten(item)))
    return (value,)


class Structure(eqx.Module):
    """A pytree without array leaves, compared and hashed by its fields.

    Every `jax.jit` call compares the static metadata of its arguments, so comparison must be
    cheap: the fields of a structure and of all structures in it are flattened once into one
    tuple, which is cached together with its hash.
    """

    @functools.cached_property
    def _key(self) -> tuple:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return (type(self), *(key for value in values for key in _flatten(value)))

    @functools.cached_property
    def _hash(self) -> int:
        return hash(self._key)

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Structure) or self._hash != other._hash:
            return False
        return self._key == other._key

    def __repr__(self) -> str:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(repr(v) for v in values if v is not None)})"

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        """How error messages of type checks show this."""
        return wl.TextDoc(repr(self))
