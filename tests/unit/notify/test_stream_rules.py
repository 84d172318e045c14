"""Who sees what of the stream, and how it is written."""

from __future__ import annotations

from datetime import UTC, datetime
from uuid import uuid4

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.stream import (
    Entry,
    Position,
    Viewer,
    control,
    entry_of,
    frame,
    heartbeat,
    notice_of,
    position,
)
from shared.auth import ROLE_PERMISSIONS
from shared.contracts import golden
from shared.contracts.directory import Role
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS
from shared.contracts.ticket import TicketCreated, TicketMessageAdded, TicketStatusChanged

NOW = datetime(2026, 11, 21, 9, tzinfo=UTC)
PUBLIC = {TicketCreated, TicketMessageAdded, TicketStatusChanged}
EXAMPLES = [
    (cls, name)
    for topic in TOPICS
    for cls in topic.events
    if not topic.compacted and "ticket_id" in cls.model_fields
    for name in golden.examples(cls)
]


def viewer(role: Role, person: object = None) -> Viewer:
    granted = frozenset(permission.value for permission in ROLE_PERMISSIONS[role])
    return Viewer(permissions=granted, person_id=person)  # type: ignore[arg-type]  # a UUID or None


def entry(event: Event, *, internal: bool = False) -> Entry:
    return entry_of(event, event_id=uuid4(), event_type=event.TYPE, time=NOW, internal=internal)


@pytest.mark.parametrize(("cls", "name"), EXAMPLES, ids=lambda value: getattr(value, "TYPE", value))
def test_customers_see_nothing_that_is_not_meant_for_them_and_agents_see_every_fact(
    cls: type[Event], name: str
) -> None:
    event = cls.model_validate(golden.examples(cls)[name])
    made = entry(event)
    assert viewer(Role.AGENT).sees(made) == event.to_bytes()
    ticket = getattr(event, "ticket", None)
    requester = getattr(ticket, "requester_id", None)
    shown = viewer(Role.CUSTOMER, requester).sees(made)
    assert (shown is not None) is (cls in PUBLIC)
    assert viewer(Role.CUSTOMER, uuid4()).sees(made) is None
    assert viewer(Role.CUSTOMER).sees(made) is None
    if shown is not None:
        told = orjson.loads(shown)
        assert set(told) <= {"ticket_id", "ticket", "message", "previous", "current"}
        assert not {"assignee_id", "team_id", "queue", "priority", "tags", "requester_id", "tier"} & set(told["ticket"])
        assert "author_id" not in told.get("message", {})


def test_internal_facts_are_shown_to_who_reads_notes_and_to_no_requester() -> None:
    event = TicketMessageAdded.model_validate(golden.examples(TicketMessageAdded)["minimal"])
    made = entry(event, internal=True)
    assert viewer(Role.AGENT).sees(made) is not None
    assert viewer(Role.SERVICE).sees(made) is None
    assert viewer(Role.CUSTOMER, event.ticket.requester_id).sees(made) is None


@pytest.mark.parametrize("role", [Role.ADMIN, Role.AGENT, Role.SERVICE])
def test_a_notice_is_its_persons_own_whatever_role_others_have(role: Role) -> None:
    person = uuid4()
    made = notice_of(
        tenant_id="acme", notice_id=uuid4(), person_id=person, ticket_id=None, at=NOW, shown={"title": "x"}
    )
    assert viewer(Role.CUSTOMER, person).sees(made) == b'{"title":"x"}'
    assert viewer(role, uuid4()).sees(made) is None
    assert viewer(role).sees(made) is None


@given(st.integers(0, 2**63 - 1), st.integers(0, 2**63 - 1))
def test_a_position_survives_being_written_and_read(xid: int, identity: int) -> None:
    place = Position(xid, identity)
    assert position(str(place)) == place


@pytest.mark.parametrize(
    "text", ["", "1", "1-", "-1-2", "1-2-3", "x-1", "99999999999999999999-1", "9223372036854775808-1", "1 -2"]
)
def test_what_is_no_position_is_none(text: str) -> None:
    assert position(text) is None


@given(st.text(max_size=50))
def test_no_text_breaks_out_of_its_frame(text: str) -> None:
    shown = orjson.dumps({"text": text})
    made = Entry(tenant_id="acme", event_id=uuid4(), type="ticket.created.v1", time=NOW)
    lines = frame(Position(7, 9), made, shown).split(b"\n")
    assert lines[0] == b"id: 7-9"
    assert lines[1] == b"event: ticket.created.v1"
    assert orjson.loads(lines[2].removeprefix(b"data: "))["data"] == {"text": text}
    assert lines[3:] == [b"", b""]


def test_signs_of_life_and_words_about_the_stream_itself() -> None:
    assert heartbeat(Position(7)) == b": still here\nid: 7-0\n\n"
    assert control("ready", {}, Position(7, 1)) == b"id: 7-1\nevent: ready\ndata: {}\n\n"
    assert control("reconnect", {"reason": "slow"}) == b'event: reconnect\ndata: {"reason":"slow"}\n\n'
