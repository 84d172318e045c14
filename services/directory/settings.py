"""What directory is told by its environment (prefix `DIRECTORY_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of directory; it has no knobs beyond everybody's."""

    model_config = SettingsConfigDict(env_prefix="DIRECTORY_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "directory"
