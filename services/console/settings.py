"""What the edge may be told."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field, field_validator
from pydantic_settings import SettingsConfigDict

from services.console.domain import SERVICES
from shared.settings import ServiceSettings


def _upstream(service: str) -> AliasChoices:
    """`CONSOLE_TICKETS_URL`, else the address every service of the installation knows, `TICKETS_URL`."""
    return AliasChoices(f"{service}_url", f"CONSOLE_{service.upper()}_URL", f"{service.upper()}_URL")


class Settings(ServiceSettings):
    """Addresses of the services behind the one origin; an empty one is answered 503."""

    SERVICE: ClassVar[str] = "console"
    model_config = SettingsConfigDict(env_prefix="CONSOLE_", populate_by_name=True)

    ingest_url: str = Field("", validation_alias=_upstream("ingest"), description="Base address of ingest.")
    directory_url: str = Field("", validation_alias=_upstream("directory"), description="Base address of directory.")
    tickets_url: str = Field("", validation_alias=_upstream("tickets"), description="Base address of tickets.")
    connect_seconds: float = Field(2.0, gt=0, description="Longest wait for a connection to a service.")
    answer_seconds: float = Field(30.0, gt=0, description="Longest silence of a service while it answers.")
    upload_seconds: float = Field(10.0, gt=0, description="Longest silence of a client while it sends a body.")
    upload_bytes: int = Field(32_000_000, ge=1024, description="Largest body passed on; services have lower limits.")
    connections: int = Field(256, ge=1, description="Connections to services at most, all together.")

    @field_validator("ingest_url", "directory_url", "tickets_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            msg = "must start with http:// or https://"
            raise ValueError(msg)
        return value.rstrip("/")

    def upstreams(self) -> dict[str, str]:
        """Address of each service by its name; empty where none is configured."""
        return {service: str(getattr(self, f"{service}_url")) for service in SERVICES}
