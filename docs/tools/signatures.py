"""An extension of Griffe, which reads sources for the reference: how modules are made.

The initialisers of Equinox modules follow from their fields and don't stand in the sources.
"""

import inspect

import griffe

import harmonium as hm

CLASSES = {
    item.__module__ + "." + item.__qualname__: item
    for item in (getattr(hm, name) for name in hm.__all__)
    if inspect.isclass(item) and not inspect.isabstract(item)
}


class Signatures(griffe.Extension):
    """Adds an initialiser, without documentation of its own, to classes that have none."""

    def on_class(self, *, cls, **kwargs):
        item = CLASSES.get(cls.path)
        if item is None or "__init__" in cls.members:
            return
        try:
            signature = inspect.signature(item)
        except ValueError:  # builtin types, such as enumerations
            return
        parameters = griffe.Parameters(*(_parameter(p) for p in signature.parameters.values()))
        cls.set_member("__init__", griffe.Function("__init__", parameters=parameters))


def _parameter(parameter):
    default = None if parameter.default is parameter.empty else repr(parameter.default)
    kind = griffe.ParameterKind[parameter.kind.name.lower()]
    return griffe.Parameter(parameter.name, kind=kind, default=default)
