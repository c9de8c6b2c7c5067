"""Hashable structure: what manifolds, embeddings and covariance structures have in common."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import wadler_lindig as wl


def _flatten(value: Any) -> tuple:
    if isinstance(value, Structure):
        return value._flat_key()
    if isinstance(value, tuple):
        return (len(value), *(key for item in value for key in _flatten(item)))
    return (value,)


class cached_property(functools.cached_property):
    """A property computed once an object, and stored beside its attributes.

    Equinox writes into the tree structure whether an object has other attributes than its fields:
    with `functools.cached_property`, which adds some, `jax.jit` would trace anew for a used model.
    """

    def __get__(self, instance: Any, owner: Any = None) -> Any:
        if instance is None:
            return self
        try:
            cache = instance._cache
        except AttributeError:
            cache = {}
            object.__setattr__(instance, "_cache", cache)
        if self.attrname not in cache:
            cache[self.attrname] = self.func(instance)
        return cache[self.attrname]


class Structure(eqx.Module):
    """A pytree without array leaves, compared and hashed by its fields.

    Every `jax.jit` call compares the static metadata of its arguments, so comparison must be
    cheap: the fields of a structure and of all structures in it are flattened once into one
    tuple, which is cached together with its hash.
    """

    # Outside of __dict__, for the reason that cached_property gives.
    __slots__ = ("_cache", "_hash", "_key")

    def __getstate__(self) -> dict[str, Any]:
        """What is copied and pickled: the fields, and not what was computed from them."""
        return dict(self.__dict__)

    def _flat_key(self) -> tuple:
        try:
            return self._key
        except AttributeError:
            values = (getattr(self, field.name) for field in dataclasses.fields(self))
            key = (type(self), *(item for value in values for item in _flatten(value)))
            object.__setattr__(self, "_key", key)
            return key

    def __hash__(self) -> int:
        try:
            return self._hash
        except AttributeError:
            value = hash(self._flat_key())
            object.__setattr__(self, "_hash", value)
            return value

    def __eq__(self, other: object) -> bool:
        if self is other:
            return True
        if not isinstance(other, Structure) or hash(self) != hash(other):
            return False
        return self._flat_key() == other._flat_key()

    def __repr__(self) -> str:
        values = (getattr(self, field.name) for field in dataclasses.fields(self))
        return f"{type(self).__name__}({', '.join(repr(v) for v in values if v is not None)})"

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        """How error messages of type checks show this."""
        return wl.TextDoc(repr(self))
