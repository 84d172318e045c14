"""Reading the local sink: the mails and webhooks that the installation sent out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import httpx2

Mail = Mapping[str, Any]


class Sink:
    """What has arrived since the demo began."""

    def __init__(self, client: httpx2.AsyncClient, first_mail: int, first_call: int) -> None:
        self._client = client
        self._first_mail = first_mail
        self._first_call = first_call

    @classmethod
    async def at(cls, url: str) -> Sink:
        """The sink at that address; what it has already is no longer looked at."""
        client = httpx2.AsyncClient(base_url=url, timeout=10, trust_env=False)
        sink = cls(client, 0, 0)
        mails, calls = await sink.mails(), await sink.calls()
        return cls(client, *(max((int(one["n"]) for one in items), default=0) for items in (mails, calls)))

    async def mails(self, to: str | None = None, **headers: str) -> list[Mail]:
        """Mails to an address, whose headers contain these texts (`subject="resolved"`)."""
        items = await self._get("/mails", {"after": self._first_mail} | ({"to": to} if to else {}))
        return [
            one
            for one in items
            if all(text in one["headers"].get(name.replace("_", "-"), "") for name, text in headers.items())
        ]

    async def calls(self, name: str | None = None) -> list[Mapping[str, Any]]:
        """Webhook calls."""
        return await self._get("/hooks", {"after": self._first_call} | ({"name": name} if name else {}))

    async def close(self) -> None:
        """Hang up."""
        await self._client.aclose()

    async def _get(self, path: str, params: Mapping[str, str | int]) -> list[Mapping[str, Any]]:
        answer = await self._client.get(path, params=dict(params))
        answer.raise_for_status()
        items: list[Mapping[str, Any]] = answer.json()["items"]
        return items
