"""The classes of the library, and what can be counted of them."""

import functools
import importlib
import inspect
import pkgutil
import types
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx

import harmonium as hm

ROOT = Path(hm.__file__).parent
PROPERTIES = property | functools.cached_property
# Other names with two underscores are written by Python and Equinox.
WRITTEN_BY_HAND = ("__str__", "__repr__", "__eq__", "__hash__")


def _import_everything() -> None:
    for module in pkgutil.walk_packages([str(ROOT)], "harmonium."):
        importlib.import_module(module.name)


def _subclasses(base: type) -> Iterator[type]:
    for subclass in base.__subclasses__():
        yield subclass
        yield from _subclasses(subclass)


_import_everything()
CLASSES = sorted(
    {cls for cls in _subclasses(eqx.Module) if cls.__module__.startswith("harmonium.")},
    key=lambda cls: cls.__qualname__,
)


def members(cls: type) -> dict[str, Any]:
    """The methods and properties in the body of a class, not those that it inherits."""
    return {
        name: member
        for name, member in vars(cls).items()
        if (not name.startswith("__") or name in WRITTEN_BY_HAND)
        and (callable(member) or isinstance(member, PROPERTIES))
    }


def overrides(cls: type) -> Iterator[tuple[str, str]]:
    """The concrete members of base classes that the class overrides, with their owners."""
    for name in members(cls):
        for base in cls.__mro__[1:]:
            if base in CLASSES and name in vars(base):
                if _is_overridable(vars(base)[name]):
                    yield base.__name__, name
                break


def _is_overridable(attribute: Any) -> bool:
    """Whether a member of a class is concrete: not abstract, and not data."""
    abstract = getattr(attribute, "__isabstractmethod__", False)
    return not abstract and (callable(attribute) or isinstance(attribute, PROPERTIES))


def abstract_members(cls: Any) -> set[str]:
    """What a subclass has to supply: methods, properties and fields."""
    return {*cls.__abstractmethods__, *cls.__abstractvars__, *cls.__abstractclassvars__}


def public_members(cls: type) -> set[str]:
    """The public methods, properties and fields, inherited ones included, of the library's own."""
    ours = [base for base in cls.__mro__ if base in CLASSES]
    found = {name for base in ours for name in (*vars(base), *inspect.get_annotations(base))}
    return {name for name in found if not name.startswith("_")}


def path(cls: type) -> tuple[type, ...]:
    """The longest chain of classes of the library, each of which is a base of the one before."""
    above = (path(base) for base in cls.__bases__ if base in CLASSES)
    return (cls, *max(above, key=len, default=()))


def public_names() -> dict[str, Any]:
    """Everything public, by its name without that of the module that it is in."""
    names: dict[str, Any] = {}
    for name in hm.__all__:
        value = getattr(hm, name)
        if isinstance(value, types.ModuleType):
            names |= {inner: getattr(value, inner) for inner in value.__all__}
        else:
            names[name] = value
    return names
