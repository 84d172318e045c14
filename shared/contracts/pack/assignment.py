"""Who gets a ticket (seed 000 §5), and how tickets are numbered (§3.3)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, ClassVar

from pydantic import Field

from shared.contracts.pack.section import Minutes, Name, Section


class Strategy(StrEnum):
    """How the next agent is found (seed 000 §5.1)."""

    LEAST_LOADED = "least_loaded"
    MANUAL = "manual"


class Assignment(Section):
    """Who gets a new ticket (seed 000 §5.2: Tier 1 by load, at most five active)."""

    SECTION: ClassVar[str] = "assignment"

    strategy: Strategy = Strategy.LEAST_LOADED
    default_queue: Name
    default_capacity: Annotated[int, Field(ge=1, le=1000)] = 5
    """For agents who have none of their own."""
    untouched_minutes: Minutes | None = 30
    """Reassigned when nobody touched it this long; None for never."""
    wait_for_triage_seconds: Annotated[float, Field(ge=0, le=3600)] = 2
    """How long a new ticket waits at most for triage to name its queue, before somebody gets it; 0 for not at all."""
    transfer_minutes: Minutes = 60
    """How long an agent has to accept a handover before it lapses (seed 000 §5.3)."""


class Numbering(Section):
    """How tickets are called: `INC-2026-000123` (seed 000 §3.3)."""

    SECTION: ClassVar[str] = "numbering"

    prefix: Annotated[str, Field(pattern=r"^[A-Z]{2,8}$")] = "INC"
    digits: Annotated[int, Field(ge=4, le=12)] = 6
