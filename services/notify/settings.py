"""What notify is told by its environment (prefix `NOTIFY_`)."""

from __future__ import annotations

import os
from typing import ClassVar

from pydantic import Field, SecretStr
from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of notify."""

    model_config = SettingsConfigDict(env_prefix="NOTIFY_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "notify"

    public_url: str = Field(
        default_factory=lambda: os.environ.get("ORIGIN_URL") or "http://127.0.0.1:8400",
        description="Address of the one origin, which links in mails begin with; ORIGIN_URL when not given.",
    )
    smtp_url: SecretStr = Field(
        SecretStr(""),
        description="Mail relay: smtp://, smtps:// or smtp+starttls://[user:password@]host[:port]; none: mail waits.",
    )
