"""Packs for scenarios: the default one with a section in other words."""

from __future__ import annotations

from typing import TYPE_CHECKING

from cli.demo.timelapse import merged
from cli.seed import DEFAULT_PACK

if TYPE_CHECKING:
    from pathlib import Path

    from tests.support.desk import Desk

ANSWER_WITHIN, SOLVE_WITHIN = 15, 240
"""Minutes, at any hour: the first warning comes after twelve."""
AROUND_THE_CLOCK = f"""
sla:
  calendar: around_the_clock
  warning_share: 0.2
  targets:
    - {{first_response: {ANSWER_WITHIN}, resolution: {SOLVE_WITHIN}}}

"""
UNHURRIED = AROUND_THE_CLOCK.replace(f"first_response: {ANSWER_WITHIN}", "first_response: 6000").replace(
    f"resolution: {SOLVE_WITHIN}", "resolution: 9000"
)
"""Clocks that say nothing for days: what happens is the escalation's own walk."""

PATIENT = """
assignment:
  strategy: least_loaded
  default_queue: tier1
  default_capacity: 5
  untouched_minutes: 30
  wait_for_triage_seconds: 600

"""
"""However slow the machine is, triage has named the queue before somebody gets the ticket."""


async def apply(desk: Desk, folder: Path, sections: str = AROUND_THE_CLOCK) -> None:
    """Put the default pack with these sections in force, as an operator does, and wait until everybody knows it."""
    pack = folder / "pack.yaml"
    pack.write_text(merged(DEFAULT_PACK.read_text(encoding="utf-8"), sections), encoding="utf-8")
    await desk.cli("apply", str(pack), "--tenant", desk.tenant)
    await desk.quiet()
