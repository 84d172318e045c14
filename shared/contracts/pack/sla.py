"""SLA targets by priority and tier, and how clocks behave (seed 000 §8)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class SlaTargets(Section):
    """SLA targets by priority and tier, and how clocks behave (seed 000 §8)."""

    SECTION: ClassVar[str] = "sla"
