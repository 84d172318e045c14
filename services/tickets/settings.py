"""What tickets may be told by its environment, `TICKETS_…`."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field
from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of the tickets service."""

    model_config = SettingsConfigDict(env_prefix="TICKETS_")

    SERVICE: ClassVar[str] = "tickets"

    parent_minutes: float = Field(
        10.0, gt=0, description="How long an answer waits for the message it answers, before it opens a ticket."
    )
    sweep_seconds: float = Field(
        5.0, gt=0, description="Between looks for queues and answers that nothing else would have woken."
    )
