"""Collects the messages of all errors from the sources, so that their list is complete."""

import ast

from docs.tools.places import ROOT

SOURCES = ROOT / "src" / "harmonium"
# Checks of values which may be known to compiled code only raise what Equinox raises there.
CHECKED_VALUES = "ValueError"


def write_messages():
    """A table of messages for each part of the package, as lines of Markdown."""
    by_layer = {}
    for file in sorted(SOURCES.rglob("*.py")):
        for message in _messages(ast.parse(file.read_text())):
            layer = file.relative_to(SOURCES).parts[0]
            by_layer.setdefault(layer, {})[message] = file.stem
    for layer, messages in by_layer.items():
        yield from [f"### {layer.removesuffix('.py').replace('_', ' ').capitalize()}", ""]
        yield from ["| error | message | raised in |", "| --- | --- | --- |"]
        for (kind, text), module in messages.items():
            yield f"| `{kind}` | {text} | `{module}` |"
        yield ""


def _messages(tree):
    """The kind and the text of each error that a module raises."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call) and node.exc.args:
            kind, message = ast.unparse(node.exc.func), node.exc.args[0]
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "require":
            kind, message = CHECKED_VALUES, node.args[2]
        else:
            continue
        text = _text(message)
        if any(letter.isalpha() for letter in text.replace("…", "")):
            yield kind, text


def _text(message):
    """A message with dots in the place of what is filled in."""
    if isinstance(message, ast.Constant):
        text = str(message.value)
    elif isinstance(message, ast.JoinedStr):
        text = "".join(
            "…" if isinstance(p, ast.FormattedValue) else p.value for p in message.values
        )
    else:
        text = "…"
    escaped = text.replace("|", "\\|").replace("*", "\\*").replace("_", "\\_")
    return escaped.replace("<", "&lt;").replace("[", "\\[").replace("\n", " ").strip()
