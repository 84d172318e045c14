"""Tickets, messages, people's changes and requesters as they come: a batch is locked, read, decided, saved, told."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID, uuid5

from services.triage.desk.known import Known
from services.triage.domain.facts import Said, language_tag
from services.triage.domain.record import Correction, Record, Told, by_staff, corrected, judge
from services.triage.domain.ruleset import Ruleset
from services.triage.store import history, records
from shared import tasks
from shared.contracts.directory import PersonChanged
from shared.contracts.ticket import (
    AuthorKind,
    TicketCreated,
    TicketEvent,
    TicketMessage,
    TicketMessageAdded,
    TicketUpdated,
    Visibility,
)
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received

READ_TEXT = "read_text"
"""Kind of the tasks that fetch a text too long for its event."""
TIER_PATIENCE = timedelta(minutes=15)
"""A tier that directory tells later than this after the decision changes nothing any more."""
RULES_PAUSE = timedelta(minutes=1)
MOST_REDECIDED = 500
"""Tickets decided again in one transaction when their requesters' tiers become known."""

EventT = TypeVar("EventT", bound=TicketEvent)


@dataclass(frozen=True, slots=True)
class Trace:
    """What a task remembers of the event that asked for it."""

    correlation: str | None = None
    traceparent: str | None = None


@dataclass(slots=True)
class _Work:
    """One batch: the records it touches, and what comes of it."""

    records: dict[UUID, Record]
    changed: set[UUID] = field(default_factory=set)
    told: list[Told] = field(default_factory=list)
    corrections: list[Correction] = field(default_factory=list)
    answers: list[Emit] = field(default_factory=list)
    tasks: list[tasks.Task] = field(default_factory=list)

    def record(self, event: TicketEvent) -> Record:
        found = self.records.get(event.ticket_id) or Record(ticket_id=event.ticket_id, tenant_id=event.tenant_id)
        return found.but(version=max(found.version, event.ticket.version))

    def keep(self, record: Record) -> None:
        self.records[record.ticket_id] = record
        self.changed.add(record.ticket_id)

    def tell(self, told: Told | None, cause: Received[Any] | None = None, trace: Trace | None = None) -> None:
        if told is not None:
            correlation, traceparent = (trace.correlation, trace.traceparent) if trace else (None, None)
            self.told.append(told)
            self.answers.append(Emit(told.event, cause=cause, correlation=correlation, traceparent=traceparent))

    async def save(self, tx: Tx) -> Sequence[Emit]:
        await records.save(tx, (self.records[ticket_id] for ticket_id in self.changed))
        await history.add_decisions(tx, self.told)
        await history.add_corrections(tx, self.corrections)
        await tasks.add(tx, self.tasks)
        return self.answers


class Triaging:
    """Decides about tickets."""

    def __init__(self, known: Known) -> None:
        self._known = known

    async def created(self, tx: Tx, batch: Sequence[Received[TicketCreated]]) -> Sequence[Answer]:
        """Decide about new tickets, at once: a text that must be fetched is added by a later decision."""
        rulesets, missing = await self._rulesets(tx, batch)
        if missing:
            return missing
        work = _Work(await records.lock(tx, (one.event.ticket_id for one in batch)))
        strangers = [one.event.ticket.requester_id for one in batch if one.event.ticket.tier is None]
        people = await self._known.people(strangers, tx)
        for one in batch:
            event = one.event
            record = work.record(event)
            if record.decision is not None or record.tenant_id != event.tenant_id:
                continue  # told before: the same ticket under another event id
            ruleset = rulesets[event.tenant_id]
            record = _introduced(record, event, people.get(event.ticket.requester_id))
            text = event.message.body.text
            found = ruleset.lexicon.read(event.ticket.subject, text or "")
            # A message may have overtaken its ticket on its own topic.
            record = record.but(findings=found.join(record.findings) if record.revision else found)
            record, told = judge(record, ruleset, f"created:{event.message.message_id}", tx.instant)
            work.keep(record)
            work.tell(told, one)
            if text is None and event.message.body.text_blob is not None:
                work.tasks.append(_fetch(one, event.message, only_raise=False))
        return await work.save(tx)

    async def message_added(self, tx: Tx, batch: Sequence[Received[TicketMessageAdded]]) -> Sequence[Answer]:
        """What a requester adds may raise what was decided, until one of us works on the ticket; it lowers nothing."""
        spoken = [one for one in batch if _counts(one.event.message)]
        ours = [one for one in batch if one.event.message.author_kind == AuthorKind.AGENT]
        if not (spoken or ours):
            return ()
        rulesets, missing = await self._rulesets(tx, spoken)
        if missing:
            return missing
        work = _Work(await records.lock(tx, (one.event.ticket_id for one in (*spoken, *ours))))
        for one in batch:
            event, message = one.event, one.event.message
            record = work.record(event)
            if record.tenant_id != event.tenant_id or record.touched:
                continue
            if message.author_kind == AuthorKind.AGENT:
                work.keep(record.but(touched=True))
            elif _counts(message):
                if message.body.text is not None:
                    self._add(work, record, one, rulesets[event.tenant_id], message.body.text, tx.instant)
                elif message.body.text_blob is not None:
                    work.tasks.append(_fetch(one, message, only_raise=True))
        return await work.save(tx)

    @staticmethod
    def _add(  # noqa: PLR0917 - one message with all that is known around it
        work: _Work, record: Record, one: Received[TicketMessageAdded], ruleset: Ruleset, text: str, at: datetime
    ) -> None:
        joined = record.findings.join(ruleset.lexicon.read("", text))
        if joined == record.findings:
            return
        record = record.but(findings=joined)
        if record.decision is None:
            # This message overtook ticket.created on its own topic: what it says is taken into that decision.
            work.keep(record)
            return
        record, told = judge(record, ruleset, f"message:{one.event.message.message_id}", at, only_raise=True)
        work.keep(record)
        work.tell(told, one)

    async def text_read(
        self, tx: Tx, ticket_id: UUID, tenant_id: str, text: str, cause: str, *, only_raise: bool, trace: Trace
    ) -> Sequence[Emit]:
        """Decide again with a text that had to be fetched, unless one of us works on the ticket already.

        Raises RetryError while the tenant has no rules that can be read.
        """
        ruleset = await self._known.ruleset(tenant_id, tx)
        if ruleset is None:
            raise tasks.RetryError("no rules that can be read", RULES_PAUSE)
        work = _Work(await records.lock(tx, [ticket_id]))
        record = work.records.get(ticket_id) or Record(ticket_id=ticket_id, tenant_id=tenant_id)
        if record.tenant_id != tenant_id or record.touched:
            return ()
        found = ruleset.lexicon.read("", text)
        joined = record.findings.join(found)
        if not only_raise:
            # The first message: the language was guessed from its subject alone.
            joined = joined.but_language(found.language or joined.language)
        record = record.but(findings=joined)
        if record.decision is not None:
            record, told = judge(record, ruleset, cause, tx.instant, only_raise=only_raise)
            work.tell(told, trace=trace)
        work.keep(record)
        return await work.save(tx)

    async def updated(self, tx: Tx, batch: Sequence[Received[TicketUpdated]]) -> Sequence[Answer]:
        """Remember what people of ours set: theirs from now on, and what there is to learn from."""
        ours = [one for one in batch if by_staff(one.event.actor)]
        if not ours:
            return ()
        work = _Work(await records.lock(tx, (one.event.ticket_id for one in ours)))
        for one in ours:
            event = one.event
            record = work.record(event)
            if record.tenant_id != event.tenant_id:
                continue
            record, corrections = corrected(record, event.actor, event.changes, one.id, one.time)
            work.keep(record)
            work.corrections += corrections
        return await work.save(tx)

    async def people_changed(self, tx: Tx, changes: Sequence[Received[PersonChanged]]) -> Sequence[Emit]:
        """Decide again about the newest tickets of requesters whose tier was not known until now."""
        told = {one.event.person_id: one for one in changes if one.event.tier is not None}
        if not told:
            return ()
        found = await records.lock_without_tier(tx, told, TIER_PATIENCE, MOST_REDECIDED)
        if not found:
            return ()
        rulesets = await self._known.rulesets({record.tenant_id for record in found}, tx)
        work = _Work({record.ticket_id: record for record in found})
        for record in found:
            cause = told[record.requester_id] if record.requester_id else None
            ruleset = rulesets[record.tenant_id]
            if cause is None or cause.event.tenant_id != record.tenant_id or not isinstance(ruleset, Ruleset):
                continue
            person = cause.event
            known = record.but(tier=person.tier, language=record.language or language_tag(person.language))
            known, decision = judge(known, ruleset, f"person:{person.person_id}:{person.version}", tx.instant)
            work.keep(known)
            work.tell(decision, cause)
        return await work.save(tx)

    async def _rulesets(self, tx: Tx, batch: Iterable[Received[EventT]]) -> tuple[dict[str, Ruleset], list[NotYet]]:
        """The rules of a batch's tenants, or what it has to wait for."""
        batch = list(batch)
        found = await self._known.rulesets({one.event.tenant_id for one in batch}, tx)
        ready = {tenant: ruleset for tenant, ruleset in found.items() if isinstance(ruleset, Ruleset)}
        missing = []
        for one in batch:
            lacking = found[one.event.tenant_id]
            if not isinstance(lacking, Ruleset):
                missing.append(NotYet(one, "policy", lacking.key))
        return ready, missing


def _introduced(record: Record, event: TicketCreated, person: PersonChanged | None) -> Record:
    """The record with what the ticket and directory say of it."""
    ticket, said = event.ticket, Said.of(event.hints)
    known = person if person is not None and person.tenant_id == event.tenant_id else None
    held = record.held
    if by_staff(event.actor):
        # What somebody of ours said when opening the ticket is set by a person.
        stated = {"priority": said.priority, "product": said.product, "category": said.category}
        held |= {name for name, value in stated.items() if value is not None}
    return record.but(
        requester_id=ticket.requester_id,
        said=replace(said, inbound_address=ticket.inbound_address),
        tier=ticket.tier or (known.tier if known else None),
        language=language_tag(ticket.language) or (language_tag(known.language) if known else None),
        held=held,
    )


def _counts(message: TicketMessage) -> bool:
    """Whether a message may raise anything: a person on the requester's side wrote it, for us to see."""
    return (
        message.author_kind == AuthorKind.REQUESTER
        and message.visibility == Visibility.PUBLIC
        and not message.automatic
    )


def _fetch(one: Received[Any], message: TicketMessage, *, only_raise: bool) -> tasks.Task:
    blob = message.body.text_blob
    if blob is None:
        raise AssertionError("asked for only where there is one")
    return tasks.Task(
        kind=READ_TEXT,
        key=str(one.event.ticket_id),
        tenant_id=one.event.tenant_id,
        id=uuid5(one.event.ticket_id, f"read-text:{message.message_id}"),
        payload={
            "sha256": blob.sha256,
            "message_id": str(message.message_id),
            "only_raise": only_raise,
            "correlation": one.correlation,
            "traceparent": one.traceparent,
        },
    )
