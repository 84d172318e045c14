"""Settings of ingest."""

from __future__ import annotations

from typing import ClassVar

from pydantic import Field, field_validator
from pydantic_settings import SettingsConfigDict

from services.ingest.mail.limits import Limits
from shared.egress.rules import networks
from shared.http import HttpSettings


class Settings(HttpSettings):
    """What ingest needs to know beyond what every service does."""

    model_config = SettingsConfigDict(env_prefix="INGEST_", frozen=True, extra="ignore")

    SERVICE: ClassVar[str] = "ingest"
    SOCKETS: ClassVar[bool] = True

    smtp_host: str = Field("127.0.0.1", description="Address the SMTP listener binds to.")
    smtp_port: int = Field(0, ge=0, le=65535, description="Port of the SMTP listener; 0 for none.")
    smtp_name: str = Field("deskwire", description="Host name the SMTP listener greets with.")
    smtp_connections: int = Field(200, ge=1, description="SMTP connections at once; further ones are asked to wait.")
    smtp_mails: int = Field(16, ge=1, description="Mails received at once; further ones are asked to come again.")
    smtp_cert_file: str = Field("", description="Certificate chain for STARTTLS; empty for none.")
    smtp_key_file: str = Field("", description="Private key for STARTTLS.")
    mail_bytes: int = Field(Limits().raw_bytes, ge=10_000, description="Largest mail taken, in bytes.")
    mail_seconds: float = Field(Limits().seconds, gt=0, description="CPU time one mail may take to parse.")
    parse_children: int = Field(2, ge=1, description="Processes that parse large or suspicious mails.")
    authserv_ids: str = Field(
        "", description="Names under which our own mail servers write Authentication-Results, separated by commas."
    )
    loop_token: str = Field("deskwire", description="What our own mail carries in X-Loop.")
    attachment_bytes: int = Field(25 * 1024 * 1024, ge=1, description="Largest file sent ahead of its message.")
    batch_bytes: int = Field(8_000_000, ge=1024, description="Largest body of POST /v1/messages.")
    release_ahead: int = Field(
        2000, ge=0, description="Released messages that tickets may have before it; further ones wait here. 0: any."
    )
    imap_ca_file: str = Field("", description="CA certificates of mail servers; empty for the system's.")
    imap_allowed_networks: str = Field(
        "", description="Private networks whose mail servers may be polled, separated by commas: 10.0.0.0/8."
    )
    chat_hours: int = Field(24, ge=1, le=720, description="How long a chat visitor may come back to a session.")
    chat_leave_seconds: float = Field(60.0, gt=0, description="Absence after which answers are mailed instead.")
    chat_idle_seconds: float = Field(1800.0, gt=0, description="Silence after which a chat connection is closed.")
    chat_connections: int = Field(1000, ge=1, description="Chat connections at once, waiting requests among them.")
    chat_sessions_per_minute: int = Field(30, ge=1, description="Chats opened by one client address.")
    chat_messages_per_minute: int = Field(60, ge=1, description="Messages in one chat.")

    @field_validator("imap_allowed_networks")
    @classmethod
    def _are_networks(cls, value: str) -> str:
        networks(value)
        return value
