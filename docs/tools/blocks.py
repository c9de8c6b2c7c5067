"""Finds the blocks of code in Markdown."""

import re
import textwrap
from typing import NamedTuple

FENCE = re.compile(r"^( *)(`{3,}|~{3,}) *(.*?) *$")


class Block(NamedTuple):
    """A block of Python: its code, and where it is in the page.

    `first` and `last` are the indices of the lines with its fences. A folded one is executed as
    others are, but readers have to open it to see it.
    """

    source: str
    first: int
    last: int
    indent: str
    folded: bool


def find_blocks(text: str) -> list[Block]:
    """The blocks of a page whose info string is `python` or `python fold`, in order.

    **Raises:** `ValueError` for a fence that is not closed, or for another word after `python`.
    """
    lines = text.splitlines()
    blocks = []
    opening = None
    for number, line in enumerate(lines):
        fence = FENCE.match(line)
        if fence is None:
            continue
        indent, ticks, info = fence.groups()
        if opening is None:
            opening = number, indent, ticks, info
        elif not info and ticks[0] == opening[2][0] and len(ticks) >= len(opening[2]):
            first, indent, _, info = opening
            opening = None
            if info.split(" ")[0] != "python":
                continue
            if info not in ("python", "python fold"):
                raise ValueError(f"line {first + 1}: expected python or python fold, got {info!r}.")
            source = textwrap.dedent("\n".join(lines[first + 1 : number])) + "\n"
            blocks.append(Block(source, first, number, indent, info == "python fold"))
    if opening is not None:
        raise ValueError(f"line {opening[0] + 1}: this block of code is not closed.")
    return blocks
