"""Passing WebSockets on: frames both ways, bounded in size and number; nothing of them is read here."""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from starlette.types import Receive, Scope, Send

from services.console import domain
from services.console.settings import Settings
from shared.host import SOCKET_FRAME
from shared.http.context import request_id_from, traceparent_from
from shared.http.forwarded import CLIENT_HEADER, key_of, signed
from shared.settings import SettingsError, master_key

if TYPE_CHECKING:
    from websockets.asyncio.client import ClientConnection

CLOSE_SECONDS = 5.0
_RESTART = 1012
_NOT_SENT = {1004, 1005, 1006, 1015}
"""Close codes that say what happened and may not be sent (RFC 6455 §7.4.1)."""
_OWN = (b"sec-websocket-", b"cookie")

logger = logging.getLogger(__name__)


class Sockets:
    """The WebSockets of this edge."""

    def __init__(self, settings: Settings) -> None:
        self._upstreams = {service: url for service, url in settings.upstreams().items() if url}
        self._settings = settings
        self._open = 0
        try:
            self._key: bytes | None = key_of(master_key(settings))
        except SettingsError:
            self._key = None

    async def forward(self, service: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one connection to `service` until either side ends it."""
        await receive()
        base = self._upstreams.get(service)
        if base is None or not domain.is_plain(scope["path"]):
            await _refuse(send, 503 if base is None else 400)
            return
        if self._open >= self._settings.sockets:
            logger.warning("too many sockets", extra={"upstream": service})
            await _refuse(send, 503)
            return
        self._open += 1
        try:
            async with contextlib.AsyncExitStack() as stack:
                upstream = await self._connect(service, base, scope, stack)
                if isinstance(upstream, int):
                    await _refuse(send, upstream)
                    return
                await send({"type": "websocket.accept", "subprotocol": upstream.subprotocol})
                await _pass(upstream, receive, send)
        finally:
            self._open -= 1

    async def _connect(
        self, service: str, base: str, scope: Scope, stack: contextlib.AsyncExitStack
    ) -> ClientConnection | int:
        """The connection to the service, or the HTTP status of why there is none."""
        # Loaded with the first socket: most edges pass on none for hours.
        from websockets.asyncio.client import connect  # noqa: PLC0415
        from websockets.exceptions import InvalidHandshake, InvalidStatus  # noqa: PLC0415

        try:
            return await stack.enter_async_context(
                connect(
                    _address(base, scope),
                    additional_headers=self._headers(scope),
                    subprotocols=list(scope.get("subprotocols", ())) or None,
                    compression=None,
                    open_timeout=self._settings.connect_seconds,
                    # Each side answers its own pings; the service finds out when nobody is there.
                    ping_interval=None,
                    close_timeout=CLOSE_SECONDS,
                    max_size=SOCKET_FRAME,
                    max_queue=4,
                    user_agent_header=None,
                    proxy=None,
                )
            )
        except InvalidStatus as error:
            return error.response.status_code
        except (OSError, TimeoutError, InvalidHandshake) as error:
            logger.warning("service away", extra={"upstream": service, "reason": type(error).__name__})
            return 503

    def _headers(self, scope: Scope) -> list[tuple[str, str]]:
        given = dict(scope["headers"])
        passed = [
            (name.decode("latin-1"), value.decode("latin-1"))
            for name, value in domain.pass_on(scope["headers"])
            if name not in {b"host", b"x-request-id", b"traceparent"} and not name.startswith(_OWN)
        ]
        passed.append(("x-request-id", request_id_from(given.get(b"x-request-id"))))
        passed.append(("traceparent", traceparent_from(given.get(b"traceparent"))))
        passed.append(("x-forwarded-proto", "https" if scope["scheme"] == "wss" else "http"))
        passed.append(("x-forwarded-host", given.get(b"host", b"").decode("latin-1")))
        client = scope.get("client")
        if client is not None:
            passed.append(("x-forwarded-for", client[0]))
            if self._key is not None:
                passed.append((CLIENT_HEADER.decode(), signed(self._key, client[0]).decode()))
        return passed


def _address(base: str, scope: Scope) -> str:
    parts = urlsplit(base)
    target = scope.get("raw_path") or scope["path"].encode()
    if scope["query_string"]:
        target += b"?" + scope["query_string"]
    return f"{'wss' if parts.scheme == 'https' else 'ws'}://{parts.netloc}{target.decode('latin-1')}"


async def _pass(upstream: ClientConnection, receive: Receive, send: Send) -> None:
    """Frames both ways until one side ends, then the other side is told how."""
    up = asyncio.create_task(_up(upstream, receive), name="socket up")
    down = asyncio.create_task(_down(upstream, send), name="socket down")
    try:
        await asyncio.wait({up, down}, return_when=asyncio.FIRST_COMPLETED)
        if up.done() and up.exception() is None:
            code, reason = up.result()
            await upstream.close(code, reason)
        else:
            code, reason = _ended(upstream)
            with contextlib.suppress(OSError, RuntimeError):
                await send({"type": "websocket.close", "code": code, "reason": reason})
    finally:
        for task in (up, down):
            task.cancel()
        await asyncio.wait({up, down})


async def _up(upstream: ClientConnection, receive: Receive) -> tuple[int, str]:
    """Pass a client's frames on; how it left."""
    while True:
        message = await receive()
        if message["type"] == "websocket.disconnect":
            code = message.get("code", 1005)
            return (1001 if code in _NOT_SENT else code), message.get("reason") or ""
        text: Any = message.get("text")
        await upstream.send(text if text is not None else message["bytes"])


async def _down(upstream: ClientConnection, send: Send) -> None:
    """Pass the service's frames back until it ends the connection."""
    async for frame in upstream:
        key = "text" if isinstance(frame, str) else "bytes"
        await send({"type": "websocket.send", key: frame})


def _ended(upstream: ClientConnection) -> tuple[int, str]:
    code = upstream.close_code
    if code is None or code in _NOT_SENT:
        # Cut, not closed: the service restarts, and clients come again.
        return _RESTART, "the service went away"
    return code, upstream.close_reason or ""


async def _refuse(send: Send, status: int) -> None:
    """Answer the handshake with an HTTP status."""
    await send({"type": "websocket.http.response.start", "status": status, "headers": [(b"content-length", b"0")]})
    await send({"type": "websocket.http.response.body", "body": b"", "more_body": False})
