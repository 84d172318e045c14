"""Ranks and the tenant's own labels for them (seed 000 §4.1)."""

from __future__ import annotations

from typing import Annotated, ClassVar, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from shared.contracts.pack.section import Label, Section


class Priority(BaseModel):
    """A rank with the tenant's own label; 1 is the most urgent."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    rank: Annotated[int, Field(ge=1, le=9)]
    label: Label


class Priorities(Section):
    """Labels of the ranks, and which one a new ticket has until triage has spoken."""

    SECTION: ClassVar[str] = "priorities"

    levels: Annotated[tuple[Priority, ...], Field(min_length=1)]
    default: Label

    @model_validator(mode="after")
    def _default_exists(self) -> Self:
        ranks = [level.rank for level in self.levels]
        labels = [level.label for level in self.levels]
        if len(set(ranks)) < len(ranks) or len(set(labels)) < len(labels):
            msg = "each priority needs its own rank and label"
            raise ValueError(msg)
        if self.default not in labels:
            msg = f"default {self.default!r} is none of {', '.join(labels)}"
            raise ValueError(msg)
        return self
