"""Evidence in its order, and what happens when a piece of it does not hold."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.tickets.domain.threading import Join, Open, Seen, Wait, thread
from services.tickets.domain.ticket import Ticket
from tests.unit.tickets.desk import message, opened, person

ONE = opened(source="one").ticket
TWO = opened(source="two").ticket.but(number="INC-2026-000002")
FOREIGN = opened(source="x", tenant_id="evil").ticket
MERGED = opened(sender="vera", source="merged").ticket.but(number="INC-2026-000003", merged_into=TWO.id)
"""Vera's, which goes on in Rita's."""
PARENT = uuid4()


def _seen(messages: Mapping[UUID, Ticket] | None = None, *, overdue: bool = False, takes_replies: bool = True) -> Seen:
    tickets = {t.id: t for t in (ONE, TWO, FOREIGN, MERGED)}

    def chain(ticket: Ticket | None) -> list[Ticket]:
        return (
            [] if ticket is None else [ticket, *(chain(tickets.get(ticket.merged_into)) if ticket.merged_into else ())]
        )

    return Seen(
        ticket=lambda ticket_id: chain(tickets.get(ticket_id)),
        of_message=lambda message_id: chain((messages or {}).get(message_id)),
        of_number=lambda tenant, number: chain(
            next((t for t in tickets.values() if (t.tenant_id, t.number) == (tenant, number)), None)
        ),
        overdue=lambda _: overdue,
        ours=lambda who: who == person("ann"),
        takes_replies=lambda _: takes_replies,
    )


KNOWN: dict[str, Any] = {"parent": "known", "parent_message_id": PARENT}

CASES = [
    ({"token_ticket_id": ONE.id}, {}, Join(ONE.id, "token")),
    ({"token_ticket_id": ONE.id, "sender": "mallory"}, {}, Open()),
    ({"token_ticket_id": ONE.id, "sender": "ann"}, {}, Join(ONE.id, "token")),
    ({"token_ticket_id": ONE.id, "sender": "ann", "spoofed": True}, {}, Open()),
    ({"token_ticket_id": FOREIGN.id}, {}, Open()),
    ({"token_ticket_id": uuid4()}, {}, Open()),
    ({"token_ticket_id": ONE.id, **KNOWN}, {PARENT: TWO}, Join(ONE.id, "token")),
    (KNOWN, {PARENT: TWO}, Join(TWO.id, "parent")),
    ({**KNOWN, "sender": "carl"}, {PARENT: TWO}, Join(TWO.id, "parent")),
    (KNOWN, {}, Wait(PARENT)),
    (KNOWN, {PARENT: FOREIGN}, Wait(PARENT)),
    ({"parent": "unknown"}, {}, Open()),
    ({"ticket_number": TWO.number}, {}, Join(TWO.id, "number")),
    ({"ticket_number": TWO.number, "parent": "unknown"}, {}, Join(TWO.id, "number")),
    ({"ticket_number": TWO.number, "sender": "mallory"}, {}, Open()),
    ({"ticket_number": TWO.number, "spoofed": True}, {}, Open()),
    ({"ticket_number": "INC-2026-999999"}, {}, Open()),
    ({"token_ticket_id": MERGED.id, "sender": "vera"}, {}, Join(TWO.id, "token", merged=True)),
    ({"token_ticket_id": MERGED.id, "sender": "mallory"}, {}, Open()),
    ({"token_ticket_id": TWO.id, "sender": "vera"}, {}, Open()),
    ({**KNOWN, "sender": "vera"}, {PARENT: MERGED}, Join(TWO.id, "parent", merged=True)),
    ({"ticket_number": MERGED.number, "sender": "vera"}, {}, Join(TWO.id, "number", merged=True)),
    ({}, {}, Open()),
]


@pytest.mark.parametrize(("given", "messages", "expected"), CASES)
def test_the_first_evidence_that_holds_decides(
    given: dict[str, Any], messages: dict[UUID, Ticket], expected: object
) -> None:
    sender = given.get("sender", "rita")
    more = {k: v for k, v in given.items() if k != "sender"}
    assert thread(message(sender, "reply", **more), _seen(messages)) == expected


def test_a_parent_overdue_opens_and_remembers_it() -> None:
    assert thread(message(source="r", **KNOWN), _seen(overdue=True)) == Open(awaited_parent_id=PARENT)


def test_a_reply_to_what_is_closed_opens_a_ticket_that_follows() -> None:
    decision = thread(message(source="r", **KNOWN), _seen({PARENT: TWO}, takes_replies=False))
    assert decision == Open(follows_id=TWO.id)
    automatic = thread(message(source="r", automatic=True, **KNOWN), _seen({PARENT: TWO}, takes_replies=False))
    assert automatic == Join(TWO.id, "parent")
    recovered = thread(message(source="r", resolves=True, **KNOWN), _seen({PARENT: TWO}, takes_replies=False))
    assert recovered == Join(TWO.id, "parent")
