"""Killed at every named point: after a restart every accepted event has its effect once, in order.

The runs of this file go on side by side, since most of each is waiting for a session to expire.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from shared import crash
from tests.integration.faults.conftest import SEED
from tests.support.databases import ROOT, ScratchDatabases
from tests.support.faults.lab import Lab
from tests.support.faults.records import Sent, asked, rule, traffic

pytestmark = pytest.mark.engines

PARTS = "bus,relay,timers,tasks,replica"
WAVES = 40


@dataclass(frozen=True)
class Kill:
    """One process killed at one point, the n-th time it passes it."""

    point: str
    passage: int
    seed: int

    @property
    def name(self) -> str:
        """Which point, which passage."""
        return f"{self.point}-{self.passage}-{self.seed}"

    async def play(self, lab: Lab, databases: ScratchDatabases) -> None:
        """Send until the process dies, start another, hold everything against the journal."""
        del databases
        worker = await lab.start(parts=PARTS, crash_at=f"{self.point}:{self.passage}")
        for wave in range(WAVES):
            await lab.send(_wave(lab.random, wave))
            try:
                await asyncio.wait_for(worker.process.wait(), 1.0)
            except TimeoutError:
                continue
            break
        assert worker.hit == [self.point], f"{self.point} was not reached in {WAVES} waves\n{lab.logs()}"
        assert worker.process.returncode == -9
        await lab.send(_wave(lab.random, WAVES))
        await lab.start(parts=PARTS)
        await lab.verify()


def planned(point: str, seed: int) -> Kill:
    """The passage is drawn from the seed, so that different seeds kill at different moments."""
    return Kill(point, random.Random(f"{seed} {point}").randint(1, 4), seed)


SHORT = [planned(point, SEED) for point in crash.POINTS]
FULL = [planned(point, SEED + n) for n in range(1, 31) for point in crash.POINTS]


def _wave(randomness: random.Random, wave: int) -> list[Sent]:
    """A little of everything, so that every mechanism has work at any moment."""
    first = wave * 10
    return [
        *traffic(randomness, 12, 3, duplicates=0.1, first=first),
        *(asked(f"waits{wave}-{n}", first, kind="child", about=f"p{wave}") for n in range(3)),
        *(asked(f"waits{wave}-{n}", first + 1) for n in range(3)),
        asked(f"parent{wave}", 0, kind="parent", about=f"p{wave}"),
        *(asked(f"bell{wave}", n, kind="timer", pause=randomness.random() / 2) for n in range(4)),
        *(asked(f"work{wave}", n, kind="task", pause=randomness.random() / 20) for n in range(4)),
        *(rule(f"r{randomness.randint(0, 3)}", first + n) for n in range(4)),
    ]


@pytest.mark.parametrize("case", SHORT, ids=lambda case: case.point)
async def test_killed_at_any_point_nothing_is_lost_or_done_twice(
    case: Kill, side_by_side: Mapping[str, asyncio.Task[None]]
) -> None:
    await side_by_side[case.name]


@pytest.mark.soak
@pytest.mark.parametrize("case", FULL, ids=lambda case: case.name)
async def test_killed_thirty_times_at_each_point_nothing_is_lost_or_done_twice(
    case: Kill, side_by_side: Mapping[str, asyncio.Task[None]]
) -> None:
    await side_by_side[case.name]


def test_the_points_listed_are_the_points_in_the_source() -> None:
    found: Counter[str] = Counter()
    for path in (Path(ROOT) / "shared").rglob("*.py"):
        found.update(re.findall(r'crash\.point\("([^"]+)"\)', path.read_text()))
    assert set(found) == set(crash.POINTS)


def test_an_unknown_point_is_refused() -> None:
    with pytest.raises(crash.UnknownCrashPointError, match=re.escape("bus.nowhere")):
        crash.arm("bus.nowhere:2")
