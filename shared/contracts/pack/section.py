"""What every section of a policy pack has in common, and how things in it are named."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import BaseModel, ConfigDict, Field

Label = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_ -]{0,39}$")]
"""A name for people."""
Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]{0,39}$")]
"""A name for machines."""
Minutes = Annotated[float, Field(gt=0, le=5_256_000)]
"""A duration; parts of a minute are for rehearsals, where days pass in seconds."""


class Part(BaseModel):
    """A piece of a section. Strict and frozen: what is not known is refused."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Section(Part):
    """One section of a pack, published by itself."""

    SECTION: ClassVar[str]
