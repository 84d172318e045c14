"""What notify is told by its environment (prefix `NOTIFY_`)."""

from __future__ import annotations

import os
from typing import ClassVar

from pydantic import Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.egress.rules import networks
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
    smtp_seconds: float = Field(20.0, gt=0, le=300, description="How long to wait for the mail server's answers.")
    smtp_connections: int = Field(8, ge=1, le=50, description="Mails handed over at once; pages have as many again.")
    language_patience_seconds: float = Field(
        5.0, ge=0, le=60, description="How long an acknowledgement waits for triage to find out the mail's language."
    )
    delivery_days: int = Field(90, ge=7, description="How long what was told is kept; at least the tickets' topics.")
    webhook_allowed_networks: str = Field(
        "", description="Networks (CIDR, by commas) webhooks may call although not public; any port, also without TLS."
    )
    webhook_plain_http: bool = Field(False, description="Whether webhooks may call public addresses without TLS.")
    webhook_seconds: float = Field(20.0, gt=0, le=30, description="How long one webhook attempt may take.")
    webhook_concurrency: int = Field(8, ge=1, le=100, description="Attempts at once to one webhook endpoint.")
    webhook_expire_hours: float = Field(24.0, gt=0, description="Facts older than this are not sent by webhook.")
    webhook_disable_days: float = Field(5.0, gt=0, description="An endpoint that only failed so long is switched off.")
    webhook_keep_days: float = Field(14.0, gt=4, description="How long ended webhook deliveries are kept.")

    @field_validator("webhook_allowed_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value)
        return value
