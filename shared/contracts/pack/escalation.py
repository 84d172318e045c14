"""Escalation paths by priority and trigger levels (seed 000 §7)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class EscalationPaths(Section):
    """Escalation paths by priority and trigger levels (seed 000 §7)."""

    SECTION: ClassVar[str] = "escalation"
