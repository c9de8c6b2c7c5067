"""How large the library is and how it is built, in numbers: `python -m benchmarks.sizes`.

What is counted:

- lines of `src`: all of them, and those of code: without blank ones, comments and docstrings.
- classes in a path: the longest chain from a class to `equinox.Module`, each class a base of the
  one before; `Structure` and `Manifold`, of which every manifold is, are two of them.
- public members of `hm.Conjugated`: methods, properties and fields without a leading underscore
  that are declared in it or in its bases, but for those of Equinox and Python.
- abstract members: what a conjugated model has to supply: methods, properties and fields.
- overrides: methods and properties in the bodies of classes that override one that is concrete in
  the nearest base that has it, of all methods and properties. Of names with two underscores
  `__str__`, `__repr__`, `__eq__` and `__hash__` count only. Only the hooks that
  `tests/contracts/hooks.py` lists may be overridden, and are told apart here.
- public names: the length of `hm.__all__`.
"""

import ast
import io
import tokenize
from pathlib import Path
from typing import Any

import harmonium as hm
from tests.contracts.classes import (
    CLASSES,
    ROOT,
    abstract_members,
    members,
    overrides,
    path,
    public_members,
)
from tests.contracts.hooks import EXTENSION_POINTS, PERFORMANCE_HOOKS

NO_CODE = {
    tokenize.COMMENT,
    tokenize.NL,
    tokenize.NEWLINE,
    tokenize.INDENT,
    tokenize.DEDENT,
    tokenize.ENDMARKER,
}
DOCUMENTED = ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef


def code_lines(source: str) -> int:
    """The number of lines with code, of which docstrings are none."""
    lines: set[int] = set()
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type not in NO_CODE:
            lines.update(range(token.start[0], token.end[0] + 1))
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, DOCUMENTED) and ast.get_docstring(node) is not None:
            docstring = node.body[0]
            lines.difference_update(range(docstring.lineno, docstring.end_lineno + 1))
    return len(lines)


def sizes(files: list[Path]) -> dict[str, str]:
    """What is counted, and how much of it there is."""
    sources = [file.read_text() for file in files]
    longest = max((path(cls) for cls in CLASSES), key=len)
    overridden = [override for cls in CLASSES for override in overrides(cls)]
    n_members = sum(len(members(cls)) for cls in CLASSES)

    def share(hooks: Any) -> str:
        count = sum(override in hooks for override in overridden)
        return f"{count} of {n_members} ({count / n_members:.1%})"

    names = ", ".join(cls.__name__ for cls in longest)
    return {
        "files in src": f"{len(files)}",
        "lines in src": f"{sum(len(source.splitlines()) for source in sources)}",
        "lines of code in src": f"{sum(map(code_lines, sources))}",
        "classes": f"{len(CLASSES)}",
        "classes in the longest path": f"{len(longest)} ({names})",
        "public members of hm.Conjugated": f"{len(public_members(hm.Conjugated))}",
        "abstract members of hm.Conjugated": f"{len(abstract_members(hm.Conjugated))}",
        "overrides of concrete members": share(overridden),
        "- of performance hooks": share(PERFORMANCE_HOOKS),
        "- of extension points": share(EXTENSION_POINTS),
        "public names": f"{len(hm.__all__)}",
    }


def main():
    """Prints all sizes."""
    table = sizes(sorted(ROOT.rglob("*.py")))
    width = max(map(len, table))
    for name, size in table.items():
        print(f"{name:<{width}}  {size}")


if __name__ == "__main__":
    main()
