"""Passing requests on: streamed both ways, with a time limit on every wait, never following where it is sent."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Mapping

import aiohttp
from multidict import CIMultiDict
from starlette.types import Receive, Scope, Send
from yarl import URL

from services.console import domain
from services.console.settings import Settings
from shared.http.context import context_of
from shared.http.edge import Gone
from shared.http.forwarded import CLIENT_HEADER, key_of, signed
from shared.problem import Problem
from shared.settings import SettingsError, master_key

IDLE_SECONDS = 30.0
"""An idle connection is given up here before the service does it (65 s), so that neither talks into a closed one."""
_SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_OWN = frozenset({b"host", b"x-request-id", b"traceparent", b"expect"})
"""Headers that are ours to write; `Expect` has been answered by our own server."""
_LEFT_OUT = ("User-Agent", "Accept", "Accept-Encoding", "Content-Type")
"""Headers that the client library would add on its own."""

logger = logging.getLogger(__name__)


class Proxy:
    """One pool of connections to every service.

    It keeps no cookies, follows no redirects, reads no proxy variables and decompresses nothing: all of that would
    mix or change what different callers may see.
    """

    def __init__(self, settings: Settings) -> None:
        self._upstreams = {service: url for service, url in settings.upstreams().items() if url}
        self._settings = settings
        self._opened: dict[bool, aiohttp.ClientSession] = {}
        try:
            self._key: bytes | None = key_of(master_key(settings))
        except SettingsError:
            self._key = None

    async def close(self) -> None:
        """Close every connection."""
        for session in self._opened.values():
            await session.close()

    async def get(self, service: str, path: str, *, seconds: float) -> tuple[int, bytes]:
        """A request of our own: status and body. Raises OSError or a TimeoutError when the service is away."""
        base = self._upstreams.get(service)
        if base is None:
            msg = f"no address of {service} is configured"
            raise ConnectionError(msg)
        try:
            async with asyncio.timeout(seconds), self._session().get(URL(base + path), allow_redirects=False) as answer:
                return answer.status, await answer.read()
        except aiohttp.ClientError as error:
            raise ConnectionError(str(error) or type(error).__name__) from error

    def _session(self, path: str = "") -> aiohttp.ClientSession:
        """The connections for a path. Opened at the first request: they belong to the running loop."""
        is_stream = path in domain.STREAMS
        session = self._opened.get(is_stream)
        if session is None:
            limit = self._settings.streams if is_stream else self._settings.connections
            session = self._opened[is_stream] = aiohttp.ClientSession(
                connector=aiohttp.TCPConnector(limit=limit, keepalive_timeout=IDLE_SECONDS),
                timeout=aiohttp.ClientTimeout(
                    connect=self._settings.connect_seconds,
                    sock_connect=self._settings.connect_seconds,
                    sock_read=self._settings.answer_seconds,
                ),
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                skip_auto_headers=_LEFT_OUT,
                trust_env=False,
            )
            # The library would send idempotent requests again by itself, also those whose body has been read away.
            session._retry_connection = False  # noqa: SLF001 - there is no public switch
        return session

    async def forward(self, service: str, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass one request to `service` and its answer back. Raises problems until the answer has begun."""
        base = self._upstreams.get(service)
        if base is None:
            raise _away(service, 503, "is not part of this installation")
        if not domain.is_plain(scope["path"]):
            raise Problem(400, "bad-request", "Bad request", "The path has dot segments or control characters.")
        headers = self._headers(base, scope)
        has_body = headers.get("content-length", "0") != "0" or any(
            n == b"transfer-encoding" for n, _ in scope["headers"]
        )
        # Without a length it goes on in chunks, which the library says by itself.
        body = _Body(receive, self._settings) if has_body else None
        try:
            response = await self._answer(service, base, scope, headers, body)
        except Gone:
            return
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": response.status,
                    "headers": domain.pass_back((name.lower(), value) for name, value in response.raw_headers),
                }
            )
            if "content-length" in response.headers:
                await _pass(response, send)
            else:
                await _pass_while_listened_to(response, receive, send)
        except aiohttp.ClientError as error:
            # The answer has begun: what is left to do is not to end it as if it were whole.
            raise ConnectionError(f"{service} broke off in the middle of its answer") from error
        finally:
            response.release()

    def _headers(self, base: str, scope: Scope) -> CIMultiDict[str]:
        context = context_of(scope)
        client = scope.get("client")
        given = {name: value for name, value in scope["headers"] if name in {b"host", b"content-length"}}
        headers = [(name, value) for name, value in domain.pass_on(scope["headers"]) if name not in _OWN]
        headers.append((b"host", base.partition("://")[2].encode()))
        headers.append((b"x-request-id", context.request_id.encode()))
        headers.append((b"traceparent", context.traceparent.encode()))
        headers.append((b"x-forwarded-proto", scope["scheme"].encode()))
        headers.append((b"x-forwarded-host", given.get(b"host", b"")))
        if client is not None:
            headers.append((b"x-forwarded-for", client[0].encode()))
            if self._key is not None:
                headers.append((CLIENT_HEADER, signed(self._key, client[0])))
        declared = given.get(b"content-length", b"0")
        if not declared.isdigit() or len(declared) > 15 or int(declared) > self._settings.upload_bytes:
            raise _too_large(self._settings.upload_bytes)
        # Header bytes that are no UTF-8 are taken for Latin-1, as they were meant (RFC 9110 §5.5).
        return CIMultiDict((name.decode("ascii"), _text(value)) for name, value in headers)

    async def _answer(
        self, service: str, base: str, scope: Scope, headers: CIMultiDict[str], body: _Body | None
    ) -> aiohttp.ClientResponse:
        """The service's answer, its body not yet read. A safe request is sent again once on a connection gone stale."""
        method = scope["method"]
        raw_path = scope.get("raw_path") or scope["path"].encode()
        query = scope["query_string"]
        # The target goes as it came: building an address from it would decode and encode it once more.
        url = URL(base + (raw_path + (b"?" + query if query else b"")).decode("latin-1"), encoded=True)
        again = method in _SAFE and body is None
        while True:
            try:
                return await self._session(scope["path"]).request(
                    method, url, headers=headers, data=body.chunks() if body else None, allow_redirects=False
                )
            except aiohttp.ClientError as error:
                if body is not None and body.failure is not None:
                    raise body.failure from None
                if again and isinstance(error, aiohttp.ServerDisconnectedError | aiohttp.ClientOSError):
                    again = False
                    if not isinstance(error, aiohttp.ClientConnectorError):
                        continue
                raise _told(service, error) from error


class _Body:
    """A request's body on its way through; `failure` is why it stopped, if it did."""

    def __init__(self, receive: Receive, settings: Settings) -> None:
        self._receive = receive
        self._settings = settings
        self.failure: Exception | None = None

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it comes. Raises what `failure` then holds: the library would hide it behind its own error."""
        try:
            async for chunk in self._chunks():
                yield chunk
        except (Problem, Gone) as error:
            self.failure = error
            raise

    async def _chunks(self) -> AsyncIterator[bytes]:
        size = 0
        while True:
            try:
                async with asyncio.timeout(self._settings.upload_seconds):
                    message = await self._receive()
            except TimeoutError as error:
                raise Problem(408, "body-timeout", "Body too slow", "The body stopped coming.") from error
            if message["type"] == "http.disconnect":
                raise Gone
            chunk = message.get("body", b"")
            size += len(chunk)
            if size > self._settings.upload_bytes:
                raise _too_large(self._settings.upload_bytes)
            if chunk:
                yield chunk
            if not message.get("more_body", False):
                return


def _too_large(limit: int) -> Problem:
    return Problem(413, "body-too-large", "Body too large", f"At most {limit} bytes are taken here.")


def _text(value: bytes) -> str:
    try:
        return value.decode("utf-8")
    except UnicodeDecodeError:
        return value.decode("latin-1")


def _told(service: str, error: aiohttp.ClientError) -> Problem:
    """What a caller is told of a failure before the answer began."""
    match error:
        case aiohttp.ClientConnectorError() | aiohttp.ConnectionTimeoutError():
            return _away(service, 503, "cannot be reached")
        case aiohttp.ServerTimeoutError():
            return _away(service, 504, "did not answer in time")
        case aiohttp.ServerDisconnectedError() | aiohttp.ClientOSError():
            return _away(service, 502, "broke off before it answered")
        case _:
            return _away(service, 502, "gave no readable answer")


async def _pass(response: aiohttp.ClientResponse, send: Send) -> None:
    async for chunk in response.content.iter_any():
        await send({"type": "http.response.body", "body": chunk, "more_body": True})
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _pass_while_listened_to(response: aiohttp.ClientResponse, receive: Receive, send: Send) -> None:
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
