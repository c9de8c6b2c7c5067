"""Outlines of models: their variables as trees, from the latents at the top to what is observed."""

import dataclasses
import functools
import itertools
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp

REPEATS = 4  # so many alike are one entry
SUBSCRIPTS = str.maketrans("0123456789", "₀₁₂₃₄₅₆₇₈₉")


@dataclasses.dataclass(frozen=True, eq=False)
class Variable:
    """A variable of a model, observed or latent, which equals itself only.

    **Fields:** `family`, of its distribution given its parents, and `is_latent`.
    """

    family: Any
    is_latent: bool


class Dependence(NamedTuple):
    """That one variable depends on another directly.

    **Fields:** `parent` and `child`, and a `note` on what of it depends, empty where all does.
    """

    parent: Variable
    child: Variable
    note: str = ""


class Node(NamedTuple):
    """A variable in the outline of a model.

    **Fields:**

    - `name`: `x` if it is observed, `k` for latent categories and `z` for other latents, with
        numbers from the bottom to the top if there are several.
    - `text`: its family.
    - `note`: on how many of its parameters depend on its parents, empty if all do.
    - `is_latent`: whether it is latent.
    - `parents`: the names of all variables that it depends on directly.
    - `children`: the nodes of those that depend on it, and on nothing between.
    """

    name: str
    text: str
    note: str
    is_latent: bool
    parents: tuple[str, ...]
    children: tuple[Any, ...]


@functools.singledispatch
def variables(family: Any, is_latent: bool = False) -> Any:
    """The variables of an observation: one, or as many as there are, in its structure.

    **Arguments:**

    - `family`: a family, a product, or a harmonium.
    - `is_latent`: whether this is the family of something latent.
    """
    return Variable(family, is_latent)


@functools.singledispatch
def dependences(family: Any, tree: Any) -> tuple[Dependence, ...]:
    """Which of the variables, as `variables` returns them, depends on which directly."""
    return ()


@functools.singledispatch
def interactions(model: Any, latents: Any, observables: Any) -> tuple[Dependence, ...]:
    """Which observables of a harmonium depend on which latents directly; by default all on all."""
    return all_pairs(latents, observables)


def all_pairs(latents: Any, observables: Any, note: str = "") -> tuple[Dependence, ...]:
    """All of some variables depend on all of others."""
    parents, children = jax.tree.leaves(latents), jax.tree.leaves(observables)
    return tuple(Dependence(parent, child, note) for child in children for parent in parents)


def differing(n_differing: int, total: int) -> str:
    """A note on how many of the parameters differ between components, if not all of them do."""
    return "" if n_differing == total else f"{n_differing} of {total} parameters differ"


def outline(model: Any) -> tuple[Node, ...]:
    """The variables of a model as trees, one for each variable that depends on no other.

    A variable with several parents stands below the one that is deepest in the tree itself.
    Variables side by side that are alike, as in long records, are one node.

    **Arguments:**

    - `model`: a conjugated harmonium, or a family.
    """
    tree = variables(model)
    found, links = jax.tree.leaves(tree), dependences(model, tree)
    names = _names(found)
    parents = {child: [d.parent for d in links if d.child is child] for child in found}

    def depth(variable: Variable) -> int:
        return 1 + max((depth(parent) for parent in parents[variable]), default=0)

    def node(variable: Variable) -> Node:
        notes = [d.note for d in links if d.child is variable and d.note]
        own = [c for c in found if parents[c] and max(parents[c], key=depth) is variable]
        return Node(
            names[variable],
            str(variable.family),
            "; ".join(notes),
            variable.is_latent,
            tuple(names[parent] for parent in parents[variable]),
            _merge_repeats([node(child) for child in own]),
        )

    return _merge_repeats([node(variable) for variable in found if not parents[variable]])


def describe(model: Any) -> str:
    """The outline of a model as indented text, below the kind of the model and its dimension."""

    def lines(node: Node, indent: str) -> list[str]:
        given = f" given {' and '.join(node.parents)}" if len(node.parents) > 1 else ""
        below = [line for child in node.children for line in lines(child, indent + "  ")]
        note = f", {node.note}" if node.note else ""
        return [f"{indent}{node.name}: {node.text}{given}{note}", *below]

    headline = f"{type(model).__name__}, {model.dim} parameters"
    return "\n".join([headline, *(line for root in outline(model) for line in lines(root, "  "))])


def _names(variables: list[Variable]) -> dict[Variable, str]:
    groups: dict[str, list[Variable]] = {}
    for variable in variables:
        groups.setdefault(_letter(variable), []).append(variable)
    names = {}
    for letter, group in groups.items():
        for i, variable in enumerate(group):
            names[variable] = letter if len(group) == 1 else f"{letter}{subscript(i + 1)}"
    return names


def _letter(variable: Variable) -> str:
    if not variable.is_latent:
        return "x"
    forms = jax.tree.leaves(variable.family.observation)
    return "k" if all(jnp.issubdtype(form.dtype, jnp.integer) for form in forms) else "z"


def subscript(number: int) -> str:
    """A number in small digits below the line."""
    return str(number).translate(SUBSCRIPTS)


def _merge_repeats(nodes: list[Node]) -> tuple[Node, ...]:
    """The nodes, of which each run without children and of one text is one node."""
    merged = []
    for key, group in itertools.groupby(nodes, lambda node: node._replace(name="")):
        run = list(group)
        if key.children or len(run) < REPEATS:
            merged.extend(run)
            continue
        name = f"{run[0].name} … {run[-1].name}"
        merged.append(key._replace(name=name, text=f"{len(run)} times {key.text}"))
    return tuple(merged)
