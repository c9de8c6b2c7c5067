"""Hashable structure: what manifolds, embeddings and covariance structures have in common."""

import dataclasses
import functools
import inspect
from typing import Any, no_type_check

import equinox as eqx
import numpy as np
import wadler_lindig as wl
from jaxtyping import Array

AnyArray = Array | np.ndarray


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

    # Comparison runs within jax.jit's dispatch, so it is neither type checked nor uses attribute
    # access, which Equinox makes ten times as slow.

    @no_type_check
    def __hash__(self):
        try:
            return _read_hash(self)
        except AttributeError:
            value = hash(_flat_key(self))
            object.__setattr__(self, "_hash", value)
            return value

    @no_type_check
    def __eq__(self, other):
        if self is other:
            return True
        return isinstance(other, Structure) and _flat_key(self) == _flat_key(other)

    def __str__(self) -> str:
        """The structure in one line, as the code that makes it."""
        values = [getattr(self, field.name) for field in dataclasses.fields(self)]
        values = values[0] if is_variadic(type(self)) else values
        return f"{type(self).__name__}({', '.join(_text(v) for v in values if v is not None)})"

    def __repr__(self) -> str:
        return str(self)

    def __pdoc__(self, **kwargs: Any) -> wl.AbstractDoc:
        """How error messages of type checks show this."""
        return wl.TextDoc(str(self))


_read_key, _read_hash = Structure._key.__get__, Structure._hash.__get__


@no_type_check
def _flat_key(structure):
    """The types and fields of a structure and of all structures in it, as one tuple."""
    try:
        return _read_key(structure)
    except AttributeError:
        values = (getattr(structure, field.name) for field in dataclasses.fields(structure))
        key = (type(structure), *(key for value in values for key in _flatten(value)))
        object.__setattr__(structure, "_key", key)
        return key


@functools.cache
def is_variadic(cls: Any) -> bool:
    """Whether the constructor of a class takes all items of its only field, one by one."""
    parameters = inspect.signature(cls).parameters.values()
    return any(parameter.kind is inspect.Parameter.VAR_POSITIONAL for parameter in parameters)


def _text(value: Any) -> str:
    if isinstance(value, tuple):
        return f"({', '.join(map(_text, value))}{',' if len(value) == 1 else ''})"
    return str(value) if isinstance(value, Structure) else repr(value)


def _flatten(value: Any) -> tuple:
    if isinstance(value, Structure):
        return _flat_key(value)
    if isinstance(value, tuple):
        return (len(value), *(key for item in value for key in _flatten(item)))
    return (value,)
