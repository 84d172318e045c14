"""Tickets that belong together: suggested, confirmed or dismissed duplicates, and what a ticket follows."""

from __future__ import annotations

from uuid import UUID

from pydantic import JsonValue

from services.tickets.domain.deciding import bounded
from services.tickets.domain.ticket import MAX_DISMISSED, Ticket
from services.tickets.domain.work import Act, Work
from shared.contracts.ticket import Change, Link, LinkKind, TicketUpdated


def follow(work: Work, earlier: Ticket) -> None:
    """The ticket goes on where `earlier` ended; the input is counted by the caller."""
    link = Link(kind=LinkKind.FOLLOWS, ticket_id=earlier.id, number=earlier.number)
    work.change(links=bounded((*_without(work.ticket, earlier.id, LinkKind.FOLLOWS), link)))


def confirm(work: Work, kind: LinkKind, other: Ticket, act: Act) -> bool:
    """A person says that the two belong together; whether that changed anything. Counts one input if so."""
    known = find(work.ticket, other.id, kind)
    if known is not None and not known.suggested:
        return False
    link = Link(kind=kind, ticket_id=other.id, number=other.number, score=known.score if known else None)
    _set(work, bounded((*_without(work.ticket, other.id, kind), link)), act)
    if other.id in work.ticket.dismissed_ids:
        work.change(dismissed_ids=tuple(one for one in work.ticket.dismissed_ids if one != other.id))
    return True


def dismiss(work: Work, other_id: UUID, kind: LinkKind, act: Act) -> bool:
    """A person says that they do not; a suggested duplicate is not suggested again. Counts one input if it changed."""
    known = find(work.ticket, other_id, kind)
    if known is None:
        return False
    _set(work, _without(work.ticket, other_id, kind), act)
    if kind is LinkKind.DUPLICATES:
        work.change(dismissed_ids=(*work.ticket.dismissed_ids, other_id)[-MAX_DISMISSED:])
    return True


def find(ticket: Ticket, other_id: UUID, kind: LinkKind) -> Link | None:
    """The link to another ticket."""
    return next((link for link in ticket.links if link.ticket_id == other_id and link.kind == kind), None)


def _without(ticket: Ticket, other_id: UUID, kind: LinkKind) -> tuple[Link, ...]:
    return tuple(link for link in ticket.links if link.ticket_id != other_id or link.kind != kind)


def _set(work: Work, made: tuple[Link, ...], act: Act) -> None:
    act = Act(act.actor, work.begin(act.at), act.draw)
    old: JsonValue = [link.model_dump(mode="json", exclude_none=True) for link in work.ticket.links]
    new: JsonValue = [link.model_dump(mode="json", exclude_none=True) for link in made]
    work.change(links=made)
    work.record("linked", act, {"links": (old, new)})
    work.facts.append(
        TicketUpdated(
            tenant_id=work.ticket.tenant_id,
            ticket_id=work.ticket.id,
            ticket=work.ticket.summary(),
            actor=act.actor,
            changes=(Change(field="links", old=old, new=new),),
        )
    )
