"""A Compose project as the tests know an installation: by its addresses. Its life is Compose's, not ours."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Any

import httpx2
from typing_extensions import override

from tests.containers.stack import Stack
from tests.support.engines import Engines
from tests.support.installation import Installation
from tests.support.waiting import eventually

INSIDE = "http://sink:8025"
"""The sink as the containers reach it."""


class Composed(Installation):
    """What `Desk`, the quiet and the invariants ask of an installation, answered by what runs in containers."""

    def __init__(self, stack: Stack, folder: Path) -> None:
        ports = stack.ports
        administrator = f"postgres:{stack.secret('postgres_password')}"
        engines = Engines(
            kafka_url=f"127.0.0.1:{ports['KAFKA_PORT']}",
            database_url=f"postgresql://{administrator}@127.0.0.1:{ports['POSTGRES_PORT']}/postgres",
            opensearch_url=f"http://127.0.0.1:{ports['OPENSEARCH_PORT']}",
        )
        super().__init__(engines, folder, processes=())
        # Alone on its engines, so without the marks that keep installations under test apart.
        self.prefix = self.suffix = self.index_prefix = ""
        self.ports |= {
            "console": ports["ORIGIN_PORT"],
            "smtp": ports["INGEST_SMTP_PORT"],
            "sink": ports["SINK_PORT"],
        }
        self.passwords = {name: stack.secret(f"{name}_database_password") for name in _with_database(stack)}
        self.master_key = stack.secret("master_key")

    @property
    @override
    def hooks_url(self) -> str:
        return INSIDE

    @override
    async def ready(self, *names: str, within: float = 300.0) -> None:
        """Wait until the origin says of these services, all unless some are named, that they are ready."""
        await eventually(partial(self._ready, names), within=within, every=0.2, what="every service ready")

    async def _ready(self, names: tuple[str, ...]) -> bool:
        states = await self._states()
        missing = {name: state for name, state in states.items() if state != "ready" and (not names or name in names)}
        assert states, "the origin does not answer"
        assert not missing, missing
        return True

    async def _states(self) -> dict[str, str]:
        try:
            answer = await self.client.get(f"{self.origin}/v1/status")
        except httpx2.TransportError:
            return {}
        told: dict[str, Any] = answer.json().get("services", {})
        return {name: str(service["state"]) for name, service in told.items()}

    @override
    async def stop(self) -> None:
        """Hang up. What runs is taken down by Compose, databases and topics with their volumes."""
        await self.client.aclose()
        for connection in self._connections.values():
            await connection.close()


def _with_database(stack: Stack) -> list[str]:
    return [path.name.removesuffix("_migrate_database_password") for path in stack.secrets.glob("*_migrate_database_*")]
