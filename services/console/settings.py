"""What the edge may be told."""

from __future__ import annotations

import os
from typing import Any, ClassVar

from pydantic import Field, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

from services.console.domain import SERVICES
from shared.settings import ServiceSettings

_ADDRESSES = frozenset(f"{service}_url" for service in SERVICES)


class Settings(ServiceSettings):
    """Addresses of the services behind the one origin; an empty one is answered 503.

    `CONSOLE_TICKETS_URL` is for the edge alone; without it `TICKETS_URL` counts, which a whole installation shares.
    """

    SERVICE: ClassVar[str] = "console"
    SOCKETS: ClassVar[bool] = True
    model_config = SettingsConfigDict(env_prefix="CONSOLE_")

    ingest_url: str = Field("", description="Base address of ingest.")
    directory_url: str = Field("", description="Base address of directory.")
    tickets_url: str = Field("", description="Base address of tickets.")
    triage_url: str = Field("", description="Base address of triage.")
    sla_url: str = Field("", description="Base address of sla.")
    escalation_url: str = Field("", description="Base address of escalation.")
    notify_url: str = Field("", description="Base address of notify.")
    search_url: str = Field("", description="Base address of search.")
    connect_seconds: float = Field(2.0, gt=0, description="Longest wait for a connection to a service.")
    answer_seconds: float = Field(30.0, gt=0, description="Longest silence of a service while it answers.")
    upload_seconds: float = Field(10.0, gt=0, description="Longest silence of a client while it sends a body.")
    upload_bytes: int = Field(32_000_000, ge=1024, description="Largest body passed on; services have lower limits.")
    sockets: int = Field(1000, ge=1, description="WebSockets passed on at once.")
    streams: int = Field(2000, ge=1, description="Endless answers (`/v1/events`) passed on at once.")
    connections: int = Field(256, ge=1, description="Connections to services at most, all together.")

    @field_validator(*_ADDRESSES)
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            msg = "must start with http:// or https://"
            raise ValueError(msg)
        return value.rstrip("/")

    @override
    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """What every service reads, then the addresses that all services know."""
        usual = super().settings_customise_sources(
            settings_cls, init_settings, env_settings, dotenv_settings, file_secret_settings
        )
        return (*usual, _Neighbours(settings_cls))

    def upstreams(self) -> dict[str, str]:
        """Address of each service by its name; empty where none is configured."""
        return {service: str(getattr(self, f"{service}_url")) for service in SERVICES}


class _Neighbours(PydanticBaseSettingsSource):
    """`<SERVICE>_URL` as the whole installation knows it."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One address from the environment."""
        del field
        return (os.environ.get(field_name.upper()) if field_name in _ADDRESSES else None), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        """Every address that is set."""
        return {name: os.environ[name.upper()] for name in _ADDRESSES if name.upper() in os.environ}
