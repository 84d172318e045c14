"""Facts into deliveries: a whole batch in few statements, each hand-off a task, each notice a row.

Order of locks, the same in every transaction: pages, languages, chat answers, courtesies, deliveries, tasks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from uuid import UUID

import structlog

from services.notify.desk.known import Known, Missing, Notices, named
from services.notify.desk.links import Links
from services.notify.desk.speaking import Speaking
from services.notify.domain import occasions, planning
from services.notify.domain.letter import is_identifier, one_line
from services.notify.domain.occasions import Fact
from services.notify.domain.planning import Planned, Staff, State
from services.notify.domain.wording import Setting, values
from services.notify.store import deliveries, pages, people, showing, threads
from services.notify.store.deliveries import MAIL, PAGE
from services.notify.store.notices import Notice
from services.notify.store.threads import ChatReply, Entry
from shared import tasks
from shared.contracts.chat import ChatReplyMissed
from shared.contracts.decision import TicketDecisionApplied
from shared.contracts.directory import PersonChanged, TenantChanged
from shared.contracts.escalation import PageCancelled, PageRequested
from shared.contracts.event import Event
from shared.contracts.message import Channel
from shared.contracts.notification import DeliveryChannel, NotificationFailed
from shared.contracts.pack.notifications import Notifications
from shared.contracts.ticket import TicketCreated, TicketMessageAdded
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received
from shared.tasks import Task
from shared.templates import TemplateFailedError

MAX_TITLE, MAX_BODY = 250, 4000

_ASKING = (ChatReplyMissed, TicketDecisionApplied)
"""Told of to nobody by themselves, and the pack decides what comes of them."""

logger = structlog.get_logger(__name__)


class Telling:
    """Tells people of facts."""

    def __init__(self, known: Known, links: Links, speaking: Speaking) -> None:
        self._known = known
        self._links = links
        self._speaking = speaking

    async def tell(self, tx: Tx, batch: Sequence[Received[Event]]) -> Sequence[Answer]:
        """Make the deliveries of a batch; a tenant without its section has its facts wait."""
        facts = [(one, fact) for one in batch if (fact := occasions.fact_of(one)) is not None]
        asking = [one for one, _ in facts] + [one for one in batch if isinstance(one.event, _ASKING)]
        found = await self._known.notices(sorted({one.event.tenant_id for one in asking}), tx)
        waiting = [
            NotYet(one, "policy", missing.key)
            for one in asking
            if isinstance(missing := found[one.event.tenant_id], Missing)
        ]
        if waiting:
            return waiting
        sections = {tenant: one for tenant, one in found.items() if isinstance(one, Notices)}
        cancelled = await self._pages(tx, batch)
        await self._speaking.hear(tx, batch, sections)
        await threads.add(tx, [entry for one in batch if (entry := _mail_in(one)) is not None])
        told = [fact for _, fact in facts]
        told += await self._chats(tx, batch)
        if not told:
            return ()
        planned = await self._speaking.until_heard(tx, await self._planned(tx, told, sections, cancelled))
        planned, shown = await self._shown(tx, planned, sections)
        fresh = await deliveries.insert(tx, planned)
        new = [one for one in planned if one.id in fresh]
        await showing.show(tx, [one for one in shown if one.id in fresh])
        await tasks.add(tx, [_task(one) for one in new if one.channel == "email" and one.state is State.WAITING])
        causes = {fact.cause_id: one for one, fact in facts}
        return [
            Emit(_expired_page(one, tx), causes.get(one.fact.cause_id))
            for one in new
            if one.state is State.EXPIRED and one.fact.page_id is not None and one.channel == "email"
        ]

    async def _pages(self, tx: Tx, batch: Sequence[Received[Event]]) -> set[UUID]:
        """Keep pages and cancellations; the pages of this batch that are cancelled already."""
        asked = [(one.event, one.time) for one in batch if isinstance(one.event, PageRequested)]
        ended = [(one.event, one.time) for one in batch if isinstance(one.event, PageCancelled)]
        found = await pages.request(tx, asked) if asked else {}
        if ended:
            await pages.cancel(tx, ended)
            over = await deliveries.cancel_pages(tx, sorted({event.page_id for event, _ in ended}))
            for kind in (MAIL, PAGE):
                await tasks.cancel(tx, kind, sorted(map(str, over)))
        return {page.id for page in found.values() if page.cancelled_at is not None}

    async def _chats(self, tx: Tx, batch: Sequence[Received[Event]]) -> list[Fact]:
        """Answers in chats whose visitor had left: told once both the answer and that are known."""
        replies = []
        for one in batch:
            event = one.event
            if isinstance(event, ChatReplyMissed):
                missing = occasions.left(event, one.correlation)
                replies.append(ChatReply(message_id=event.message_id, tenant_id=event.tenant_id, missed=missing))
            elif isinstance(event, TicketMessageAdded) and occasions.answer_in_chat(event):
                fact = occasions.fact_of(one)
                if fact is not None:
                    replies.append(
                        ChatReply(
                            message_id=event.message.message_id,
                            tenant_id=event.tenant_id,
                            facts={"ticket": event.ticket.model_dump(mode="json"), **fact.words},
                        )
                    )
        if not replies:
            return []
        return [
            occasions.missed(one.tenant_id, one.message_id, one.missed, one.facts)
            for one in await threads.chat_replies(tx, replies)
            if one.missed is not None and one.facts is not None
        ]

    async def _planned(
        self, tx: Tx, facts: Sequence[Fact], sections: Mapping[str, Notices], cancelled: set[UUID]
    ) -> list[Planned]:
        packs = {tenant: one.section for tenant, one in sections.items()}
        staff = Staff(
            leads=await self._known.leads({f.ticket.team_id for f in facts if f.ticket and f.ticket.team_id}, tx),
            roles=await people.with_roles(tx, planning.tenants_asked(facts, packs)),
        )
        planned = [one for fact in facts for one in planning.plan(fact, packs[fact.tenant_id], staff, tx.instant)]
        wishes = await people.preferences(tx, {one.recipient_id for one in planned}) if planned else {}
        if wishes:
            staff = replace(staff, preferences={person: one.preference for person, one in wishes.items()})
            planned = [one for fact in facts for one in planning.plan(fact, packs[fact.tenant_id], staff, tx.instant)]
        planned = [
            replace(one, state=State.CANCELLED, reason="cancelled")
            if one.fact.page_id in cancelled and one.state is State.WAITING
            else one
            for one in planned
        ]
        # Told once per ticket, and twice in this batch: the first one counts.
        return await self._bounded(tx, list({one.id: one for one in reversed(planned)}.values())[::-1], packs)

    @staticmethod
    async def _bounded(tx: Tx, planned: list[Planned], packs: Mapping[str, Notifications]) -> list[Planned]:
        """Keep back automatic answers to people who have had too many within the hour."""
        answering = [one for one in planned if one.answering and one.state is State.WAITING and one.channel == "email"]
        # Facts read again after the inbox was lost: what was answered before is not counted again.
        known = await deliveries.known(tx, [one.id for one in answering]) if answering else set()
        answering = [one for one in answering if one.id not in known]
        if not answering:
            return planned
        before = await people.courtesies(tx, {one.recipient_id: one.fact.tenant_id for one in answering})
        kept_back: set[UUID] = set()
        after = dict(before)
        for one in answering:
            limit = packs[one.fact.tenant_id].acknowledgements.per_address_and_hour
            granted, after[one.recipient_id] = planning.allowed(after[one.recipient_id], 1, limit, tx.instant)
            if not granted:
                kept_back.add(one.id)
        await people.save_courtesies(tx, after)
        return [replace(one, state=State.SKIPPED, reason="limited") if one.id in kept_back else one for one in planned]

    async def _shown(
        self, tx: Tx, planned: Sequence[Planned], sections: Mapping[str, Notices]
    ) -> tuple[list[Planned], list[Notice]]:
        """Put what the application shows into words at once: no other system is needed for it."""
        shown = [one for one in planned if one.channel == "app" and one.state is State.WAITING]
        if not shown:
            return list(planned), []
        ids = {one.recipient_id for one in shown}
        for one in shown:
            ids |= set(occasions.named_in(one.fact.facts()).values())
        known = await self._known.people(ids, tx)
        tenants = await self._known.tenants({one.fact.tenant_id for one in shown}, tx)
        rows: dict[UUID, Notice | None] = {}
        for one in shown:
            tenant = tenants.get(one.fact.tenant_id)
            rows[one.id] = self._notice(tx, one, sections[one.fact.tenant_id], tenant, known)
        after = [
            one
            if one.id not in rows
            else replace(one, state=State.DELIVERED)
            if rows[one.id] is not None
            else replace(one, state=State.FAILED, reason="template")
            for one in planned
        ]
        return after, [row for row in rows.values() if row is not None]

    def _notice(
        self,
        tx: Tx,
        planned: Planned,
        section: Notices,
        tenant: TenantChanged | None,
        known: Mapping[UUID, PersonChanged],
    ) -> Notice | None:
        """One notice; None when its template cannot be filled in."""
        fact, reader = planned.fact, known.get(planned.recipient_id)
        facts = fact.facts()
        message = facts.get("message", {})
        desk_name = tenant.name if tenant else fact.tenant_id
        setting = Setting(
            recipient=named(reader),
            people={part: named(known.get(person)) for part, person in occasions.named_in(facts).items()},
            desk_name=desk_name,
            sender=section.section.sender or desk_name,
            phone=section.section.phone or "",
            timezone=(reader.timezone if reader else None) or (tenant.timezone if tenant else "UTC"),
            now=tx.instant,
            ticket_url=self._links.ticket(fact.ticket_id),
            page_url=self._links.page(fact.page_id) if fact.page_id else "",
            text=message.get("text", ""),
            attached=message.get("files", ()),
        )
        wanted = (reader.language if reader else None, *(tenant.languages if tenant else ()))
        try:
            said = section.say(planned.template, wanted, values(facts, setting), mail=False)
        except TemplateFailedError as error:
            logger.error("template cannot be filled in", template=planned.template, reason=str(error))
            return None
        return Notice(
            id=planned.id,
            tenant_id=fact.tenant_id,
            person_id=planned.recipient_id,
            ticket_id=fact.ticket_id,
            template=planned.template,
            title=one_line(said.subject, MAX_TITLE),
            body=said.text.strip().replace("\x00", "")[:MAX_BODY],
            urgent=fact.urgent,
            created_at=tx.instant,
        )


def _task(planned: Planned) -> Task:
    return Task(
        id=planned.id,
        kind=PAGE if planned.fact.urgent else MAIL,
        key=str(planned.id),
        tenant_id=planned.fact.tenant_id,
        due_at=planned.due_at,
    )


def _mail_in(received: Received[Event]) -> Entry | None:
    """What a mail that joined a ticket is called, for References."""
    event = received.event
    if not isinstance(event, (TicketCreated, TicketMessageAdded)):
        return None
    message = event.message
    if message.channel != Channel.EMAIL or message.external_id is None or not is_identifier(message.external_id):
        return None
    return Entry(
        ticket_id=event.ticket_id,
        external_id=message.external_id,
        tenant_id=event.tenant_id,
        recipient_id=None,
        at=message.created_at,
    )


def _expired_page(planned: Planned, tx: Tx) -> NotificationFailed:
    fact = planned.fact
    return NotificationFailed(
        tenant_id=fact.tenant_id,
        ticket_id=fact.ticket_id,
        delivery_id=planned.id,
        channel=DeliveryChannel.EMAIL,
        template=planned.template,
        recipient_id=planned.recipient_id,
        cause_id=fact.cause_id,
        page_id=fact.page_id,
        attempts=0,
        reason="expired",
        failed_at=tx.instant,
    )
