"""The secrets of `deploy/compose.secure.yaml`: an authority, engines closed by it, and what clients need of them."""

from __future__ import annotations

import secrets
from pathlib import Path
from typing import TYPE_CHECKING

from deploy.containers import secret_files
from deploy.containers.certificates import Authority
from deploy.local.secured import ADMINISTRATOR, BROKER, secured

if TYPE_CHECKING:
    from collections.abc import Iterator

INSIDE = Path("/run/secrets")
"""Where the containers see them."""


def make(target: Path) -> None:
    """Write all of them, once: the authority's key is kept nowhere, so that its certificates cannot be made anew."""
    secret_files.make(target)
    for name, value in _wanted(target, Authority()):
        secret_files.write(target / name, value)


def _wanted(target: Path, authority: Authority) -> Iterator[tuple[str, str]]:
    for name in ("kafka_ca.pem", "database_ca.pem", "opensearch_ca.pem"):
        yield name, authority.certificate()
    yield "search_opensearch_password", secrets.token_hex(24)
    certificate, key = authority.issue("kafka")
    yield "kafka_keystore.pem", certificate + key
    broker = secrets.token_hex(24)
    yield "kafka_settings", secured(INSIDE / "kafka_keystore.pem", INSIDE / "kafka_ca.pem", broker)
    administrator = (target / "kafka_admin_password").read_text(encoding="utf-8").strip()
    yield (
        "kafka_users",
        "\n".join(
            f"SCRAM-SHA-512=[name={name},password={password}]"
            for name, password in ((ADMINISTRATOR, administrator), (BROKER, broker))
        ),
    )
    certificate, key = authority.issue("postgres")
    yield "postgres_certificate", certificate
    yield "postgres_key", key
