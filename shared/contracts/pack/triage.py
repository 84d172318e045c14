"""What triage decides from: impact, urgency, matrix, rules, queues, estimates (seed 000 §3-4, seed 001 §6.3)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class TriageRules(Section):
    """What triage decides from: impact, urgency, matrix, rules, queues, estimates (seed 000 §3-4, seed 001 §6.3)."""

    SECTION: ClassVar[str] = "triage"
