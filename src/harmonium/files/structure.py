"""Objects as JSON and arrays, and back.

Objects of the library's own classes are written as the name of their class and their fields, and
built again by its constructor, with all its checks. Classes are looked up in a registry of the
library's own; what a file says is never imported, and nothing of it is run.
"""

import dataclasses
import enum
import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.core import Tracer

from harmonium.files.container import DTYPES, FileError
from harmonium.geometry.structure import Structure
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.marginals import Estimate

# Of objects in objects; models of twenty levels have less.
MAX_DEPTH = 64


def encode(value: Any) -> tuple[Any, list[np.ndarray]]:
    """An object as what `json` writes, and the arrays to which this refers.

    **Raises:** `TypeError` for what can't be written, as functions.
    """
    encoder = _Encoder()
    return encoder.encode(value, 0), encoder.arrays


def decode(
    structure: Any, arrays: Sequence[np.ndarray], classes: Sequence[type] = (), narrow: bool = False
) -> Any:
    """The object of a structure and arrays, the inverse of `encode`.

    **Arguments:**

    - `classes`: further ones that it may consist of.
    - `narrow`: whether 64-bit arrays may become 32-bit ones where JAX has no others.

    **Raises:** `FileError` if there is no such object, or if it is not one of the known classes.
    """
    decoder = _Decoder(arrays, registry(classes), narrow)
    value = decoder.decode(structure, 0)
    if len(decoder.used) != len(arrays):
        raise FileError(f"of {len(arrays)} arrays, only {len(decoder.used)} belong to the object.")
    return value


def registry(classes: Sequence[type] = ()) -> dict[str, type]:
    """The classes that files may consist of, by name: the library's own, and those given."""
    own = [*_final_classes(eqx.Module), *_final_classes(enum.Enum), Joint, Estimate]
    known = {cls.__name__: cls for cls in own}
    for cls in classes:
        if cls.__name__ in known:
            raise ValueError(
                f"the library has a class {cls.__name__} of its own: rename the one given."
            )
        known[cls.__name__] = cls
    return known


def _final_classes(base: type) -> Iterator[type]:
    for cls in base.__subclasses__():
        own = cls.__module__.startswith("harmonium.") and not cls.__name__.startswith("_")
        abstract = inspect.isabstract(cls) or getattr(cls, "__abstractvars__", ())
        if own and not abstract and cls is not Structure:
            yield cls
        yield from _final_classes(cls)


def _field_names(cls: Any) -> tuple[str, ...]:
    if dataclasses.is_dataclass(cls):
        return tuple(field.name for field in dataclasses.fields(cls))
    return cls._fields


def construct(cls: Any, fields: Sequence[Any]) -> Any:
    """An object from its fields: a constructor takes them in order, or all items of the only one.

    That constructors do is part of what a class of structures has to fulfil.
    """
    kinds = [parameter.kind for parameter in inspect.signature(cls).parameters.values()]
    if inspect.Parameter.VAR_POSITIONAL in kinds:
        (items,) = fields
        return cls(*items)
    return cls(*fields)


class _Encoder:
    """Collects arrays on its way through an object."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.known = registry()
        self.seen: set[Structure] = set()

    def encode(self, value: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise ValueError(f"files hold objects in objects {MAX_DEPTH} deep, this is deeper.")
        if isinstance(value, jax.Array | np.ndarray | np.generic):
            return self._encode_array(value)
        if isinstance(value, enum.Enum):
            return {"enum": self._name(value), "member": value.name}
        if value is None or type(value) in (bool, str, int):
            return value
        if type(value) is float:
            return value if math.isfinite(value) else {"float": repr(value)}
        if type(value) in (list, tuple):
            items = [self.encode(item, depth + 1) for item in value]
            return items if type(value) is list else {"tuple": items}
        if type(value) is dict and all(type(name) is str for name in value):
            return {"dict": {name: self.encode(item, depth + 1) for name, item in value.items()}}
        if isinstance(value, eqx.Module | tuple) and hasattr(type(value), "__annotations__"):
            return self._encode_object(value, depth)
        raise TypeError(
            "files hold models, points, fits, arrays, numbers, strings, None, and lists, tuples "
            f"and dictionaries by strings of these; got an object of type {type(value).__name__}."
        )

    def _encode_object(self, value: Any, depth: int) -> Any:
        names = _field_names(type(value))
        parts = [getattr(value, name) for name in names]
        if isinstance(value, Structure) and value not in self.seen:
            if construct(type(value), parts) != value:
                raise TypeError(
                    f"{value} can't be written, as the constructor of {type(value).__name__} does "
                    f"not take its fields in order: {', '.join(names)}."
                )
            self.seen.add(value)
        encoded = [self.encode(part, depth + 1) for part in parts]
        return {"class": self._name(value), "fields": dict(zip(names, encoded, strict=True))}

    def _name(self, value: Any) -> str:
        cls = type(value)
        if cls.__module__.startswith("harmonium.") and self.known.get(cls.__name__) is not cls:
            raise TypeError(f"{cls.__name__} is internal to the library and is not written.")
        return cls.__name__

    def _encode_array(self, value: Any) -> Any:
        kind, impl = "numpy", {}
        if isinstance(value, Tracer):
            raise TypeError("files hold numbers, got a traced array: save outside of jax.jit.")
        if isinstance(value, jax.Array):
            kind = "array"
            if jnp.issubdtype(value.dtype, jax.dtypes.prng_key):
                kind, impl = "key", {"impl": str(jax.random.key_impl(value))}
                value = jax.random.key_data(value)
        elif isinstance(value, np.generic):
            kind = "scalar"
        array = np.asarray(value)
        if array.dtype.name not in DTYPES.values():
            raise TypeError(
                f"files hold arrays of {', '.join(DTYPES.values())}; got {array.dtype.name}."
            )
        self.arrays.append(array)
        return {kind: len(self.arrays) - 1, **impl}


class _Decoder:
    """Builds objects from nodes; `used` are the arrays that it has used, each at most once."""

    def __init__(self, arrays: Sequence[np.ndarray], known: dict[str, type], narrow: bool):
        self.arrays = arrays
        self.known = known
        self.narrow = narrow
        self.used: set[int] = set()

    def decode(self, node: Any, depth: int) -> Any:
        if depth > MAX_DEPTH:
            raise FileError(f"it holds objects in objects more than {MAX_DEPTH} deep.")
        match node:
            case None | bool() | str() | int() | float():
                return node
            case list():
                return [self.decode(item, depth + 1) for item in node]
            case {"tuple": list(items), **rest} if not rest:
                return tuple(self.decode(item, depth + 1) for item in items)
            case {"dict": dict(items), **rest} if not rest:
                return {name: self.decode(item, depth + 1) for name, item in items.items()}
            case {"float": "inf" | "-inf" | "nan" as text, **rest} if not rest:
                return float(text)
            case {"class": str(name), "fields": dict(fields), **rest} if not rest:
                return self._decode_object(name, fields, depth)
            case {"enum": str(name), "member": str(member), **rest} if not rest:
                return self._decode_member(name, member)
            case {"array": int(index), **rest} if not rest:
                return self._as_jax(self._take(index))
            case {"numpy": int(index), **rest} if not rest:
                return self._take(index).copy()
            case {"scalar": int(index), **rest} if not rest:
                return self._take(index)[()]
            case {"key": int(index), "impl": str(impl), **rest} if not rest:
                data = self._take(index)
                return _attempt("random key", lambda: _wrap_key(data, impl))
        raise FileError(f"it has an unknown part, {_shown(node)}.")

    def _decode_object(self, name: str, fields: dict[str, Any], depth: int) -> Any:
        cls = self.known.get(name)
        if cls is None or issubclass(cls, enum.Enum):
            raise FileError(
                f"it has an object of an unknown class {_shown(name)}. If it is one of yours, pass "
                "it: hm.load(path, classes=(...,))."
            )
        names = _field_names(cls)
        if set(fields) != set(names):
            raise FileError(
                f"the fields of {name} are {', '.join(names)}; it has {_shown(sorted(fields))}."
            )
        parts = [self.decode(fields[name], depth + 1) for name in names]
        return _attempt(name, lambda: construct(cls, parts))

    def _decode_member(self, name: str, member: str) -> Any:
        cls: Any = self.known.get(name)
        if cls is None or not issubclass(cls, enum.Enum) or member not in cls.__members__:
            raise FileError(f"it has an unknown constant {_shown(name)}.{_shown(member)}.")
        return cls[member]

    def _take(self, index: int) -> np.ndarray:
        if not 0 <= index < len(self.arrays) or index in self.used:
            raise FileError(
                f"it refers to array {index} of {len(self.arrays)}, or to one array twice."
            )
        self.used.add(index)
        return self.arrays[index]

    def _as_jax(self, array: np.ndarray) -> jax.Array:
        narrowed = jax.dtypes.canonicalize_dtype(array.dtype)
        if narrowed == array.dtype:
            return jnp.asarray(array)
        if not self.narrow:
            raise FileError(
                f"it holds arrays of {array.dtype}, which JAX has in 64-bit mode only. Switch it "
                'on, jax.config.update("jax_enable_x64", True), or have them narrowed: '
                "hm.load(path, narrow=True)."
            )
        if array.dtype.kind in "iu":
            bounds = np.iinfo(narrowed)
            if array.size and not (bounds.min <= array.min() and array.max() <= bounds.max):
                raise FileError(f"it holds integers that {narrowed} does not.")
        return jnp.asarray(array.astype(narrowed))


def _wrap_key(data: np.ndarray, impl: str) -> jax.Array:
    return jax.random.wrap_key_data(jnp.asarray(data), impl=impl)


def _attempt(name: str, build: Callable[[], Any]) -> Any:
    """What is built, or an error that says that the file is at fault.

    Whatever a constructor objects to, the content of the file is what it objects to.
    """
    try:
        return build()
    except Exception as error:
        reason = " ".join(str(error).split())[:500]
        raise FileError(f"it has no valid {name}: {type(error).__name__}: {reason}") from error


def _shown(value: Any) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:80]}..."
