"""The rules of construction: abstract or final, layers, sizes, and documentation everywhere."""

import ast
import dataclasses
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import equinox as eqx
import pytest

import harmonium as hm
from tests.contracts.classes import (
    CLASSES,
    ROOT,
    abstract_members,
    overrides,
    path,
    public_members,
    public_names,
)
from tests.contracts.hooks import EXTENSION_POINTS, PERFORMANCE_HOOKS

FILES = sorted(ROOT.rglob("*.py"))
LAYERS = ("geometry", "exponential_family", "families", "harmoniums", "files", "learning", "plot")
MAX_MODULE_LINES = 450
MAX_FUNCTION_LINES = 60
MAX_PUBLIC_NAMES = 90
MAX_PUBLIC_MEMBERS = 85
MAX_ABSTRACT_MEMBERS = 8
MAX_DEPTH = 7

# What takes a tenth of the time that importing the library does, each, and few need it.
LATE_IMPORTS = {
    ("exponential_family/duality.py", "_conjugate_gradients"): ["lineax"],
    ("learning/methods.py", "_updated"): ["optax"],
}
OVERRIDABLE = PERFORMANCE_HOOKS | EXTENSION_POINTS
# Without fields and without public methods, so that there is nothing to be abstract about.
BARE_BASES = {"Structure"}
PUBLIC_CLASSES = [cls for cls in CLASSES if not cls.__name__.startswith("_")]


def _name(value: Any) -> str:
    return value.__name__ if isinstance(value, type) else str(value.relative_to(ROOT))


def _is_abstract(cls: Any) -> bool:
    return bool(abstract_members(cls))


def _tree(file: Path) -> ast.Module:
    return ast.parse(file.read_text())


def _functions(file: Path) -> list[ast.FunctionDef]:
    return [node for node in ast.walk(_tree(file)) if isinstance(node, ast.FunctionDef)]


def test_there_is_something_to_check():
    assert len(CLASSES) > 40
    assert len(FILES) > 20


@pytest.mark.parametrize("cls", CLASSES, ids=_name)
def test_classes_are_abstract_or_final(cls):
    children = [child for child in CLASSES if cls in child.__bases__]
    if children and cls.__name__ not in BARE_BASES:
        assert _is_abstract(cls), f"{cls.__name__} is subclassed by {children}, but not abstract"
    if not children:
        assert not _is_abstract(cls), f"{cls.__name__} is abstract, but has no subclass"


@pytest.mark.parametrize("cls", CLASSES, ids=_name)
def test_fields_are_in_final_classes(cls):
    if _is_abstract(cls) or cls.__name__ in BARE_BASES:
        assert dataclasses.fields(cls) == ()


@pytest.mark.parametrize("cls", CLASSES, ids=_name)
def test_concrete_methods_are_not_overridden(cls):
    assert set(overrides(cls)) - set(OVERRIDABLE) == set()


def test_every_hook_is_one():
    overridden = {override for cls in CLASSES for override in overrides(cls)}
    assert set(OVERRIDABLE) - overridden == set()


@pytest.mark.parametrize("test", sorted({test for _, test in PERFORMANCE_HOOKS.values()}))
def test_performance_hooks_are_held_against_their_defaults(test):
    text = (Path(__file__).parent.parent / "laws" / test).read_text()
    for (_, name), (_, own) in PERFORMANCE_HOOKS.items():
        assert own != test or name in text, f"laws/{test} does not mention {name}"


@pytest.mark.parametrize(("owner", "name"), OVERRIDABLE)
def test_hooks_say_that_they_are_hooks(owner, name):
    if name.startswith("__"):
        return
    (cls,) = (cls for cls in CLASSES if cls.__name__ == owner)
    declared = [vars(base)[name] for base in cls.__mro__ if name in vars(base)]
    assert any("hook" in (inspect.getdoc(function) or "") for function in declared)


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_modules_are_short(file):
    assert len(file.read_text().splitlines()) <= MAX_MODULE_LINES


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_functions_are_short(file):
    for function in _functions(file):
        documented = ast.get_docstring(function) is not None
        body = function.body[1:] if documented else function.body
        if body:
            assert function.end_lineno - body[0].lineno < MAX_FUNCTION_LINES, function.name


def test_there_are_few_public_names():
    assert len(hm.__all__) <= MAX_PUBLIC_NAMES


def test_models_are_told_little_and_say_little():
    assert len(abstract_members(hm.Conjugated)) <= MAX_ABSTRACT_MEMBERS
    assert len(public_members(hm.Conjugated)) <= MAX_PUBLIC_MEMBERS


@pytest.mark.parametrize("cls", CLASSES, ids=_name)
def test_bases_are_not_piled_up(cls):
    assert len(path(cls)) <= MAX_DEPTH, [base.__name__ for base in path(cls)]


def _imports(tree: ast.AST) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            assert node.level == 0, "imports are absolute"
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)


@pytest.mark.parametrize("file", [f for f in FILES if f.parent != ROOT], ids=_name)
def test_imports_go_down_the_layers(file):
    own = LAYERS.index(file.relative_to(ROOT).parts[0])
    for name in _imports(_tree(file)):
        package, *rest = name.split(".")
        if package == "harmonium":
            assert rest[0] in LAYERS, f"{name}: import from the module that defines it"
            assert LAYERS.index(rest[0]) <= own, f"{name} is in a higher layer"


def test_the_package_itself_holds_no_logic():
    tree = _tree(ROOT / "__init__.py")
    allowed = (ast.Expr, ast.ImportFrom, ast.With, ast.Assign)
    assert all(isinstance(node, allowed) for node in tree.body)
    assert not [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.ClassDef)]


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_imports_in_functions(file):
    for function in _functions(file):
        inner = [n for n in ast.walk(function) if isinstance(n, ast.Import | ast.ImportFrom)]
        names = [alias.name for node in inner for alias in node.names]
        assert names == LATE_IMPORTS.get((_name(file), function.name), []), function.name


def test_what_is_imported_late_is_not_imported_at_first():
    late = {name for names in LATE_IMPORTS.values() for name in names}
    check = f"import sys, harmonium; assert not {late!r} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", check], check=True)


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_annotations_are_not_postponed(file):
    """Postponed annotations would disable the abstract variables of modules."""
    assert "__future__.annotations" not in list(_imports(_tree(file)))


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_no_interface_by_not_implemented_error(file):
    names = {node.id for node in ast.walk(_tree(file)) if isinstance(node, ast.Name)}
    assert "NotImplementedError" not in names


@pytest.mark.parametrize("file", FILES, ids=_name)
def test_modules_have_docstrings(file):
    module = _tree(file)
    empty = file.name == "__init__.py" and file.parent != ROOT and not module.body
    assert empty or ast.get_docstring(module)


def test_public_names_are_sorted_and_unique():
    assert len(set(hm.__all__)) == len(hm.__all__)

    # Constants, classes, functions: the order of ruff.
    def place(name):
        return 0 if name.isupper() else 1 if name[0].isupper() else 2, name

    assert list(hm.__all__) == sorted(hm.__all__, key=place)
    modules = [own for own in map(hm.__dict__.get, hm.__all__) if inspect.ismodule(own)]
    assert len(public_names()) == len(hm.__all__) + sum(len(own.__all__) - 1 for own in modules)


def test_public_names_are_all_that_the_package_imports():
    imported = {
        alias.asname or alias.name
        for node in ast.walk(_tree(ROOT / "__init__.py"))
        if isinstance(node, ast.ImportFrom) and node.module.startswith("harmonium")
        for alias in node.names
    }
    # By which calls are checked, and pictures are found.
    assert imported == {*hm.__all__, "checked", "__dir__", "__getattr__"}


@pytest.mark.parametrize("name", public_names())
def test_public_names_have_docstrings(name):
    value = public_names()[name]
    assert inspect.getdoc(value)
    if inspect.isclass(value):
        assert value.__doc__, "a class has a docstring of its own"


@pytest.mark.parametrize("cls", PUBLIC_CLASSES, ids=_name)
def test_classes_have_docstrings_of_their_own(cls):
    generated = cls.__doc__ is not None and cls.__doc__.startswith(f"{cls.__name__}(")
    assert cls.__doc__ and not generated


@pytest.mark.parametrize("cls", PUBLIC_CLASSES, ids=_name)
def test_public_methods_have_docstrings(cls):
    members = {
        name: member
        for base in cls.__mro__
        if base in CLASSES
        for name, member in vars(base).items()
        if not name.startswith("_") and (callable(member) or isinstance(member, property))
    }
    missing = [name for name in members if not inspect.getdoc(getattr(cls, name))]
    assert missing == []


@pytest.mark.parametrize("cls", PUBLIC_CLASSES, ids=_name)
def test_fields_are_documented(cls):
    parameters = set() if _is_abstract(cls) else set(inspect.signature(cls).parameters)
    undocumented = {name for name in parameters if f"`{name}`" not in _with_stars(cls.__doc__)}
    assert undocumented == set()


def _with_stars(doc: str) -> str:
    return doc.replace("`*", "`")


def test_modules_of_the_library_subclass_nothing_but_modules():
    for cls in PUBLIC_CLASSES:
        assert all(base in CLASSES or base is eqx.Module for base in cls.__bases__)
