"""Tables of what a class has to supply and of what it may override, from the classes themselves."""

import inspect
import re

import harmonium as hm
from docs.tools.places import DOCS
from tests.contracts.classes import CLASSES, abstract_members
from tests.contracts.hooks import EXTENSION_POINTS, PERFORMANCE_HOOKS

SHOWN = (hm.Conjugated, hm.Harmonium, hm.VectorFamily, hm.Differentiable)


def write_supplies():
    """A table of abstract members for each of the classes that are subclassed most."""
    for cls in SHOWN:
        yield from [f"### A subclass of `{cls.__name__}`", ""]
        yield from ["| name | declared in | |", "| --- | --- | --- |"]
        for name, owner in sorted(_owners(cls).items(), key=lambda item: _place(*item)):
            yield f"| `{name}` | {_link(owner)} | {_meaning(owner, name)} |"
        yield ""


def write_extension_points():
    """A table of the members that subclasses may override as the default may not be true."""
    yield from ["| name | declared in | why |", "| --- | --- | --- |"]
    for (owner, name), reason in EXTENSION_POINTS.items():
        yield f"| `{name}` | {_link(_class(owner))} | {reason} |"


def write_performance_hooks():
    """A table of the members that subclasses may override by something faster or more exact."""
    yield from ["| name | declared in | why |", "| --- | --- | --- |"]
    for (owner, name), (reason, _) in PERFORMANCE_HOOKS.items():
        yield f"| `{name}` | {_link(_class(owner))} | {reason} |"


# What stands for the tables in pages.
TABLES = {
    "<!-- the abstract members -->": write_supplies,
    "<!-- the extension points -->": write_extension_points,
    "<!-- the performance hooks -->": write_performance_hooks,
}


def _owners(cls):
    """The abstract members of a class, each with the class that declares it."""
    return {name: _owner(cls, name) for name in abstract_members(cls)}


def _owner(cls, name):
    declared = (name in vars(base) or name in inspect.get_annotations(base) for base in cls.__mro__)
    return next(base for base, found in zip(cls.__mro__, declared, strict=True) if found)


def _place(name, owner):
    """Fields first, then methods in the order of the layers and of the sources."""
    is_method = name in vars(owner)
    order = list(vars(owner)) if is_method else list(inspect.get_annotations(owner))
    return is_method, -len(owner.__mro__), order.index(name)


def _class(name):
    (cls,) = (cls for cls in CLASSES if cls.__name__ == name)
    return cls


def _link(cls):
    name = cls.__name__
    return f"[`{name}`][harmonium.{name}]" if name in hm.__all__ else f"`{name}`"


def _meaning(owner, name):
    """The first line of a docstring; of fields, which have none, what the glossary says."""
    if name in vars(owner):
        text = inspect.getdoc(vars(owner)[name]).splitlines()[0]
    else:
        glossary = (DOCS / "glossary.md").read_text()
        text = re.search(rf"^\| `{name}` \|.*\| (.*) \|$", glossary, re.MULTILINE)[1]
        text = f"{text[0].upper()}{text[1:]}."
    return text.replace("|", r"\mid ")
