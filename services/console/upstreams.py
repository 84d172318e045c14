"""What the edge knows of the services behind it: their state and their API documents, asked rarely."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import orjson

from services.console import domain
from services.console.proxy import Proxy
from services.console.settings import Settings

STATE_SECONDS = 1.0
"""How long an answer about states is shared by all who ask."""
DOCUMENT_SECONDS = 30.0
ASK_SECONDS = 2.5


class Upstreams:
    """Asks each service for `/readyz` and `/openapi.json` and remembers."""

    def __init__(self, settings: Settings, proxy: Proxy) -> None:
        self._settings = settings
        self._proxy = proxy
        self._states: dict[str, dict[str, Any]] = {}
        self._states_at = float("-inf")
        self._documents: dict[str, dict[str, Any]] = {}
        self._merged: dict[str, Any] = {}
        self._away: tuple[str, ...] = ()
        self._documents_at = float("-inf")
        self._lock = asyncio.Lock()

    async def states(self) -> dict[str, dict[str, Any]]:
        """Each service's state: `ready`, `not ready` with what it lacks, `away`, or `absent` without an address."""
        async with self._lock:
            if time.monotonic() - self._states_at > STATE_SECONDS:
                services = self._settings.upstreams()
                found = await asyncio.gather(*(self._state(name, url) for name, url in services.items()))
                self._states = dict(zip(services, found, strict=True))
                self._states_at = time.monotonic()
            return self._states

    async def document(self) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The merged OpenAPI document and the services whose part is missing.

        A service that was seen once stays in the document while it is away: its API has not changed.
        """
        async with self._lock:
            if time.monotonic() - self._documents_at > DOCUMENT_SECONDS:
                services = [name for name, url in self._settings.upstreams().items() if url]
                found = await asyncio.gather(*(self._document(name) for name in services))
                self._documents.update({n: d for n, d in zip(services, found, strict=True) if d is not None})
                self._merged = domain.merge(self._documents)
                self._away = tuple(name for name in services if name not in self._documents)
                complete = all(document is not None for document in found)
                self._documents_at = time.monotonic() if complete else time.monotonic() - DOCUMENT_SECONDS + 1
            return self._merged, self._away

    async def _state(self, service: str, url: str) -> dict[str, Any]:
        if not url:
            return {"state": "absent"}
        try:
            status, body = await self._proxy.get(service, "/readyz", seconds=ASK_SECONDS)
        except (OSError, TimeoutError):
            return {"state": "away"}
        if status == 200:
            return {"state": "ready"}
        return {"state": "not ready", "missing": _missing(body)}

    async def _document(self, service: str) -> dict[str, Any] | None:
        try:
            status, body = await self._proxy.get(service, "/openapi.json", seconds=ASK_SECONDS)
            document = orjson.loads(body) if status == 200 else None
        except (OSError, TimeoutError, orjson.JSONDecodeError):
            return None
        return document if isinstance(document, dict) else None


def _missing(body: bytes) -> list[str]:
    """The names of what a service lacks; reasons stay inside, since anybody may ask."""
    try:
        document = orjson.loads(body)
        return [str(item["name"]) for item in document["missing"]]
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return []
