"""`GET /v1/search`."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

import orjson
from fastapi import Query
from pydantic import StringConstraints
from starlette.requests import Request
from starlette.responses import Response

from services.search.api.desk import Desk, reader_of
from services.search.api.models import SearchPage, hit
from services.search.domain import question as asking
from services.search.domain.question import FACETS, MAX_QUERY, SORTS, Question, QuestionError
from shared.contracts.pack import StateCategory
from shared.http import CurrentPrincipal, CursorText, Router, SingleLine, page_link, query_of
from shared.problem import invalid

Word = Annotated[SingleLine, StringConstraints(min_length=1, max_length=64)]
Words = Annotated[list[Word] | None, Query(max_length=20)]
People = Annotated[list[UUID] | None, Query(max_length=20, description="Ids; any of them.")]
Text = Annotated[
    str,
    Query(
        max_length=MAX_QUERY,
        description='Words (all of them), "phrases", -without, one|other, begin*; or a ticket\'s number.',
    ),
]
Sorting = Annotated[str, Query(pattern=f"^({'|'.join(SORTS)})$", description="`-` for descending.")]


def routes(desk: Desk) -> Router:
    """Path operations on searches."""
    router = Router(tags=["search"])

    @router.get("/v1/search", response_model=SearchPage)
    async def search_tickets(
        request: Request,
        principal: CurrentPrincipal,
        *,
        q: Text = "",
        status: Words = None,
        category: Annotated[list[StateCategory] | None, Query(max_length=20)] = None,
        about: Words = None,
        priority: Words = None,
        queue: Words = None,
        assignee: People = None,
        team: People = None,
        requester: People = None,
        organisation: People = None,
        tag: Words = None,
        language: Words = None,
        product: Words = None,
        tier: Words = None,
        channel: Words = None,
        from_: Annotated[
            datetime | None, Query(alias="from", description="Created then or later; with a zone.")
        ] = None,
        to: Annotated[datetime | None, Query(description="Created before; with a zone.")] = None,
        merged: Annotated[bool, Query(description="Also those that go on in another ticket.")] = False,
        facets: Annotated[str, Query(max_length=300, description=f"Of {', '.join(FACETS)}; by commas.")] = "",
        sort: Sorting | None = None,
        limit: Annotated[int, Query(ge=1, le=100)] = 20,
        cursor: CursorText = None,
    ) -> Response:
        """Tickets the caller may see, by text and by what they are; newest change first where no text is given."""
        given: dict[str, Sequence[object] | None] = {
            "status": status,
            "category": category,
            "about": about,
            "priority": priority,
            "queue": queue,
            "assignee": assignee,
            "team": team,
            "requester": requester,
            "organisation": organisation,
            "tag": [value.casefold() for value in tag] if tag else None,
            "language": language,
            "product": product,
            "tier": tier,
            "channel": channel,
        }
        for name, at in (("from", from_), ("to", to)):
            if at is not None and at.tzinfo is None:
                raise invalid([name], "an instant needs a zone", "query")
        chosen = sort or ("relevance" if q.strip() else "-updated_at")
        position = desk.cursor.decode(cursor, principal.tenant_id, query_of(request)) if cursor else None
        reader = reader_of(principal)
        asked = Question(
            text=q,
            filters={name: [str(value) for value in values] for name, values in given.items() if values},
            created_from=from_,
            created_to=to,
            merged=merged,
            facets=_facets(facets),
            sort=chosen,
            after=position,
            limit=limit + 1,
        )
        try:
            body = asking.request(reader, asked, seconds=desk.settings.search_seconds)
        except QuestionError as error:
            raise invalid(["q"], str(error), "query") from error
        answer = await desk.search(reader, body)
        found, following = desk.cursor.cut(
            request, principal.tenant_id, answer["hits"]["hits"], limit, lambda one: one["sort"]
        )
        total = answer["hits"]["total"]
        page: dict[str, Any] = {
            "items": [hit(one) for one in found],
            "total": total["value"],
            "total_exact": total["relation"] == "eq",
            "facets": {
                name: [{"value": str(b["key"]), "count": b["doc_count"]} for b in buckets["buckets"]]
                for name, buckets in answer.get("aggregations", {}).items()
            },
            "next_cursor": following,
        }
        return Response(orjson.dumps(page), headers=page_link(request, following), media_type="application/json")

    return router


def _facets(given: str) -> tuple[str, ...]:
    """The facets asked for. Raises a 422 problem that names those there are."""
    names = tuple(dict.fromkeys(name.strip() for name in given.split(",") if name.strip()))
    unknown = [name for name in names if name not in FACETS]
    if unknown:
        raise invalid(["facets"], f"no such facet; there are {', '.join(FACETS)}", "query")
    return names
