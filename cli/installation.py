"""What the command line knows of an installation: its engines, its services and their databases."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path
from typing import ClassVar
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SettingsError, variable, verified

ROOT = Path(__file__).parents[1]
SERVICES = ROOT / "services"


class CliSettings(ServiceSettings):
    """`KAFKA_URL`, `TOPIC_PREFIX` and what else concerns everyone."""

    model_config = SettingsConfigDict(env_prefix="CLI_", frozen=True, extra="ignore")
    SERVICE: ClassVar[str] = "cli"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceDatabase:
    """One service's database, the role that owns it and the role that uses it."""

    service: str
    name: str
    owner: str
    user: str
    owner_password: str | None
    """From `<SERVICE>_MIGRATE_DATABASE_PASSWORD`."""
    user_password: str | None
    """From `<SERVICE>_DATABASE_PASSWORD`."""

    @property
    def migrations(self) -> Path:
        """Where the service's own migrations are."""
        return SERVICES / self.service / "migrations"


def administrator() -> str:
    """`DATABASE_URL`, or the secret's file of that name. Raises SettingsError when it is not set or not an address."""
    url = variable("DATABASE_URL") or ""
    parts = urlsplit(url)
    if parts.scheme not in {"postgresql", "postgres"} or not parts.hostname:
        raise SettingsError(
            "DATABASE_URL: the administrator's address is needed, postgresql://user:password@host:port/db"
        )
    return verified(url, variable("DATABASE_CA_FILE") or "")


def databases(only: str | None = None) -> list[ServiceDatabase]:
    """The databases of all services that have migrations, or of one. Raises SettingsError for an unknown one.

    `DATABASE_SUFFIX` is put behind the names of databases and roles, so that installations can share a server.
    """
    suffix = os.environ.get("DATABASE_SUFFIX", "")
    names = sorted(path.parent.name for path in SERVICES.glob("*/migrations") if path.is_dir())
    if only is not None and only not in names:
        raise SettingsError(f"no service with a database is named {only!r}; there are {', '.join(names)}")
    return [
        ServiceDatabase(
            service=name,
            name=f"{name}{suffix}",
            owner=f"{name}_migrate{suffix}",
            user=f"{name}{suffix}",
            owner_password=variable(f"{_variable(name)}_MIGRATE_DATABASE_PASSWORD"),
            user_password=variable(f"{_variable(name)}_DATABASE_PASSWORD"),
        )
        for name in names
        if only in {None, name}
    ]


def address(admin: str, database: str, role: str | None = None, password: str | None = None) -> str:
    """The administrator's server with another database and, if given, another role."""
    parts = urlsplit(admin)
    netloc = parts.netloc
    if role is not None:
        netloc = f"{quote(role)}:{quote(password or '', safe='')}@{parts.netloc.rpartition('@')[2]}"
    return urlunsplit((parts.scheme, netloc, f"/{quote(database)}", parts.query, ""))


def _variable(service: str) -> str:
    return service.upper().replace("-", "_")
