"""`GET /v1/similar`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from starlette.responses import Response

from services.search.api.desk import Desk, reader_of
from services.search.api.models import Similar, hit
from services.search.domain import likeness
from services.search.domain import question as asking
from services.search.domain.document import Source
from services.search.domain.question import Reader
from services.search.domain.wording import Gist, gist
from services.search.store import documents
from shared.http import CurrentPrincipal, Router, problems
from shared.problem import invalid, not_found

_READ = 4000
_WORDS = 12


def routes(desk: Desk) -> Router:
    """Path operations on likeness."""
    router = Router(tags=["search"])

    @router.get("/v1/similar", response_model=Similar, responses=problems(404))
    async def similar_tickets(
        principal: CurrentPrincipal,
        ticket_id: UUID | None = None,
        text: Annotated[str | None, Query(min_length=3, max_length=_READ)] = None,
        limit: Annotated[int, Query(ge=1, le=20)] = 5,
    ) -> Response:
        """Tickets the caller may see that are like a ticket or like a text, by what is public of them."""
        if (ticket_id is None) == (text is None):
            raise invalid(["ticket_id"], "give either ticket_id or text", "query")
        reader = reader_of(principal)
        if ticket_id is not None:
            source = await documents.one(desk.database, reader.tenant_id, ticket_id)
            if source is None or not _visible(reader, source):
                raise not_found("ticket")
            words, like = Gist.of_text(source.gist), _said(source)
            if not words.words:
                words = gist(_head(source)["ticket"]["subject"], source.public_text)
        else:
            like = text or ""
            # The first line of a text says what a subject says.
            subject, _, rest = like.partition("\n")
            words = gist(subject, rest)
        body = asking.similar(
            reader,
            like,
            likeness.telling(words.words, _WORDS),
            without=ticket_id,
            limit=limit,
            seconds=desk.settings.search_seconds,
        )
        answer = await desk.search(reader, body)
        scored = [
            (likeness.alike(words, Gist.of_text(one["_source"].get("gist", ""))), one) for one in answer["hits"]["hits"]
        ]
        ranked = sorted(scored, key=lambda pair: -pair[0])
        items = [{"ticket": hit(one), "likeness": alike} for alike, one in ranked]
        return Response(orjson.dumps({"items": items}), media_type="application/json")

    return router


def _head(source: Source) -> Mapping[str, Any]:
    head: dict[str, Any] = orjson.loads(source.head or "{}")
    return head


def _visible(reader: Reader, source: Source) -> bool:
    """The reader's scope, for a ticket at hand."""
    if reader.all_tickets:
        return True
    head = _head(source)
    people = {head["ticket"]["requester_id"], *head.get("watcher_ids", ())}
    return reader.person_id is not None and str(reader.person_id) in people


def _said(source: Source) -> str:
    return f"{_head(source)['ticket']['subject']}\n{source.public_text}"[:_READ]
