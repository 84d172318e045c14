"""Whether and how requesters are asked what they think (seed 000 §10.1)."""

from __future__ import annotations

from typing import ClassVar

from shared.contracts.pack.section import Section


class Satisfaction(Section):
    """Whether and how requesters are asked what they think (seed 000 §10.1)."""

    SECTION: ClassVar[str] = "satisfaction"
