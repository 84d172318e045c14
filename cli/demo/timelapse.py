"""A desk whose clocks run in seconds: the default pack with some sections of another."""

from __future__ import annotations

import re

_SECTION = re.compile(r"^([a-z_]+):", re.MULTILINE)


def merged(pack: str, other: str) -> str:
    """`pack` with every section that `other` has too in the words of `other`; texts of YAML files.

    Works on lines that begin with a section's name, so that the comments of both stay.
    """
    replaced = _blocks(other)
    return "".join(replaced.get(name, block) for name, block in _blocks(pack).items())


def _blocks(text: str) -> dict[str, str]:
    """Each section with the lines before the next; what stands before the first goes with it."""
    starts = [(match.group(1), match.start()) for match in _SECTION.finditer(text)]
    ends = [start for _, start in starts[1:]] + [len(text)]
    begins = [0, *(start for _, start in starts[1:])]
    return {name: text[begin:end] for (name, _), begin, end in zip(starts, begins, ends, strict=True)}
