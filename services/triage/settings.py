"""What triage is told by its environment (prefix `TRIAGE_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of triage; add your own fields, each with a description."""

    model_config = SettingsConfigDict(env_prefix="TRIAGE_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "triage"
