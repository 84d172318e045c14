"""What escalation is told by its environment (prefix `ESCALATION_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of escalation: everybody's. What it does is in the tenants' policy packs."""

    model_config = SettingsConfigDict(env_prefix="ESCALATION_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "escalation"
