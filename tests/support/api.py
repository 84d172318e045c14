"""An API under test: callers with credentials, an app in memory or on a real port."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import ClassVar
from uuid import UUID

import httpx2
import uvicorn
from pydantic import SecretStr
from pydantic_settings import SettingsConfigDict
from starlette.types import ASGIApp

from shared.auth import FixedCredentials, new_api_key
from shared.contracts.directory import CredentialChanged, CredentialKind, Role
from shared.host import SOCKET_FRAME
from shared.http import HttpSettings
from shared.http.protocol import BoundedProtocol

MASTER_KEY = "5a" * 32


class ApiSettings(HttpSettings):
    """Settings of an app that is no service."""

    SERVICE: ClassVar[str] = "sample"
    model_config = SettingsConfigDict(env_prefix="SAMPLE_")

    master_key: SecretStr = SecretStr(MASTER_KEY)


@dataclass(frozen=True, kw_only=True)
class Caller:
    """Somebody with an API key."""

    key: str
    credential: CredentialChanged

    @property
    def headers(self) -> dict[str, str]:
        """What they send."""
        return {"Authorization": f"Bearer {self.key}"}


def caller(role: Role | str, *, tenant_id: str = "acme", person_id: UUID | None = None) -> Caller:
    """A caller with a new API key; give `credential` to the app's `FixedCredentials`."""
    key, credential_id = new_api_key()
    credential = CredentialChanged(
        tenant_id=tenant_id,
        credential_id=credential_id,
        kind=CredentialKind.API_KEY,
        version=1,
        person_id=person_id,
        role=role,
    )
    return Caller(key=key, credential=credential)


def credentials_of(*callers: Caller) -> FixedCredentials:
    """Credentials that know these callers."""
    return FixedCredentials(*(one.credential for one in callers))


def in_memory(app: ASGIApp, *, headers: dict[str, str] | None = None) -> httpx2.AsyncClient:
    """A client that calls the app without a network; an exception in the app is an answer, as it would be."""
    transport = httpx2.ASGITransport(app=app, raise_app_exceptions=False)
    return httpx2.AsyncClient(transport=transport, base_url="http://desk", headers=headers)


class _Server(uvicorn.Server):
    def install_signal_handlers(self) -> None:
        """None: pytest has its own."""


@asynccontextmanager
async def served(app: ASGIApp) -> AsyncIterator[str]:
    """The app on a free port of this machine, in this event loop, so that it may use the test's pools; its address."""
    # Named, so that the loop turns Nagle off: a body after its head would else wait 40 ms for an acknowledgement.
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.bind(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    config = uvicorn.Config(
        app,
        http=BoundedProtocol,
        ws="websockets-sansio",
        ws_max_size=SOCKET_FRAME,
        ws_per_message_deflate=False,
        lifespan="off",
        log_config=None,
        access_log=False,
        proxy_headers=False,
    )
    server = _Server(config)
    task = asyncio.create_task(server.serve(sockets=[listener]))
    try:
        while not server.started:
            if task.done():
                task.result()
            await asyncio.sleep(0.005)
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        server.force_exit = True
        await task
        listener.close()
