"""Passing requests on: streamed both ways, with a time limit on every wait, never following where it is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import httpx2
from starlette.types import Receive, Scope, Send

from services.console import domain
from services.console.settings import Settings
from shared.http.context import context_of
from shared.http.edge import Gone
from shared.http.forwarded import CLIENT_HEADER, key_of, signed
from shared.problem import Problem
from shared.settings import SettingsError, master_key

KEPT = 16
"""Idle connections kept: the pool looks at every one of them at every request."""
IDLE_SECONDS = 30.0
"""An idle connection is given up here before the service does it (65 s), so that neither talks into a closed one."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})

logger = logging.getLogger(__name__)


class Proxy:
    """One pool of connections to every service.

    The transport is used without a client around it: a client keeps cookies, follows redirects and reads proxy
    variables, all of which would mix what different callers may see.
    """

    def __init__(self, settings: Settings, transport: httpx2.AsyncBaseTransport | None = None) -> None:
        self._upstreams = {service: httpx2.URL(url) for service, url in settings.upstreams().items() if url}
        self._settings = settings
        self._transport = transport or httpx2.AsyncHTTPTransport(
            trust_env=False,
            retries=0,
            limits=httpx2.Limits(
                max_connections=settings.connections,
                max_keepalive_connections=min(KEPT, settings.connections),
                keepalive_expiry=IDLE_SECONDS,
            ),
        )
        self._timeouts = {
            "connect": settings.connect_seconds,
            "read": settings.answer_seconds,
            "write": settings.upload_seconds,
            "pool": settings.connect_seconds,
        }
        try:
            self._key: bytes | None = key_of(master_key(settings))
        except SettingsError:
            self._key = None

    async def close(self) -> None:
        """Close every connection."""
        await self._transport.aclose()

    async def get(self, service: str, path: str, *, seconds: float) -> tuple[int, bytes]:
        """A request of our own: status and body. Raises OSError or a TimeoutError when the service is away."""
        base = self._upstreams.get(service)
        if base is None:
            msg = f"no address of {service} is configured"
            raise ConnectionError(msg)
        request = httpx2.Request("GET", base.copy_with(path=path), extensions={"timeout": dict(self._timeouts)})
        try:
            async with asyncio.timeout(seconds):
                response = await self._transport.handle_async_request(request)
                try:
                    return response.status_code, await response.aread()
                finally:
                    await response.aclose()
        except httpx2.HTTPError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    async def forward(self, service: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request to `service` and its answer back. Raises problems until the answer has begun."""
        base = self._upstreams.get(service)
        if base is None:
            raise _away(service, 503, "is not part of this installation")
        if not domain.is_plain(scope["path"]):
            raise Problem(400, "bad-request", "Bad request", "The path has dot segments or control characters.")
        request = self._request(base, scope, receive)
        try:
            response = await self._answer(service, request, scope["method"])
        except Gone:
            return
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status_code,
                    "headers": domain.pass_back((name.lower(), value) for name, value in response.headers.raw),
                }
            )
            if "content-length" in response.headers:
                await _pass(response, send)
            else:
                await _pass_while_listened_to(response, receive, send)
        finally:
            await response.aclose()

    def _request(self, base: httpx2.URL, scope: Scope, receive: Receive) -> httpx2.Request:
        context = context_of(scope)
        client = scope.get("client")
        given = {name: value for name, value in scope["headers"] if name in {b"host", b"content-length"}}
        headers = [
            (name, value)
            for name, value in domain.pass_on(scope["headers"])
            if name not in {b"host", b"x-request-id", b"traceparent"}
        ]
        headers.append((b"host", base.netloc))
        headers.append((b"x-request-id", context.request_id.encode()))
        headers.append((b"traceparent", context.traceparent.encode()))
        headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
        headers.append((b"x-forwarded-host", given.get(b"host", b"")))
        if client is not None:
            headers.append((b"x-forwarded-for", client[0].encode()))
            if self._key is not None:
                headers.append((CLIENT_HEADER, signed(self._key, client[0])))
        names = {name for name, _ in scope["headers"]}
        declared = given.get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 15 or int(declared) > self._settings.upload_bytes:
            raise self._too_large()
        has_body = b"transfer-encoding" in names or declared != b"0"
        if has_body and b"content-length" not in given:
            headers.append((b"transfer-encoding", b"chunked"))
        raw_path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        # The target goes as it came: building an address from it would decode and encode it once more.
        target = raw_path + (b"?" + query if query else b"")
        return httpx2.Request(
            scope["method"],
            base,
            headers=headers,
            content=self._body(receive) if has_body else None,
            extensions={"timeout": dict(self._timeouts), "target": target},
        )

    async def _body(self, receive: Receive) -> AsyncIterator[bytes]:
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._settings.upload_seconds):
                    message = await receive()
            except TimeoutError as error:
                raise Problem(408, "body-timeout", "Body too slow", "The body stopped coming.") from error
            if message["type"] == "http.disconnect":
                raise Gone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._settings.upload_bytes:
                raise self._too_large()
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return

    def _too_large(self) -> Problem:
        limit = self._settings.upload_bytes
        return Problem(413, "body-too-large", "Body too large", f"At most {limit} bytes are taken here.")

    async def _answer(self, service: str, request: httpx2.Request, method: str) -> httpx2.Response:
        """The service's answer, its body not yet read. A safe request is sent again once on a connection gone stale."""
        again = (
            method in _SAFE and "transfer-encoding" not in request.headers and "content-length" not in request.headers
        )
        while True:
            try:
                return await self._transport.handle_async_request(request)
            except (httpx2.ReadError, httpx2.RemoteProtocolError) as error:
                if again:
                    again = False
                    continue
                raise _away(service, 502, "broke off before it answered") from error
            except (httpx2.ConnectError, httpx2.ConnectTimeout, httpx2.PoolTimeout) as error:
                raise _away(service, 503, "cannot be reached") from error
            except httpx2.TimeoutException as error:
                raise _away(service, 504, "did not answer in time") from error
            except httpx2.HTTPError as error:
                raise _away(service, 502, "gave no readable answer") from error


async def _pass(response: httpx2.Response, send: Send) -> None:
    async for chunk in response.aiter_raw():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pass_while_listened_to(response: httpx2.Response, receive: Receive, send: Send) -> None:
    """Pass a stream without a known end, until the client leaves: nobody else would tell the service to stop."""

    async def left() -> None:
        while (await receive())["type"] != "http.disconnect":
            pass

    passing, leaving = asyncio.create_task(_pass(response, send)), asyncio.create_task(left())
    try:
        await asyncio.wait({passing, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if passing.done():
            passing.result()
    finally:
        for task in (passing, leaving):
            task.cancel()
        await asyncio.wait({passing, leaving})


_TITLES: Mapping[int, tuple[str, str]] = {
    502: ("bad-gateway", "Bad gateway"),
    503: ("unavailable", "Temporarily unavailable"),
    504: ("gateway-timeout", "Gateway timeout"),
}


def _away(service: str, status: int, what: str) -> Problem:
    slug, title = _TITLES[status]
    logger.warning("service away", extra={"upstream": service, "status": status, "reason": what})
    headers = {"Retry-After": "2"} if status == 503 else {}
    return Problem(status, slug, title, f"The service {service} {what}.", headers=headers)
