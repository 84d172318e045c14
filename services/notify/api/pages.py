"""`/v1/pages`: a paged person's answer, by the link in the mail (no login) or logged in.

A GET changes nothing: mail scanners and previews follow links. The page it shows has two buttons, which POST.
"""

from __future__ import annotations

from datetime import datetime
from html import escape
from typing import Annotated, ClassVar
from urllib.parse import parse_qs
from uuid import UUID

from fastapi import Path
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import HTMLResponse, Response

from services.notify.api.desk import Desk, own_person
from services.notify.store import pages
from services.notify.store.pages import Page as StoredPage
from shared.contracts.escalation import PageAnswer
from shared.http import CurrentPrincipal, Page, Router, correlation, problems, traceparent
from shared.problem import conflict, invalid, not_found

Token = Annotated[str, Path(min_length=43, max_length=43, pattern=r"^[A-Za-z0-9_-]{43}$")]
_HEADERS = {
    "Cache-Control": "no-store",
    "Content-Security-Policy": (
        "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    ),
    "X-Robots-Tag": "noindex, nofollow",
}
_SHEET = (
    "body{font:1.1rem/1.5 system-ui,sans-serif;max-width:34rem;margin:3rem auto;padding:0 1rem;color:#1a1a1a}"
    "h1{font-size:1.3rem}button{font:inherit;padding:.7rem 1.4rem;margin:.3rem .6rem .3rem 0;border-radius:.4rem;"
    "border:1px solid #555;background:#fff;cursor:pointer}"
    "button.yes{background:#0b6b2e;border-color:#0b6b2e;color:#fff}"
)


class PageView(BaseModel):
    """A page to one person."""

    page_id: UUID
    ticket_id: UUID
    number: str | None = Field(description="The ticket's.")
    reason: str | None
    urgency: str | None
    requested_at: datetime | None
    expires_at: datetime | None
    cancelled_at: datetime | None
    answer: str | None
    answered_at: datetime | None

    @classmethod
    def of(cls, page: StoredPage) -> PageView:
        """As it is shown."""
        return cls(
            page_id=page.id,
            ticket_id=page.ticket_id,
            number=page.number,
            reason=page.reason,
            urgency=page.urgency,
            requested_at=page.requested_at,
            expires_at=page.expires_at,
            cancelled_at=page.cancelled_at,
            answer=page.answer,
            answered_at=page.answered_at,
        )


class PageAnswered(BaseModel):
    """What a paged person says."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    answer: PageAnswer


def routes(desk: Desk) -> Router:
    """Path operations on pages."""
    router = Router(tags=["pages"])

    @router.get("/v1/pages")
    async def list_pages(principal: CurrentPrincipal) -> Page[PageView]:
        """The caller's newest pages."""
        found = await pages.of_person(desk.database, principal.tenant_id, own_person(principal))
        return Page[PageView](items=[PageView.of(one) for one in found])

    @router.post("/v1/pages/{page_id}/response", responses=problems(409))
    async def answer_page(request: Request, principal: CurrentPrincipal, page_id: UUID, said: PageAnswered) -> PageView:
        """Acknowledge or decline a page of one's own; the first answer counts."""
        page = await desk.answering.look(page_id)
        if page is None or page.tenant_id != principal.tenant_id or page.person_id != own_person(principal):
            raise not_found("page")
        after, counted = await desk.answering.answer(
            page_id, said.answer, "app", correlation(request), traceparent(request)
        )
        if after is None:
            raise not_found("page")
        if not counted and after.cancelled_at is not None and after.answer is None:
            raise conflict("page-cancelled", "Page cancelled", "It is not needed any more.")
        if not counted and after.answer != said.answer.value:
            raise conflict("page-answered", "Page answered", f"It was {after.answer} before.")
        return PageView.of(after)

    @router.get("/v1/pages/{token}", response_class=HTMLResponse, openapi_extra={"security": []})
    async def show_page(token: Token) -> Response:
        """The page that a link in a mail leads to."""
        page_id = desk.links.page_of(token)
        page = await desk.answering.look(page_id) if page_id else None
        if page is None:
            raise not_found("page")
        return _html(page)

    @router.post("/v1/pages/{token}", response_class=HTMLResponse, openapi_extra=_FORM)
    async def answer_by_link(request: Request, token: Token) -> Response:
        """Answer by one of its two buttons."""
        page_id = desk.links.page_of(token)
        if page_id is None:
            raise not_found("page")
        given = parse_qs((await request.body()).decode("latin-1"), max_num_fields=10).get("answer", [""])
        try:
            said = PageAnswer(given[0])
        except ValueError:
            raise invalid(["answer"], "acknowledged or declined") from None
        page, _ = await desk.answering.answer(page_id, said, "link", correlation(request), traceparent(request))
        if page is None:
            raise not_found("page")
        return _html(page)

    return router


_FORM = {
    "security": [],
    "requestBody": {
        "required": True,
        "content": {
            "application/x-www-form-urlencoded": {
                "schema": {
                    "type": "object",
                    "required": ["answer"],
                    "properties": {"answer": {"type": "string", "enum": [one.value for one in PageAnswer]}},
                }
            }
        },
    },
}


def _html(page: StoredPage) -> HTMLResponse:
    """A page as a small document: nothing loaded, nothing run, everything escaped."""
    title = escape(f"{page.number or 'Ticket'}: {page.reason or ''}")
    if page.answer is not None:
        said = "acknowledged" if page.answer == PageAnswer.ACKNOWLEDGED.value else "declined"
        at = f"{page.answered_at:%Y-%m-%d %H:%M} UTC" if page.answered_at else ""
        body = f"<p>You have <strong>{said}</strong> this page{f' at {at}' if at else ''}. Nothing else to do here.</p>"
    elif page.cancelled_at is not None:
        body = "<p>This page is <strong>not needed any more</strong>: somebody has it, or it is over.</p>"
    else:
        until = f"<p>Until {page.expires_at:%Y-%m-%d %H:%M} UTC.</p>" if page.expires_at else ""
        body = (
            f"{until}<form method='post'>"
            "<button class='yes' name='answer' value='acknowledged'>Acknowledge: I take it</button>"
            "<button name='answer' value='declined'>Decline: call the next one</button></form>"
        )
    document = (
        "<!doctype html><html lang='en'><head><meta charset='utf-8'>"
        "<meta name='viewport' content='width=device-width,initial-scale=1'>"
        f"<title>{title}</title><style>{_SHEET}</style></head><body><main><h1>{title}</h1>{body}</main></body></html>"
    )
    return HTMLResponse(document, headers=_HEADERS)
