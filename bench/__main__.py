"""`make bench`: run the measurements, print the table, write build/bench.json."""

from __future__ import annotations

import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

import uvloop
from rich.console import Console

from bench import bus, path, subscriber, timers, whole
from bench.figures import Figure, show, write
from bench.ground import Ground, ground

Part = Callable[[Ground, Callable[[str], None]], Awaitable[list[Figure]]]
PARTS: dict[str, Part] = {
    "bus": bus.measure,
    "subscriber": subscriber.measure,
    "timers": timers.measure,
    "path": path.measure,
    "whole": whole.measure,
}
REPORT = Path("build/bench.json")


async def main(names: list[str]) -> int:
    """Measure the named parts, or all; 1 when a target is missed."""
    console = Console()
    began = time.monotonic()

    def say(line: str) -> None:
        console.print(f"[dim]{time.monotonic() - began:6.0f} s[/]  {line}")

    figures: list[Figure] = []
    async with ground() as made:
        for name in names or list(PARTS):
            console.rule(name, align="left")
            figures += await PARTS[name](made, say)
    show(figures, console)
    write(figures, REPORT)
    console.print(f"written to {REPORT}")
    return 0 if all(figure.met is not False for figure in figures) else 1


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        sys.exit(f"bench: no part is named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    sys.exit(uvloop.run(main(sys.argv[1:])))
