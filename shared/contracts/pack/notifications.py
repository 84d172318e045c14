"""Who is told what, and in which words: templates as data (seed 000 §6.3)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class Notifications(Section):
    """Who is told what, and in which words: templates as data (seed 000 §6.3)."""

    SECTION: ClassVar[str] = "notifications"
