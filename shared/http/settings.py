"""What an API may be told by its environment; a service whose settings derive from this can set it."""

from __future__ import annotations

from pydantic import Field

from shared.settings import ServiceSettings


class HttpSettings(ServiceSettings):
    """Limits of one service's API."""

    rate_per_second: float = Field(2000.0, gt=0, description="Requests per second that one caller may make for long.")
    rate_burst: int = Field(4000, ge=1, description="Requests that one caller may make at once.")
    failures_per_minute: float = Field(60.0, gt=0, description="Failed authentications per minute from one address.")
    failures_burst: int = Field(60, ge=1, description="Failed authentications at once from one address.")
    body_limit: int = Field(1_000_000, ge=1024, description="Largest body in bytes where a path says nothing else.")
    body_seconds: float = Field(10.0, gt=0, description="Longest time a body may take, per megabyte of its limit.")


def http_settings(settings: ServiceSettings) -> dict[str, float | int]:
    """The limits of any service: its own where it has them, else the defaults."""
    return {
        name: getattr(settings, name, field.default)
        for name, field in HttpSettings.model_fields.items()
        if name not in ServiceSettings.model_fields
    }
