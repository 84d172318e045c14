"""uvicorn's HTTP/1.1 with an end to everything: request heads have a size and a time.

httptools takes a head of any length and waits for it for ever (measured: 50 MB of one header are all kept), which a
handful of connections turn into no memory or no file descriptors. Bodies are the edge's business.
"""

from __future__ import annotations

import asyncio
from typing import Any

import orjson
from typing_extensions import override
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from shared.problem import MEDIA_TYPE, Problem

HEAD_BYTES = 65_536
"""Longest request line and headers together, beyond what the first read brings."""
HEAD_SECONDS = 10.0
"""Longest time from a connection, or a request's first byte, to the end of its headers."""


class BoundedProtocol(HttpToolsProtocol):
    """Give it to uvicorn as `http=BoundedProtocol`."""

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self._begun = False
        """Between the first byte of a request and the end of its headers."""
        self._head_bytes = 0
        self._head_timer: asyncio.TimerHandle | None = None

    @override
    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Expect a request soon."""
        super().connection_made(transport)
        self._expect_head()

    @override
    def connection_lost(self, exc: Exception | None) -> None:
        """Forget the deadline."""
        self._head_done()
        super().connection_lost(exc)

    @override
    def data_received(self, data: bytes) -> None:
        """Parse, then see whether a head is still incomplete and too long.

        The read in which a head begins is not counted: most of it may be the body before.
        """
        counted = self._begun
        super().data_received(data)
        if not self._begun or self.transport.is_closing():
            return
        if counted:
            self._head_bytes += len(data)
        if self._head_bytes > HEAD_BYTES:
            self._refuse(Problem(431, "head-too-large", "Request head too large", f"At most {HEAD_BYTES} bytes."))
        elif self._head_timer is None:
            # Usual heads come whole: only one that came in part needs a timer.
            self._expect_head()

    @override
    def on_message_begin(self) -> None:
        """A head begins."""
        self._begun = True
        self._head_bytes = 0
        super().on_message_begin()

    @override
    def on_headers_complete(self) -> None:
        """The head is complete."""
        self._begun = False
        self._head_done()
        super().on_headers_complete()

    @override
    def send_400_response(self, msg: str) -> None:
        """A request that cannot be parsed gets a problem like every other error."""
        self._refuse(Problem(400, "bad-request", "Bad request", msg))

    def _expect_head(self) -> None:
        self._head_timer = self.loop.call_later(HEAD_SECONDS, self._head_late)

    def _head_done(self) -> None:
        if self._head_timer is not None:
            self._head_timer.cancel()
            self._head_timer = None

    def _head_late(self) -> None:
        self._head_timer = None
        if self.transport.is_closing():
            return
        if self._begun:
            self._refuse(Problem(408, "head-timeout", "Request too slow", f"Headers take at most {HEAD_SECONDS:g} s."))
        else:
            self.transport.close()

    def _refuse(self, problem: Problem) -> None:
        self._head_done()
        if self.cycle is not None and not self.cycle.response_complete:
            # An answer is on its way to an earlier request: a second one in its midst would be taken for its body.
            self.transport.close()
            return
        body = orjson.dumps(problem.document())
        head = STATUS_LINE.get(problem.status, b"HTTP/1.1 400 Bad Request\r\n")
        fields = f"content-type: {MEDIA_TYPE}\r\ncontent-length: {len(body)}\r\nconnection: close\r\n\r\n"
        self.transport.write(head + fields.encode("ascii") + body)
        self.transport.close()
