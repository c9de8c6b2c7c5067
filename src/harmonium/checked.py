"""Types, shapes and kinds of coordinates, checked where users call.

Every public function, method and constructor of the library is checked against its annotations by
jaxtyping and beartype, from its first call on: decorating some thousand functions takes longer than
importing JAX, and a program calls a tenth of them. Properties are not checked, nor what starts
with an underscore.
"""

import functools
import inspect
import sys
from collections.abc import Callable
from types import FunctionType, ModuleType
from typing import Any, get_args, get_origin

import jax
import jaxtyping
import numpy as np
from beartype import beartype
from jaxtyping import AbstractArray, PRNGKeyArray

from harmonium.exponential_family.compiled import compiled
from harmonium.geometry.manifold import Manifold
from harmonium.geometry.point import Mean, Natural, Point


def check_calls(package: str) -> None:
    """Checks calls of what a package defines as far as it is imported; none if checks are disabled.

    Packages, which gather what others define, get the checked functions too.
    """
    if jaxtyping.config.jaxtyping_disable:
        return
    modules = [
        module
        for name, module in list(sys.modules.items())
        if name == package or name.startswith(package + ".")
    ]
    checked: dict[Any, Callable] = {}
    for module in modules:
        for name, value in _own(module):
            if inspect.isclass(value):
                _check_methods(value)
            elif isinstance(value, FunctionType):
                checked[value] = when_called(value)
                setattr(module, name, checked[value])
    for module in modules:
        if hasattr(module, "__path__"):
            for name, value in list(vars(module).items()):
                if isinstance(value, FunctionType) and value in checked:
                    setattr(module, name, checked[value])


def when_called(function: Callable) -> Callable:
    """The function with its checks, which are made when it is called for the first time.

    Integers and truth values of NumPy will do where those of Python are asked for, a whole number
    where a random key is, and one length where a shape is.
    """
    checked: list[Callable] = []
    others: dict[int | str, Callable] = {}

    @functools.wraps(function)
    def call(*args: Any, **kwargs: Any) -> Any:
        __tracebackhide__ = True
        if not checked:
            for place, (name, own) in enumerate(inspect.signature(function).parameters.items()):
                if own.annotation in ACCEPTED:
                    others[place] = others[name] = ACCEPTED[own.annotation]
            checked.append(jaxtyping.jaxtyped(function, typechecker=beartype))
        args = tuple(others.get(place, _plain)(value) for place, value in enumerate(args))
        kwargs = {name: others.get(name, _plain)(value) for name, value in kwargs.items()}
        return checked[0](*args, **kwargs)

    return call


def _plain(value: Any) -> Any:
    """Integers and truth values of NumPy, which tables yield, as those of Python."""
    if isinstance(value, np.integer | np.bool_):
        return value.item()
    if isinstance(value, np.ndarray) and value.ndim == 0 and value.dtype.kind in "biu":
        return value.item()
    return value


def _as_key(value: Any) -> Any:
    value = _plain(value)
    return jax.random.key(value) if type(value) is int else value


def _as_shape(value: Any) -> Any:
    value = _plain(value)
    if type(value) in (tuple, list):
        return tuple(map(_plain, value))
    return (value,) if type(value) is int else value


# What else is taken for arguments with these annotations.
ACCEPTED = {
    PRNGKeyArray: _as_key,
    PRNGKeyArray | None: _as_key,
    tuple[int, ...]: _as_shape,
}


def _own(module: ModuleType) -> list[tuple[str, Any]]:
    """The public names of a module that it defines itself."""
    return [
        (name, value)
        for name, value in vars(module).items()
        if not name.startswith("_") and getattr(value, "__module__", None) == module.__name__
    ]


def _check_methods(cls: type) -> None:
    for name, value in list(vars(cls).items()):
        inner = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        public = name == "__init__" or not name.startswith("_")
        if not isinstance(inner, FunctionType) or not public:
            continue
        if not getattr(inner, "__isabstractmethod__", False):
            if issubclass(cls, Manifold) and _returns_numbers(inner):
                inner = compiled(inner)
            wrapped = when_called(inner)
            setattr(cls, name, wrapped if isinstance(value, FunctionType) else type(value)(wrapped))


def _returns_numbers(function: FunctionType) -> bool:
    """Whether a method computes points, arrays or random observations of one set of arguments."""
    signature = inspect.signature(function)
    kinds = {own.annotation for own in signature.parameters.values()}
    # Methods of batches call functions that pad them; those of functions apply them part by part.
    varies = any(own.kind == own.VAR_POSITIONAL for own in signature.parameters.values())
    if "xs" in signature.parameters or varies:
        return False
    return PRNGKeyArray in kinds or _is_numeric(signature.return_annotation)


def _is_numeric(annotation: Any) -> bool:
    if get_origin(annotation) is tuple:
        return all(map(_is_numeric, get_args(annotation)))
    points = annotation in (Natural, Mean, Point)
    return points or (inspect.isclass(annotation) and issubclass(annotation, AbstractArray))
