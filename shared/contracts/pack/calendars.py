"""Business hours: named calendars with zone, intervals and holidays."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class Calendars(Section):
    """Business hours: named calendars with zone, intervals and holidays."""

    SECTION: ClassVar[str] = "calendars"
