"""SLA targets by priority and tier, and how clocks behave (seed 000 §8)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import Field, StringConstraints, model_validator

from shared.contracts.pack.section import Label, Minutes, Name, Part, Section

Tier = Annotated[str, StringConstraints(min_length=1, max_length=80)]
"""A support tier as directory calls it: `enterprise`."""


class Target(Part):
    """Targets for tickets of a tier and a priority; what is left out is any."""

    tier: Tier | None = None
    priority: Label | None = None
    first_response: Minutes | None = None
    """Business minutes until a person answers in public; None leaves it to a later line."""
    resolution: Minutes | None = None
    """Business minutes until the ticket is solved; None leaves it to a later line."""
    calendar: Name | None = None
    """Which minutes count; None: the section's `calendar`."""

    @model_validator(mode="after")
    def _says_something(self) -> Self:
        if self.first_response is None and self.resolution is None:
            raise ValueError("a line of targets has first_response, resolution, or both")
        return self


class SlaTargets(Section):
    """Targets and warnings (seed 000 §8.1).

    For each clock the first line counts that fits the ticket's tier and priority and has a number for that clock. A
    ticket that no line fits has no such clock.
    """

    SECTION: ClassVar[str] = "sla"

    calendar: Name
    """Of lines that name none."""
    warning_share: Annotated[float, Field(gt=0.0, lt=1.0)] = 0.2
    """A warning is given when this share of the target is left (seed 002: near breach below 20 %)."""
    targets: Annotated[tuple[Target, ...], Field(min_length=1, max_length=500)]
