"""`make bench`: run the measurements, print the table, write build/bench.json."""

from __future__ import annotations

import sys
import time
from pathlib import Path

import uvloop
from rich.console import Console

from bench import bus, timers
from bench.figures import Figure, show, write
from bench.ground import Ground, ground

PARTS = {"bus": bus.measure, "timers": timers.measure}
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
            figures += await _part(name, made, say)
    show(figures, console)
    write(figures, REPORT)
    console.print(f"written to {REPORT}")
    return 0 if all(figure.met is not False for figure in figures) else 1


async def _part(name: str, made: Ground, say: object) -> list[Figure]:
    return await PARTS[name](made, say)  # type: ignore[operator]


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(PARTS)
    if unknown:
        sys.exit(f"bench: no part is named {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    sys.exit(uvloop.run(main(sys.argv[1:])))
