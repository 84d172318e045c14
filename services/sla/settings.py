"""What sla is told by its environment (prefix `SLA_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of sla."""

    model_config = SettingsConfigDict(env_prefix="SLA_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "sla"

    grace_seconds: float = Field(
        30.0,
        gt=0,
        description="How long a breach waits for tickets' word before it is told provisionally; above 10 s, the"
        " statement timeout, no slow transaction of tickets causes one.",
    )
    sweep_seconds: float = Field(1.0, gt=0, description="Between looks for breaches that have waited that long.")
