"""The program that judges installations: nothing wrong with a sound world, each violation in a doctored one by its id."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.tickets.domain import audit
from shared.contracts import ids
from shared.contracts.ticket import Actor
from tests.support.invariants import World, check, told
from tests.support.invariants.checks import CHECKS
from tests.support.invariants.world import Call, Clock, Delivery, Held, Left, Offset, Stored, Ticket
from tests.support.tap import Fact

TICKET, MESSAGE, DECISION = str(uuid4()), str(uuid4()), str(uuid4())
DELIVERY, ENDPOINT, HOOK = str(uuid4()), str(uuid4()), str(uuid4())
MAIL = "one@acme.example"


def fact(topic: str, key: str = TICKET, *, tenant: str = "acme", offset: int = 0, **data: Any) -> Fact:
    """A record as the tap would give it."""
    headers = {"ce_id": str(uuid4()), "ce_type": f"{topic}.v1"}
    return Fact(topic=topic, partition=0, offset=offset, key=key, headers=headers, data={"tenant_id": tenant, **data})


def chain() -> list[audit.Entry]:
    """Three entries that bind each other."""
    made: list[audit.Entry] = []
    for number in range(1, 4):
        recorded = audit.append(
            tenant_id="acme",
            ticket_id=UUID(TICKET),
            number=number,
            previous=made[-1].hash if made else audit.GENESIS,
            actor=Actor(kind="service", id="tickets"),
            action="status_changed",
            at=datetime(2026, 11, 21, 12, number, tzinfo=UTC),
            values={"status": ("new", "open")},
            draw=bytes,
        )
        made.append(recorded.entry)
    return made


def world() -> World:
    """One message, one ticket, what became of them: everything as it should be."""
    entries = chain()
    created = fact("ticket.created", ticket_id=TICKET, ticket={"status": "new"}, message={"message_id": MESSAGE})
    breached = fact("sla.breached", ticket_id=TICKET, clock="resolution", cycle=1)
    breached.headers["ce_id"] = str(ids.breach_id(UUID(TICKET), "resolution", 1))
    facts = {
        "message.received": [fact("message.received", message_id=MESSAGE)],
        "ticket.created": [created],
        "ticket.triaged": [fact("ticket.triaged", ticket_id=TICKET, decision_id=DECISION)],
        "ticket.decision_applied": [fact("ticket.decision_applied", ticket_id=TICKET, decision_id=DECISION)],
        "ticket.status_changed": [
            fact("ticket.status_changed", ticket_id=TICKET, previous="new", current="open", trigger="manual")
        ],
        "ticket.state": [
            fact("ticket.state", ticket_id=TICKET, version=1, revision=1),
            fact("ticket.state", ticket_id=TICKET, version=2, revision=2),
        ],
        "sla.breached": [breached],
        "notification.delivered": [fact("notification.delivered", ticket_id=TICKET, delivery_id=DELIVERY)],
    }
    handled = {one.id for told_ in facts.values() for one in told_}
    return World(
        accepted=frozenset({MESSAGE}),
        canaries={"secret-of-acme": "acme"},
        stored=[Stored(message_id=MESSAGE, tenant="acme", submitter="", external_id="x", fingerprint=b"1")],
        members=[("acme", TICKET, MESSAGE)],
        tickets={
            TICKET: Ticket(
                ticket_id=TICKET,
                tenant="acme",
                number="INC-1",
                version=2,
                revision=2,
                subject="Printer",
                status="open",
                priority="P3",
                queue="general",
                assignee_id=None,
                merged_into=None,
                messages=1,
                audit_count=3,
                audit_head=entries[-1].hash,
            )
        },
        chains={UUID(TICKET): entries},
        arrows={"acme": {("new", "open")}},
        facts=facts,
        clocks=[Clock(ticket_id=TICKET, name="resolution", cycle=1, state="breached", told=True, overdue=False)],
        deliveries=[
            Delivery(
                id=DELIVERY, channel="email", state="delivered", external_id=MAIL, attempts=1, doubtful=0, noticed=False
            )
        ],
        calls=[Call(endpoint_id=ENDPOINT, event_id=HOOK, state="delivered", attempts=1, here=True, name="ops")],
        mails={MAIL: 1},
        answered={("ops", HOOK): 1},
        held=[Held(place="sla.clock", ticket_id=TICKET, tenant="acme")],
        documents={
            TICKET: {
                "ticket_id": TICKET,
                "tenant_id": "acme",
                "number": "INC-1",
                "subject": "Printer",
                "status": "open",
                "priority": "P3",
                "queue": "general",
                "messages": 1,
            }
        },
        texts={TICKET: 1},
        offsets=[Offset(group="tickets", topic="message.received", partition=0, committed=1, end=1)],
        handled=dict.fromkeys(("directory", "escalation", "ingest", "notify", "search", "tickets", "triage"), handled),
    )


def _ticket(found: World, **changed: Any) -> None:
    found.tickets[TICKET] = replace(found.tickets[TICKET], **changed)


def _again(found: World, topic: str, **changed: Any) -> None:
    """The newest of a topic once more, as another event."""
    last = found.facts[topic][-1]
    found.facts[topic].append(fact(topic, last.key, **{"tenant": last.tenant, **_data(last), **changed}))


def _data(one: Fact) -> dict[str, Any]:
    return {name: value for name, value in (one.data or {}).items() if name != "tenant_id"}


def _edit(found: World, number: int, **changed: Any) -> None:
    entries = found.chains[UUID(TICKET)]
    entries[number] = replace(entries[number], **changed)


DOCTORED: dict[str, tuple[str, str, Callable[[World], object]]] = {
    "an accepted message is not stored": ("I1", MESSAGE, lambda w: w.stored.clear()),
    "a stored message was never published": ("I1", MESSAGE, lambda w: w.facts["message.received"].clear()),
    "a message is in no ticket": ("I1", MESSAGE, lambda w: w.members.clear()),
    "a message is in two tickets": ("I1", MESSAGE, lambda w: w.members.append(("acme", str(uuid4()), MESSAGE))),
    "one mail was stored as two messages": (
        "I2",
        "0",
        lambda w: w.stored.append(replace(w.stored[0], message_id="0")),
    ),
    "a ticket was created twice": ("I2", TICKET, lambda w: _again(w, "ticket.created")),
    "a decision was answered twice": ("I2", DECISION, lambda w: _again(w, "ticket.decision_applied")),
    "a decision was never answered": ("I2", DECISION, lambda w: w.facts["ticket.decision_applied"].clear()),
    "a delivery was told twice": ("I2", DELIVERY, lambda w: _again(w, "notification.delivered")),
    "two tickets have one number": (
        "I2",
        "INC-1",
        lambda w: w.tickets.update(other=replace(w.tickets[TICKET], ticket_id=str(uuid4()))),
    ),
    "a breach was told under another id": ("I3", TICKET, lambda w: _again(w, "sla.breached")),
    "a breach is kept as told and was not": ("I3", TICKET, lambda w: w.facts["sla.breached"].clear()),
    "a clock runs past its due instant": (
        "I3",
        TICKET,
        lambda w: w.clocks.append(
            replace(w.clocks[0], name="first_response", told=False, state="running", overdue=True)
        ),
    ),
    "a breach was told and the clock was met": (
        "I3",
        TICKET,
        lambda w: w.clocks.__setitem__(0, replace(w.clocks[0], state="met")),
    ),
    "a mail arrived twice": ("I4", DELIVERY, lambda w: w.mails.update({MAIL: 2})),
    "a delivered mail never arrived": ("I4", DELIVERY, lambda w: w.mails.clear()),
    "a call arrived more often than it was tried": ("I4", HOOK, lambda w: w.answered.update({("ops", HOOK): 2})),
    "a delivered call never arrived": ("I4", HOOK, lambda w: w.answered.clear()),
    "a notice is not there": (
        "I4",
        DELIVERY,
        lambda w: w.deliveries.__setitem__(0, replace(w.deliveries[0], channel="app")),
    ),
    "an audit entry was edited": ("I5", TICKET, lambda w: _edit(w, 1, action="merged")),
    "an audit entry was taken out": ("I5", TICKET, lambda w: w.chains[UUID(TICKET)].pop(1)),
    "the end of a chain was cut off": ("I5", TICKET, lambda w: w.chains[UUID(TICKET)].pop()),
    "two audit entries were swapped": ("I5", TICKET, lambda w: w.chains[UUID(TICKET)].reverse()),
    "a chain is gone": ("I5", TICKET, lambda w: w.chains.clear()),
    "a ticket moved where no arrow leads": ("I6", TICKET, lambda w: w.arrows["acme"].clear()),
    "a ticket left a state it was not in": (
        "I6",
        TICKET,
        lambda w: _again(w, "ticket.status_changed", previous="new", current="open"),
    ),
    "a ticket is in a state nobody told of": ("I6", TICKET, lambda w: _ticket(w, status="solved")),
    "a state went back": ("I7", TICKET, lambda w: _again(w, "ticket.state", version=1, revision=3)),
    "a revision was used twice": ("I7", TICKET, lambda w: _again(w, "ticket.state")),
    "the newest state is not the database's": ("I7", TICKET, lambda w: _ticket(w, revision=3)),
    "a service keeps a ticket under another tenant": (
        "I8",
        TICKET,
        lambda w: w.held.append(Held(place="search.document", ticket_id=TICKET, tenant="nosy")),
    ),
    "a message of one tenant is in another's ticket": (
        "I8",
        "m",
        lambda w: w.members.append(("nosy", TICKET, "m")),
    ),
    "an event names another tenant": ("I8", TICKET, lambda w: _again(w, "ticket.triaged", tenant="nosy")),
    "what is one tenant's stands with another": (
        "I8",
        "",
        lambda w: w.facts["ticket.created"].append(fact("ticket.created", tenant="nosy", subject="secret-of-acme")),
    ),
    "a ticket is not in the index": ("I9", TICKET, lambda w: w.documents.clear()),
    "search does not know a text": ("I9", TICKET, lambda w: w.texts.clear()),
    "the index says something else": (
        "I9",
        TICKET,
        lambda w: w.documents.update({TICKET: {**w.documents[TICKET], "status": "new"}}),
    ),
    "the index has a ticket that is none": ("I9", "ghost", lambda w: w.documents.update(ghost={})),
    "an event was not published": (
        "I10",
        "e",
        lambda w: w.left.append(Left(place="tickets.outbox", id="e", why="of ticket.state")),
    ),
    "a group is behind": (
        "I11",
        "message.received/0",
        lambda w: w.offsets.__setitem__(0, replace(w.offsets[0], end=2)),
    ),
    "a fact below the committed offset was not handled": (
        "I11",
        "",
        lambda w: w.handled.update(tickets=set()),
    ),
}


def test_a_sound_world_has_no_findings() -> None:
    assert check(world()) == [], told(check(world()))


@pytest.mark.parametrize("what", DOCTORED)
def test_every_violation_is_found_by_its_invariant_and_its_id(what: str) -> None:
    invariant, identity, doctor = DOCTORED[what]
    doctored = copy.deepcopy(world())
    doctor(doctored)
    found = check(doctored, only={invariant})
    assert found, f"{what}: {invariant} noticed nothing"
    assert identity == "" or identity in {one.id for one in found}, told(found)


def test_every_invariant_has_been_violated_here() -> None:
    assert {invariant for invariant, _, _ in DOCTORED.values()} == set(CHECKS)


def test_what_at_least_once_allows_is_no_finding() -> None:
    sound = world()
    for facts in sound.facts.values():
        # A relay that was stopped and wakes says everything once more, under the same ids.
        facts.extend(list(facts))
    assert check(sound) == [], told(check(sound))


def test_a_mail_in_doubt_may_have_arrived_twice_and_no_oftener() -> None:
    sound = world()
    sound.deliveries[0] = replace(sound.deliveries[0], doubtful=1, attempts=2)
    sound.mails[MAIL] = 2
    assert check(sound) == []
    sound.mails[MAIL] = 3
    assert [one.invariant for one in check(sound)] == ["I4"]


def test_a_breach_that_was_taken_back_is_no_finding() -> None:
    sound = world()
    sound.clocks[0] = replace(sound.clocks[0], state="met")
    sound.facts["sla.changed"] = [
        fact("sla.changed", ticket_id=TICKET, clock="resolution", cycle=1, change="withdrawn")
    ]
    for name in ("notify", "tickets", "escalation"):
        sound.handled[name] = sound.handled[name] | {sound.facts["sla.changed"][0].id}
    assert check(sound) == []


def test_findings_are_told_with_a_count_of_each_invariant() -> None:
    broken = world()
    broken.members.clear()
    broken.documents.clear()
    text = told(check(broken))
    assert text.splitlines()[0] == "2 findings (I1: 1, I9: 1)"
    assert MESSAGE in text
    assert TICKET in text
    assert told([]) == "all invariants hold"
