"""Writes the pages of the API reference from the public names, so that none can be forgotten."""

import functools
import importlib
import inspect
import types

import harmonium as hm
from docs.tools.places import PAGES

# Modules that need extras are loaded when they are asked for, and are not in `__all__`.
LAZY = ("plot",)


def write_reference():
    """Writes a page for each layer of the package, whose names it returns."""
    layers = {}
    for name in public_names():
        layers.setdefault(layer_of(name), []).append(name)
    folder = PAGES / "api"
    folder.mkdir(parents=True, exist_ok=True)
    for layer, names in layers.items():
        (folder / f"{layer}.md").write_text("\n".join(_page(layer, names)) + "\n")
    return list(layers)


def public_names():
    """What users reach as `hm.name`, and the functions of modules that they reach so."""
    names = []
    for name in (*hm.__all__, *LAZY):
        public = getattr(hm, name)
        if isinstance(public, types.ModuleType):
            names += [f"{name}.{inner}" for inner in public.__all__]
        else:
            names.append(name)
    return names


def resolve(name):
    """The object that `hm.name` is."""
    return functools.reduce(getattr, name.split("."), hm)


def identifier_of(name):
    """What a public name is called in the reference.

    Functions of modules have the names of their files there, since some of these are the same.
    """
    item = resolve(name)
    is_like_a_file = name.split(".")[0] in LAZY
    return f"{item.__module__}.{item.__qualname__}" if is_like_a_file else f"harmonium.{name}"


def layer_of(name):
    """The part of the package that defines a public name."""
    return resolve(name).__module__.split(".")[1]


def _page(layer, names):
    """The lines of the page of a layer."""
    package = importlib.import_module(f"harmonium.{layer}")
    links = ", ".join(f"[`{name}`][{identifier_of(name)}]" for name in names)
    yield from [f"# {_title(layer)}", "", inspect.getdoc(package), "", f"{links}.", ""]
    yield from [f"From harmonium {hm.__version__}.", "{ .version }", ""]
    for name in names:
        yield from _entry(identifier_of(name), resolve(name))
    hidden = [base for base in _hidden_bases() if base.__module__.split(".")[1] == layer]
    if hidden:
        yield from ["## Shared by several classes", ""]
        yield from ["These are bases of public classes, which have their methods.", ""]
    for base in hidden:
        yield from _entry(_identifier(base), base)


def _title(layer):
    return {"exponential_family": "Exponential families"}.get(layer, layer.capitalize())


def _entry(identifier, item):
    """One public name, or a base of public classes."""
    yield from [f"::: {identifier}", ""]
    inherited = list(_inherited(item)) if inspect.isclass(item) else []
    if inherited:
        yield from ['??? inherited "Its other methods and properties, and who documents them"', ""]
        yield from [f"    {line}" for line in inherited]


@functools.cache
def _public_classes():
    """The public classes, each with its identifier."""
    named = [(resolve(name), identifier_of(name)) for name in public_names()]
    return {item: identifier for item, identifier in named if inspect.isclass(item)}


@functools.cache
def _hidden_bases():
    """Bases of public classes that are not public, but document public members."""
    hidden = {}
    for item in _public_classes():
        for base in item.__mro__:
            ours = base.__module__.startswith("harmonium.") and base not in _public_classes()
            if ours and _documented(base):
                hidden[base] = None
    return sorted(hidden, key=lambda base: base.__name__)


def _identifier(item):
    return _public_classes().get(item, f"{item.__module__}.{item.__qualname__}")


def _documented(item):
    """The public members whose documentation stands in the class itself."""
    members = (name for name in vars(item) if not name.startswith("_"))
    return [name for name in members if _has_docstring(vars(item)[name])]


def _has_docstring(member):
    function = getattr(member, "__func__", getattr(member, "__wrapped__", member))
    is_code = callable(function) or isinstance(function, property)
    return is_code and bool(getattr(function, "__doc__", None))


def _inherited(item):
    """Lines that say which bases document the other members."""
    seen = set(_documented(item))
    for base in item.__mro__[1:]:
        if base not in _public_classes() and base not in _hidden_bases():
            continue
        names = [name for name in sorted(_documented(base)) if name not in seen]
        seen.update(names)
        if names:
            identifier = _identifier(base)
            links = ", ".join(f"[`{name}`][{identifier}.{name}]" for name in names)
            yield from [f"[`{base.__name__}`][{identifier}]: {links}.", ""]
