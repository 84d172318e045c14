"""Whether and how requesters are asked what they think (seed 000 §10.1)."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from shared.contracts.pack.section import Section


class Satisfaction(Section):
    """Whether and how requesters are asked what they think (seed 000 §10.1: all solved tickets, automated survey)."""

    SECTION: ClassVar[str] = "satisfaction"

    enabled: bool = True
    """Ask at all, in the mail that tells of the solution; without it links answer that the survey is over."""
    expires_days: Annotated[float, Field(gt=0, le=3650)] = 30
    """Elapsed days after solving in which an answer counts."""
    change_minutes: Annotated[float, Field(ge=0, le=43_200)] = 60
    """Elapsed minutes in which a person may change a given answer; after that the first answers stand."""
