"""The outermost layer of every API: limits before work, ids on everything, an answer for every failure.

Pure ASGI. A body is read once, whole, within its limit and its time, and JSON is parsed once (`strict.parse`); the
routes below take the parsed value from the context.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping
from typing import Any

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from shared.http import strict
from shared.http.context import SCOPE_KEY, Context, request_id_from, traceparent_from
from shared.http.errors import problem_of, render
from shared.problem import Problem

DEFAULT_BODY_LIMIT = 1_000_000
BODY_SECONDS = 10.0
"""How long a client may take per started megabyte of its path's limit."""

WRITE_SECONDS = 30.0
"""How long a client may leave a part of a streamed answer unread."""

STANDING_HEADERS: tuple[tuple[bytes, bytes], ...] = (
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"no-referrer"),
    (b"cross-origin-resource-policy", b"same-origin"),
    (b"content-security-policy", b"default-src 'none'; frame-ancestors 'none'"),
)
"""Added unless the answer has its own."""

_WANTED = frozenset(
    {b"content-length", b"transfer-encoding", b"content-type", b"content-encoding", b"x-request-id", b"traceparent"}
)

logger = logging.getLogger(__name__)


class Gone(Exception):  # noqa: N818 - not an error of ours
    """The client left before its body was complete."""


class Edge:
    """ASGI middleware around one API.

    `body_limits` maps a path, or a prefix that ends in `/`, to the largest body it takes, in bytes. With
    `reads_body=False` the app reads its bodies itself (a proxy, which streams them).
    """

    def __init__(
        self,
        app: ASGIApp,
        *,
        body_limit: int = DEFAULT_BODY_LIMIT,
        body_limits: Mapping[str, int] | None = None,
        body_seconds: float = BODY_SECONDS,
        reads_body: bool = True,
    ) -> None:
        self.app = app
        self._reads_body = reads_body
        self._limit = body_limit
        limits = body_limits or {}
        self._exact = {path: size for path, size in limits.items() if not path.endswith("/")}
        self._prefixes = sorted(((p, s) for p, s in limits.items() if p.endswith("/")), key=lambda item: -len(item[0]))
        self._seconds = body_seconds

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request; answers a problem for whatever fails, never lets an exception through."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        wanted = {name: value for name, value in scope["headers"] if name in _WANTED}
        context = Context(request_id_from(wanted.get(b"x-request-id")), traceparent_from(wanted.get(b"traceparent")))
        scope[SCOPE_KEY] = context
        started = False

        async def send_with_headers(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                message["headers"] = _headers(message.get("headers", ()), context)
            if message.get("more_body"):
                # A reader who stops reading must not hold a handler, and what it holds, for ever.
                async with asyncio.timeout(WRITE_SECONDS):
                    await send(message)
            else:
                await send(message)

        tokens = structlog.contextvars.bind_contextvars(correlation=context.request_id)
        try:
            try:
                _refuse_nul(scope)
                if self._reads_body and (b"content-length" in wanted or b"transfer-encoding" in wanted):
                    context.body = await self._read(scope["path"], wanted, receive)
                    if context.body and _is_json(wanted.get(b"content-type", b"")):
                        context.json = strict.parse(context.body)
                    receive = _replay(context.body, receive)
                await self.app(scope, receive, send_with_headers)
            except Gone:
                return
            except Exception as error:
                problem = problem_of(error)
                if started:
                    # Too late for an answer: end the connection so that the client sees that it is cut.
                    raise
                await render(problem, context.request_id)(scope, receive, send_with_headers)
        finally:
            structlog.contextvars.reset_contextvars(**tokens)

    def _limit_of(self, path: str) -> int:
        exact = self._exact.get(path)
        if exact is not None:
            return exact
        for prefix, size in self._prefixes:
            if path.startswith(prefix):
                return size
        return self._limit

    async def _read(self, path: str, wanted: Mapping[bytes, bytes], receive: Receive) -> bytes:
        """The whole body. Raises 413, 415 and 408 problems; Gone when the client leaves."""
        limit = self._limit_of(path)
        encoding = wanted.get(b"content-encoding", b"").strip().lower()
        if encoding not in (b"", b"identity"):
            # A compressed body's size is unknown until it has done its harm.
            raise Problem(
                415,
                "content-encoding",
                "Encoding not taken",
                "Send the body uncompressed.",
                headers={"Accept-Encoding": "identity"},
            )
        declared = wanted.get(b"content-length", b"0")
        if not declared.isdigit():
            raise Problem(400, "bad-request", "Bad request", "Content-Length is not a number.")
        if len(declared) > 15 or int(declared) > limit:
            raise _too_large(limit)
        if declared == b"0" and b"transfer-encoding" not in wanted:
            return b""
        seconds = self._seconds * max(1, -(-limit // DEFAULT_BODY_LIMIT))
        try:
            async with asyncio.timeout(seconds):
                return await _collect(limit, receive)
        except TimeoutError as error:
            raise Problem(
                408, "body-timeout", "Body too slow", f"The body was not complete after {seconds:g} s."
            ) from error


async def _collect(limit: int, receive: Receive) -> bytes:
    chunks: list[bytes] = []
    size = 0
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise Gone
        chunk = message.get("body", b"")
        if chunk:
            size += len(chunk)
            if size > limit:
                raise _too_large(limit)
            chunks.append(chunk)
        if not message.get("more_body", False):
            return chunks[0] if len(chunks) == 1 else b"".join(chunks)


def _too_large(limit: int) -> Problem:
    return Problem(413, "body-too-large", "Body too large", f"At most {limit} bytes are taken here.")


def _replay(body: bytes, receive: Receive) -> Receive:
    """A `receive` that gives the body already read in one message, then what really comes (the disconnect)."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay


def _is_json(content_type: bytes) -> bool:
    kind = content_type.split(b";", 1)[0].strip().lower()
    return kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))


def _refuse_nul(scope: Scope) -> None:
    """PostgreSQL's text knows no NUL; nobody has a reason to put one into an address."""
    if "\0" in scope["path"] or b"%00" in scope["query_string"]:
        raise Problem(400, "bad-request", "Bad request", "The address has a NUL character.")


def _headers(given: Any, context: Context) -> list[tuple[bytes, bytes]]:
    """The answer's headers with ours; one that is there already (from behind a proxy) stays as it is."""
    headers = list(given)
    names = {name for name, _ in headers}
    for name, value in (
        (b"x-request-id", context.request_id.encode("ascii")),
        (b"traceparent", context.traceparent.encode("ascii")),
        # A version with a tag may be kept by its reader, if it asks again each time.
        (b"cache-control", b"private, no-cache" if b"etag" in names else b"no-store"),
        *STANDING_HEADERS,
    ):
        if name not in names:
            headers.append((name, value))
    headers += context.response_headers
    return headers
