"""What sla is told by its environment (prefix `SLA_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of sla; add your own fields, each with a description."""

    model_config = SettingsConfigDict(env_prefix="SLA_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "sla"
