"""What the edge learnt of one request, for everything below it."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from starlette.requests import Request

from shared.auth import Principal

SCOPE_KEY = "deskwire"
UNPARSED = object()
"""No JSON body was read."""

_REQUEST_ID = re.compile(rb"[A-Za-z0-9._:-]{1,128}")
_TRACEPARENT = re.compile(rb"00-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})")
_NO_TRACE = b"0" * 32
_NO_SPAN = b"0" * 16


@dataclass(slots=True)
class Context:
    """One request: its ids, its body once read, and headers its answer gets."""

    request_id: str
    traceparent: str
    body: bytes = b""
    json: Any = UNPARSED
    principal: Principal | None = None
    """Set once the guard has admitted the caller."""
    response_headers: list[tuple[bytes, bytes]] = field(default_factory=list)


def request_id_from(header: bytes | None) -> str:
    """The caller's X-Request-Id if it is harmless in a log line, else a new one."""
    if header is not None and _REQUEST_ID.fullmatch(header):
        return header.decode("ascii")
    return os.urandom(16).hex()


def traceparent_from(header: bytes | None) -> str:
    """A W3C traceparent for our span: in the caller's trace if it names one, else in a new one."""
    match = _TRACEPARENT.fullmatch(header) if header is not None else None
    span = os.urandom(8).hex()
    if match is None or match[1] == _NO_TRACE or match[2] == _NO_SPAN:
        return f"00-{os.urandom(16).hex()}-{span}-00"
    return f"00-{match[1].decode()}-{span}-{match[3].decode()}"


def context_of(source: Request | Mapping[str, Any]) -> Context:
    """The context of a request or scope under `api()`."""
    scope = source.scope if isinstance(source, Request) else source
    found: Context = scope[SCOPE_KEY]
    return found


def correlation(request: Request) -> str:
    """The id that every event caused by this request carries; also the X-Request-Id of the answer."""
    return context_of(request).request_id


def traceparent(request: Request) -> str:
    """The W3C traceparent for events and calls made on behalf of this request."""
    return context_of(request).traceparent
