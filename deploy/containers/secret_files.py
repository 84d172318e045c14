"""Make the secrets that `deploy/compose.yaml` hands out as files: `make secrets`. What is there is never changed.

The folder is closed to everybody else (0700); the files in it are readable (0444), because a container reads them as
its own user and Compose passes their mode on as it is.
"""

from __future__ import annotations

import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local.folders import CHECKOUT

if TYPE_CHECKING:
    from collections.abc import Iterator

SERVER: Final = "postgres:5432"
FOLDER: Final = CHECKOUT / ".deskwire" / "secrets"


def folder() -> Path:
    """`DESKWIRE_SECRETS`, else `.deskwire/secrets` of the checkout."""
    return Path(os.environ.get("DESKWIRE_SECRETS") or FOLDER)


def with_database() -> list[str]:
    """The services that have a database."""
    return sorted(path.parent.name for path in CHECKOUT.glob("services/*/migrations"))


def make(target: Path, server: str = SERVER) -> list[str]:
    """Write what is missing; the names written. `server` is host:port of PostgreSQL, with `?…` behind it for TLS."""
    target.mkdir(mode=0o700, parents=True, exist_ok=True)
    target.chmod(0o700)
    made: list[str] = []
    for name, value in _wanted(target, server):
        path = target / name
        if not path.exists():
            write(path, value)
            made.append(name)
    return made


def _wanted(target: Path, server: str) -> Iterator[tuple[str, str]]:
    """Passwords before the addresses they are part of: each is read back when its turn comes."""
    host, _, query = server.partition("?")
    options = f"?{query}" if query else ""
    yield "master_key", secrets.token_hex(32)
    yield "postgres_password", secrets.token_hex(24)
    yield "database_url", f"postgresql://postgres:{_read(target, 'postgres_password')}@{host}/postgres{options}"
    for service in with_database():
        yield f"{service}_database_password", secrets.token_hex(24)
        yield f"{service}_migrate_database_password", secrets.token_hex(24)
        password = _read(target, f"{service}_database_password")
        yield f"{service}_database_url", f"postgresql://{service}:{password}@{host}/{service}{options}"
    # For a Kafka that asks who one is; one without does not read them.
    for user in (*with_database(), "provision", "operator", "lag", "admin"):
        name = "kafka_admin_password" if user == "admin" else f"{user}_kafka_password"
        yield name, secrets.token_hex(24)
    # KEDA reads the name from a Secret too.
    yield "lag_kafka_username", "lag"


def _read(target: Path, name: str) -> str:
    return (target / name).read_text(encoding="utf-8").strip()


def write(path: Path, value: str) -> None:
    """Put a secret into its file, whole or not at all: half a password would be kept for ever."""
    draft = path.with_name(f"{path.name}.part")
    draft.unlink(missing_ok=True)
    with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as out:
        out.write(value + "\n")
    draft.chmod(0o444)
    draft.rename(path)
