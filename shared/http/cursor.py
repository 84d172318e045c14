"""Cursors: where a listing goes on. Opaque, signed, and good only for the tenant and query they were made for."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
from collections.abc import Callable, Sequence
from typing import Annotated, Any, Generic, TypeVar
from urllib.parse import parse_qsl, urlencode

import orjson
from fastapi import Query
from pydantic import BaseModel
from starlette.requests import Request

from shared.auth import derive
from shared.problem import FieldError, Problem

_SIGNATURE = 16
_PAGING = frozenset({"cursor", "limit"})

ItemT = TypeVar("ItemT")

PageLimit = Annotated[int, Query(ge=1, le=200, description="How many to list.")]
CursorText = Annotated[str | None, Query(max_length=1024, description="`next_cursor` of the page before.")]


class Page(BaseModel, Generic[ItemT]):
    """One page of a listing."""

    items: list[ItemT]
    next_cursor: str | None = None
    """For the next page; absent on the last."""


class Cursor:
    """Makes and reads cursors with a key derived from the master key, so that they outlive restarts."""

    def __init__(self, master: bytes) -> None:
        self._key = derive(master, "cursor")

    def encode(self, tenant_id: str, query: str, position: Sequence[Any]) -> str:
        """A cursor that continues after `position`: the sort key of the last item, as JSON values.

        `query` says what was listed (`query_of(request)`); a cursor is refused for any other.
        """
        payload = orjson.dumps(list(position))
        return base64.urlsafe_b64encode(self._sign(tenant_id, query, payload) + payload).rstrip(b"=").decode()

    def decode(self, cursor: str, tenant_id: str, query: str) -> list[Any]:
        """The position in a cursor. Raises a 422 problem for one that was not made for this tenant and query."""
        try:
            raw = base64.b64decode(cursor + "=" * (-len(cursor) % 4), altchars=b"-_", validate=True)
        except (binascii.Error, ValueError) as error:
            raise _refused() from error
        signature, payload = raw[:_SIGNATURE], raw[_SIGNATURE:]
        if not hmac.compare_digest(signature, self._sign(tenant_id, query, payload)):
            raise _refused()
        position = orjson.loads(payload)
        if not isinstance(position, list):
            raise _refused()
        return position

    def cut(
        self,
        request: Request,
        tenant_id: str,
        found: Sequence[ItemT],
        limit: int,
        position: Callable[[ItemT], Sequence[Any]],
    ) -> tuple[Sequence[ItemT], str | None]:
        """One page of `found`, which was asked for one item more than the page has, and the cursor of the next one.

        `position` is an item's sort key as JSON values. The cursor is None when nothing follows.
        """
        if len(found) <= limit:
            return found, None
        page = found[:limit]
        return page, self.encode(tenant_id, query_of(request), position(page[-1]))

    def _sign(self, tenant_id: str, query: str, payload: bytes) -> bytes:
        scope = hashlib.sha256(orjson.dumps([tenant_id, query])).digest()
        return hmac.digest(self._key, scope + payload, "sha256")[:_SIGNATURE]


def _refused() -> Problem:
    return Problem(
        422,
        "invalid-cursor",
        "Invalid cursor",
        "The cursor does not belong to this listing; start again without it.",
        errors=[FieldError.at(["cursor"], "not a cursor of this listing", "query")],
    )


def query_of(request: Request) -> str:
    """What a listing asks for: its path and its parameters in a fixed order, paging apart."""
    pairs = sorted((k, v) for k, v in parse_qsl(request.url.query, keep_blank_values=True) if k not in _PAGING)
    return f"{request.url.path}?{urlencode(pairs)}"


def page_link(request: Request, next_cursor: str | None) -> dict[str, str]:
    """The `Link` header of a page (RFC 8288): the same address with the next cursor; empty on the last page.

    Relative, so that it holds behind any proxy.
    """
    if next_cursor is None:
        return {}
    pairs = [(k, v) for k, v in parse_qsl(request.url.query, keep_blank_values=True) if k != "cursor"]
    return {"Link": f'<{request.url.path}?{urlencode([*pairs, ("cursor", next_cursor)])}>; rel="next"'}
