"""What directory is told by its environment (prefix `DIRECTORY_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of directory; beyond everybody's only another default."""

    model_config = SettingsConfigDict(env_prefix="DIRECTORY_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "directory"

    # Nobody waits for a requester to be known: under load a fuller batch saves more than a tenth of a second is worth.
    linger_milliseconds: int = Field(100, ge=0, le=1000, description="Longest wait for a fuller batch under load.")
