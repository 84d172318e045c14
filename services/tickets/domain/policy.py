"""A tenant's pack as tickets reads it: the sections it obeys, compiled once per publication."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

from services.tickets.domain.workflow import Machine
from shared.contracts.pack import Assignment, Numbering, Priorities, Priority

SECTIONS = ("workflow", "priorities", "assignment", "numbering")
"""Sections without which no ticket of a tenant can be touched; a missing one is waited for, never defaulted."""


@dataclass(frozen=True, kw_only=True)
class Pack:
    """The sections in force for one tenant."""

    machine: Machine
    priorities: Priorities
    assignment: Assignment
    numbering: Numbering

    @cached_property
    def _levels(self) -> dict[str, Priority]:
        return {level.label.casefold(): level for level in self.priorities.levels}

    def priority(self, label: str | None) -> Priority:
        """The level of that label, or the default where the label is none of ours."""
        return self.level(label) or self._levels[self.priorities.default.casefold()]

    def level(self, label: str | None) -> Priority | None:
        """The level of that label, whatever its case."""
        return self._levels.get(label.strip().casefold()) if label else None

    def number(self, year: int, n: int) -> str:
        """`INC-2026-000123` (seed 000 §3.3)."""
        return f"{self.numbering.prefix}-{year}-{n:0{self.numbering.digits}d}"


@dataclass(frozen=True, slots=True)
class Missing:
    """A section that has not arrived: `<tenant>/<section>`."""

    key: str
