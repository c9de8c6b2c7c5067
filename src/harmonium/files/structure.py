"""Objects as JSON and arrays, and back.

Objects of the library's own classes are written as the name of their class and their fields, and
built again by its constructor, with all its checks. Classes are looked up in a registry of the
library's own; what a file says is never imported, and nothing of it is run.

Models consist of the same parts many times, so that each is written once, in a list in which an
entry may refer to those before it. A short list can then stand for something endless: what it
expands to is counted while it is read.
"""

import contextlib
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

from harmonium.files import version_1
from harmonium.files.container import DTYPES, FileError
from harmonium.geometry.structure import Structure, is_variadic
from harmonium.harmoniums.harmonium import Joint
from harmonium.harmoniums.marginals import Estimate

# Of objects in objects; models of twenty levels have less.
MAX_DEPTH = 64
# What all models in a file and their parts may expand to, in nodes.
MAX_EXPANDED = 200_000
# Fields of these types hold nothing else, not even a number that is equal.
NUMBERS = (bool, int, float)


def encode(value: Any) -> tuple[Any, list[np.ndarray]]:
    """An object as what `json` writes, and the arrays to which this refers.

    **Raises:** `TypeError` for what can't be written, as functions, and `FileError` for objects
    nested too deeply.
    """
    encoder = _Encoder()
    encoded = encoder.encode(value, 0)
    return {"structures": encoder.structures, "value": encoded}, encoder.arrays


def decode(
    structure: Any, arrays: Sequence[np.ndarray], classes: Sequence[type] = (), narrow: bool = False
) -> Any:
    """The object of a structure and arrays, the inverse of `encode`.

    **Arguments:**

    - `classes`: further ones that it may consist of.
    - `narrow`: whether 64-bit arrays may become 32-bit ones where JAX has no others.

    **Raises:** `FileError` if there is no such object, or if it is not one of the known classes.
    """
    match structure:
        case {"structures": list(entries), "value": node, **rest} if not set(rest) - {"version"}:
            old = version_1.CLASSES if rest.get("version") == 1 else {}
            decoder = _Decoder(registry(classes), narrow, old)
        case _:
            raise FileError("it has no structure.")
    for entry in entries:
        decoder.add_structure(entry)
    decoder.arrays = arrays  # there are none in structures
    value = decoder.decode(node, 0)
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


def _annotation(cls: Any, name: str) -> Any:
    return getattr(cls, "__annotations__", {}).get(name)


def construct(cls: Any, fields: Sequence[Any]) -> Any:
    """An object from its fields: a constructor takes them in order, or all items of the only one.

    That constructors do is part of what a class of structures has to fulfil.
    """
    if is_variadic(cls):
        (items,) = fields
        return cls(*items)
    return cls(*fields)


class _Extent:
    """How deep the nodes of a structure are, and to how many the ones before it expand in it."""

    def __init__(self) -> None:
        self.deepest = 0
        self.expanded = 0
        self.known: list[tuple[int, int]] = []

    def add(self, depth: int) -> None:
        """One node."""
        self._include(depth, 1)

    def add_structure(self, index: int, depth: int) -> None:
        """All nodes of an earlier structure."""
        own_depth, n_nodes = self.known[index]
        self._include(depth + own_depth, n_nodes)

    @contextlib.contextmanager
    def of_structure(self) -> Iterator[None]:
        """In it the next structure is counted."""
        before = self.deepest, self.expanded
        self.deepest, self.expanded = 0, 0
        yield
        self.known.append((self.deepest, self.expanded))
        self.deepest, self.expanded = before
        if sum(n_nodes for _, n_nodes in self.known) > MAX_EXPANDED:
            raise FileError(f"models and their parts expand to more than {MAX_EXPANDED:,} nodes.")

    def _include(self, depth: int, n_nodes: int) -> None:
        self.deepest = max(self.deepest, depth)
        self.expanded += n_nodes
        if self.deepest > MAX_DEPTH:
            raise FileError(f"there are objects in objects more than {MAX_DEPTH} deep.")


class _Encoder:
    """Collects arrays and structures on its way through an object."""

    def __init__(self) -> None:
        self.arrays: list[np.ndarray] = []
        self.structures: list[Any] = []
        self.places: dict[Structure, int] = {}
        self.extent = _Extent()
        self.known = registry()

    def encode(self, value: Any, depth: int) -> Any:
        if isinstance(value, Structure):
            return self._encode_structure(value, depth)
        self.extent.add(depth)
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
        if isinstance(value, eqx.Module) or hasattr(value, "_fields"):
            return self._encode_object(value, depth)
        raise TypeError(
            "files hold models, points, fits, arrays, numbers, strings, None, and lists, tuples "
            f"and dictionaries by strings of these; got an object of type {type(value).__name__}."
        )

    def _encode_structure(self, value: Structure, depth: int) -> Any:
        if value not in self.places:
            names = _field_names(type(value))
            if construct(type(value), [getattr(value, name) for name in names]) != value:
                raise TypeError(
                    f"{value} can't be written, as the constructor of {type(value).__name__} does "
                    f"not take its fields in order: {', '.join(names)}."
                )
            with self.extent.of_structure():
                node = self._encode_object(value, 0)
            self.structures.append(node)
            self.places[value] = len(self.structures) - 1
        self.extent.add_structure(self.places[value], depth)
        return {"structure": self.places[value]}

    def _encode_object(self, value: Any, depth: int) -> Any:
        fields = {}
        for name in _field_names(type(value)):
            part, kind = getattr(value, name), _annotation(type(value), name)
            if kind in NUMBERS and isinstance(part, np.generic | int | float):
                part = kind(part)
            fields[name] = self.encode(part, depth + 1)
        return {"class": self._name(value), "fields": fields}

    def _name(self, value: Any) -> str:
        cls = type(value)
        known = self.known.get(cls.__name__)
        if known is None and cls.__module__.startswith("harmonium."):
            raise TypeError(f"{cls.__name__} is internal to the library and is not written.")
        if known not in (None, cls):
            raise TypeError(f"the library has a class {cls.__name__} of its own: rename yours.")
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
    """Builds objects from nodes; `used` are the arrays that it has used, each at most once.

    Objects of `old` classes are built by functions in their place.
    """

    def __init__(self, known: dict[str, type], narrow: bool, old: dict[str, Any]):
        self.known, self.old = known, old
        self.narrow = narrow
        self.structures: list[Structure] = []
        self.extent = _Extent()
        self.arrays: Sequence[np.ndarray] = ()
        self.used: set[int] = set()

    def add_structure(self, entry: Any) -> None:
        with self.extent.of_structure():
            value = self.decode(entry, 0)
        if not isinstance(value, Structure):
            raise FileError(f"its structure {len(self.structures)} is none: {_shown(entry)}.")
        self.structures.append(value)

    def decode(self, node: Any, depth: int) -> Any:
        self.extent.add(depth)
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
            case {"structure": int(index), **rest} if not rest:
                return self._look_up(index, depth)
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

    def _look_up(self, index: int, depth: int) -> Any:
        if not 0 <= index < len(self.structures):
            raise FileError(f"it refers to structure {index} of {len(self.structures)}.")
        self.extent.add_structure(index, depth)
        return self.structures[index]

    def _decode_object(self, name: str, fields: dict[str, Any], depth: int) -> Any:
        cls = self.known.get(name)
        if name in self.old:
            return self._decode_old(name, fields, depth)
        if cls is None or issubclass(cls, enum.Enum):
            raise FileError(
                f"it has an object of an unknown class, {_shown(name)}. If it is one of yours, "
                "pass the class: hm.load(path, classes=(...,))."
            )
        names = _field_names(cls)
        parts = self._decode_fields(name, names, fields, depth)
        for own, part in zip(names, parts, strict=True):
            kind = _annotation(cls, own)
            if kind in NUMBERS and type(part) is not kind:
                raise FileError(
                    f"the {own} of {name} is {kind.__name__}; it has {_shown(fields[own])}."
                )
        return _attempt(name, lambda: construct(cls, parts))

    def _decode_fields(
        self, name: str, names: Sequence[str], fields: dict[str, Any], depth: int
    ) -> list[Any]:
        if set(fields) != set(names):
            raise FileError(
                f"the fields of {name} are {', '.join(names)}; it has {_shown(sorted(fields))}."
            )
        return [self.decode(fields[own], depth + 1) for own in names]

    def _decode_old(self, name: str, fields: dict[str, Any], depth: int) -> Any:
        names, build = self.old[name]
        parts = self._decode_fields(name, names, fields, depth)
        return _attempt(name, lambda: build(*parts))

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
