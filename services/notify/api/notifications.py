"""`/v1/notifications`: what was told to whom, what became of it, once more what failed; a person's own notices."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, ClassVar, Literal
from uuid import UUID

from fastapi import Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from services.notify.api.desk import Desk, own_person
from services.notify.domain.planning import State
from services.notify.store import deliveries, notices
from services.notify.store.deliveries import MAIL, PAGE, Delivery
from services.notify.store.notices import Notice
from shared import tasks
from shared.auth import Principal
from shared.auth.permissions import Permission, allows, require
from shared.http import CurrentPrincipal, CursorText, Page, PageLimit, Router, page_link, problems, query_of
from shared.problem import conflict, not_found
from shared.tasks import Task

Word = Annotated[str, Query(min_length=1, max_length=100)]


class NotificationView(BaseModel):
    """One delivery to one person, without its words."""

    id: UUID
    ticket_id: UUID
    event: str = Field(description="Type of the fact that was told, without its version.")
    template: str
    channel: Literal["email", "app"]
    recipient_id: UUID
    message_id: UUID | None = Field(description="The ticket's message it carries.")
    page_id: UUID | None
    state: State
    reason: str | None = Field(description="Why it failed or was kept back: `refused`, `suppressed`, `limited`, …")
    attempts: int = Field(description="Times it was handed to the next system.")
    doubtful: int = Field(description="Attempts of which nobody knows how they ended: it may have arrived twice.")
    answer: str | None = Field(description="What the next system said last, without addresses.")
    external_id: str | None = Field(description="The mail's Message-ID without angle brackets.")
    created_at: datetime
    changed_at: datetime

    @classmethod
    def of(cls, delivery: Delivery) -> NotificationView:
        """As it is shown."""
        return cls(
            id=delivery.id,
            ticket_id=delivery.ticket_id,
            event=delivery.occasion,
            template=delivery.template,
            channel="app" if delivery.channel == "app" else "email",
            recipient_id=delivery.recipient_id,
            message_id=delivery.message_id,
            page_id=delivery.page_id,
            state=delivery.state,
            reason=delivery.reason,
            attempts=delivery.attempts,
            doubtful=delivery.doubtful,
            answer=delivery.answer,
            external_id=delivery.external_id,
            created_at=delivery.created_at,
            changed_at=delivery.changed_at,
        )


class NoticeView(BaseModel):
    """One line in the application."""

    id: UUID
    ticket_id: UUID | None
    template: str
    title: str
    body: str
    urgent: bool
    created_at: datetime
    read_at: datetime | None

    @classmethod
    def of(cls, notice: Notice) -> NoticeView:
        """As it is shown."""
        return cls(
            id=notice.id,
            ticket_id=notice.ticket_id,
            template=notice.template,
            title=notice.title,
            body=notice.body,
            urgent=notice.urgent,
            created_at=notice.created_at,
            read_at=notice.read_at,
        )


class NoticesRead(BaseModel):
    """Which notices were seen."""

    model_config: ClassVar[ConfigDict] = ConfigDict(extra="forbid")

    ids: list[UUID] | None = Field(None, max_length=500, description="Left out: all of them.")


class NoticesMarked(BaseModel):
    """How many of them were new."""

    marked: int


def routes(desk: Desk) -> Router:
    """Path operations on deliveries and notices."""
    router = Router(tags=["notifications"])

    @router.get("/v1/notifications")
    async def list_notifications(
        *,
        request: Request,
        response: Response,
        principal: CurrentPrincipal,
        ticket_id: Annotated[UUID | None, Query()] = None,
        recipient_id: Annotated[UUID | None, Query()] = None,
        state: Annotated[State | None, Query()] = None,
        channel: Annotated[Literal["email", "app"] | None, Query()] = None,
        template: Annotated[Word | None, Query()] = None,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[NotificationView]:
        """Deliveries, newest first: of the whole desk for who may read all tickets, else one's own."""
        only = _scope(principal)
        if only is not None and recipient_id not in {None, only}:
            return Page[NotificationView](items=[])
        found = await deliveries.page(
            desk.database,
            principal.tenant_id,
            recipient_id=only or recipient_id,
            ticket_id=ticket_id,
            state=state,
            channel=channel,
            template=template,
            before=_position(desk, request, principal, cursor),
            limit=limit + 1,
        )
        page, following = desk.cursor.cut(request, _owner(principal), found, limit, _place)
        response.headers.update(page_link(request, following))
        return Page[NotificationView](items=[NotificationView.of(one) for one in page], next_cursor=following)

    @router.get("/v1/notifications/notices")
    async def list_notices(
        *,
        request: Request,
        response: Response,
        principal: CurrentPrincipal,
        unread: Annotated[bool, Query(description="Only those not seen yet.")] = False,
        limit: PageLimit = 50,
        cursor: CursorText = None,
    ) -> Page[NoticeView]:
        """What the caller was told in the application, newest first."""
        person = own_person(principal)
        before = _position(desk, request, principal, cursor)
        found = await notices.page(
            desk.database, principal.tenant_id, person, unread=unread, before=before, limit=limit + 1
        )
        page, following = desk.cursor.cut(request, _owner(principal), found, limit, _place)
        response.headers.update(page_link(request, following))
        return Page[NoticeView](items=[NoticeView.of(one) for one in page], next_cursor=following)

    @router.post("/v1/notifications/notices/read")
    async def mark_notices(principal: CurrentPrincipal, seen: NoticesRead) -> NoticesMarked:
        """Remember that the caller has seen notices of theirs."""
        person = own_person(principal)
        return NoticesMarked(marked=await notices.mark_read(desk.database, principal.tenant_id, person, seen.ids))

    @router.get("/v1/notifications/{notification_id}")
    async def get_notification(principal: CurrentPrincipal, notification_id: UUID) -> NotificationView:
        """One delivery."""
        only = _scope(principal)
        found = await deliveries.read(desk.database, notification_id)
        if found is None or found.tenant_id != principal.tenant_id or only not in {None, found.recipient_id}:
            raise not_found("notification")
        return NotificationView.of(found)

    @router.post("/v1/notifications/{notification_id}/retry", status_code=202, responses=problems(409))
    async def retry_notification(principal: CurrentPrincipal, notification_id: UUID) -> NotificationView:
        """Hand a failed delivery over once more, with as many attempts as a new one, under the same Message-ID."""
        only = _scope(principal)
        async with desk.database.begin() as tx:
            found = await deliveries.lock(tx, principal.tenant_id, notification_id)
            if found is None or only not in {None, found.recipient_id}:
                raise not_found("notification")
            require(principal, Permission.TICKET_UPDATE)
            if found.state is not State.FAILED or found.facts is None:
                raise conflict("not-failed", "Not failed", f"Only a failed mail is tried again; it is {found.state}.")
            await deliveries.revive(tx, found.id)
            kind = PAGE if found.urgent else MAIL
            # A parked task would still hold the id.
            await tasks.cancel(tx, kind, [str(found.id)])
            task = Task(id=found.id, kind=kind, key=str(found.id), tenant_id=found.tenant_id)
            await tasks.add(tx, [task])
            after = await deliveries.read(tx, found.id)
        return NotificationView.of(after or found)

    return router


def _scope(principal: Principal) -> UUID | None:
    """Whose deliveries the caller may see: None for everybody's of the tenant, else their own."""
    if allows(principal, Permission.TICKET_READ):
        return None
    require(principal, Permission.TICKET_READ_OWN)
    return own_person(principal)


def _position(desk: Desk, request: Request, principal: Principal, cursor: str | None) -> tuple[datetime, UUID] | None:
    if cursor is None:
        return None
    at, identity = desk.cursor.decode(cursor, _owner(principal), query_of(request))
    return datetime.fromisoformat(at), UUID(identity)


def _place(one: Delivery | Notice) -> list[str]:
    """Where one stands in a listing."""
    return [one.created_at.isoformat(), str(one.id)]


def _owner(principal: Principal) -> str:
    """Whom a cursor is for: lists differ between people."""
    return principal.account
