"""Who is told of what: the pack's rules as a table."""

from __future__ import annotations

from datetime import UTC, datetime, time, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.notify.domain.occasions import Fact
from services.notify.domain.planning import Planned, Staff, State, allowed, plan
from services.notify.domain.preferences import Preference, Quiet
from shared.contracts.pack.notifications import Notifications, Occasion

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)
MIA, ANA, LEO, MARA = (UUID(int=number) for number in range(1, 5))
WORDS = {"words": {"en": {"subject": "s", "text": "t"}}}


def fact(**changes: Any) -> Fact:
    given: dict[str, Any] = {
        "occasion": Occasion.MESSAGE_ADDED,
        "tenant_id": "acme",
        "ticket_id": UUID(int=100),
        "cause_id": UUID(int=200),
        "at": NOON,
        "correlation": "c",
        "values": {"author": "agent", "visibility": "public", "priority": 1},
        "people": {"requester": (MIA,), "assignee": (ANA,), "watchers": (MIA, LEO)},
    }
    return Fact(**(given | changes))


def notices(*rules: dict[str, Any], **more: Any) -> Notifications:
    return Notifications.model_validate(
        {
            "rules": [{"channels": ["email"], "template": "t", **rule} for rule in rules],
            "templates": {"t": WORDS, "ack": {"submitted": "auto-replied", **WORDS}},
            **more,
        }
    )


def told(planned: list[Planned]) -> set[tuple[UUID, str]]:
    return {(one.recipient_id, one.channel) for one in planned if one.state is State.WAITING}


RULE = {"event": "ticket.message_added", "to": ["requester"]}


@pytest.mark.parametrize(
    ("when", "holds"),
    [
        ({}, True),
        ({"author": ["agent"]}, True),
        ({"author": ["requester"]}, False),
        ({"author": ["requester", "agent"], "priority": [1, 2]}, True),
        ({"author": ["agent"], "priority": [3]}, False),
        ({"trigger": ["manual"]}, False),
    ],
)
def test_a_rule_applies_when_every_condition_holds(when: dict[str, Any], holds: bool) -> None:
    assert bool(plan(fact(), notices({**RULE, "when": when}), Staff(), NOON)) is holds


def test_who_is_reached_twice_is_told_once() -> None:
    found = plan(fact(), notices({**RULE, "to": ["requester", "watchers"]}, RULE), Staff(), NOON)
    assert told(found) == {(MIA, "email"), (LEO, "email")}
    assert len(found) == 2


def test_nobody_is_told_what_they_did_themselves_but_requesters_are() -> None:
    rule = {**RULE, "event": "ticket.assigned", "to": ["requester", "assignee"]}
    assigned = fact(occasion=Occasion.ASSIGNED, values={})
    assert told(plan(assigned, notices(rule), Staff(), NOON)) == {(MIA, "email"), (ANA, "email")}
    own = fact(occasion=Occasion.ASSIGNED, values={}, actor_id=ANA)
    assert told(plan(own, notices(rule), Staff(), NOON)) == {(MIA, "email")}
    created = fact(occasion=Occasion.TICKET_CREATED, actor_id=MIA)
    assert told(plan(created, notices({**RULE, "event": "ticket.created"}), Staff(), NOON)) == {(MIA, "email")}


def test_nobody_is_sent_their_own_words() -> None:
    assert (
        plan(fact(actor_id=MIA), notices({**RULE, "to": ["requester", "watchers"]}), Staff(), NOON)[0].recipient_id
        == LEO
    )


def test_roles_are_those_of_the_tenant() -> None:
    staff = Staff(roles={("acme", "manager"): (MARA,), ("other", "manager"): (LEO,)})
    assert told(plan(fact(), notices({**RULE, "to": ["role:manager"]}), staff, NOON)) == {(MARA, "email")}


def test_what_is_told_once_per_ticket_has_one_id_however_often_it_happens() -> None:
    once = notices({**RULE, "once_per_ticket": True})
    ids = {one.id for cause in range(5) for one in plan(fact(cause_id=UUID(int=cause)), once, Staff(), NOON)}
    assert len(ids) == 1
    each = {one.id for cause in range(5) for one in plan(fact(cause_id=UUID(int=cause)), notices(RULE), Staff(), NOON)}
    assert len(each) == 5


def test_the_same_page_asked_for_by_another_event_is_the_same_delivery() -> None:
    rule = {**RULE, "event": "page.requested", "to": ["person"]}
    pages = [
        fact(occasion=Occasion.PAGE_REQUESTED, values={}, people={"person": (ANA,)}, page_id=MARA, cause_id=UUID(int=n))
        for n in range(2)
    ]
    first, second = (plan(page, notices(rule), Staff(), NOON) for page in pages)
    assert first[0].id == second[0].id


def test_machines_are_not_answered_whatever_a_pack_says() -> None:
    rule = {**RULE, "template": "ack"}
    assert plan(fact(values={"automatic": True}), notices(rule), Staff(), NOON) == []
    assert len(plan(fact(values={"automatic": False}), notices(rule), Staff(), NOON)) == 1
    assert len(plan(fact(values={"automatic": True}), notices(RULE), Staff(), NOON)) == 1


@pytest.mark.parametrize(
    ("minutes", "rule", "state"),
    [
        (1439, {}, State.WAITING),
        (1440, {}, State.EXPIRED),
        (10, {"expire_after": 10}, State.EXPIRED),
        (4000, {"expire_after": 5000}, State.WAITING),
    ],
)
def test_facts_too_old_are_kept_as_expired(minutes: int, rule: dict[str, Any], state: State) -> None:
    (one,) = plan(fact(at=NOON - timedelta(minutes=minutes)), notices({**RULE, **rule}), Staff(), NOON)
    assert one.state is state


def test_a_pages_own_end_may_come_before_the_packs() -> None:
    rule = notices({**RULE, "event": "page.requested", "to": ["person"]})
    page = {"occasion": Occasion.PAGE_REQUESTED, "values": {}, "people": {"person": (ANA,)}, "page_id": MARA}
    assert plan(fact(**page, expires_at=NOON), rule, Staff(), NOON)[0].state is State.EXPIRED
    late = fact(**page, expires_at=NOON + timedelta(hours=9), at=NOON - timedelta(minutes=61))
    assert plan(late, rule, Staff(), NOON)[0].state is State.EXPIRED


def test_wishes_count_for_everything_but_pages() -> None:
    quiet = Quiet(begins=time(11), ends=time(13), timezone="UTC")
    staff = Staff(preferences={MIA: Preference(quiet=quiet), LEO: Preference(templates={"t": {"email": False}})})
    rule = notices({**RULE, "to": ["requester", "watchers"], "channels": ["email", "app"]})
    found = {(one.recipient_id, one.channel): one for one in plan(fact(), rule, staff, NOON)}
    assert found[MIA, "email"].due_at == NOON + timedelta(hours=1)
    assert found[MIA, "app"].due_at is None
    assert (found[LEO, "email"].state, found[LEO, "email"].reason) == (State.SKIPPED, "not_wanted")
    assert found[LEO, "app"].state is State.WAITING
    page = fact(occasion=Occasion.PAGE_REQUESTED, values={}, people={"person": (LEO,)}, page_id=MARA)
    paged = notices({**RULE, "event": "page.requested", "to": ["person"]})
    assert told(plan(page, paged, staff, NOON)) == {(LEO, "email")}


@pytest.mark.parametrize(
    ("begins", "ends", "now", "until"),
    [
        ("22:00", "07:00", "23:30", "07:00+1"),
        ("22:00", "07:00", "06:59", "07:00"),
        ("22:00", "07:00", "07:00", None),
        ("22:00", "07:00", "21:59", None),
        ("12:00", "13:00", "12:00", "13:00"),
        ("12:00", "13:00", "13:00", None),
    ],
)
def test_quiet_hours_go_over_midnight_in_the_persons_zone(begins: str, ends: str, now: str, until: str | None) -> None:
    from zoneinfo import ZoneInfo  # noqa: PLC0415 - one place

    zone = ZoneInfo("Australia/Lord_Howe")
    quiet = Quiet(begins=time.fromisoformat(begins), ends=time.fromisoformat(ends), timezone="Australia/Lord_Howe")
    day = datetime(2026, 6, 10, tzinfo=zone)
    instant = datetime.combine(day.date(), time.fromisoformat(now), zone).astimezone(UTC)
    wanted = None
    if until is not None:
        clock, _, more = until.partition("+")
        wanted = datetime.combine(day.date() + timedelta(days=int(more or 0)), time.fromisoformat(clock), zone)
    assert quiet.until(instant) == wanted


@given(
    steps=st.lists(st.tuples(st.integers(0, 5000), st.integers(1, 7)), max_size=40),
    limit=st.integers(0, 6),
)
def test_within_any_hour_never_more_answers_than_allowed(steps: list[tuple[int, int]], limit: int) -> None:
    sent: list[datetime] = []
    everything: list[datetime] = []
    now = NOON
    for seconds, wanted in steps:
        now += timedelta(seconds=seconds)
        granted, sent = allowed(sent, wanted, limit, now)
        everything += [now] * granted
        assert len(sent) <= max(limit, 0)
    for one in everything:
        assert len([other for other in everything if one <= other < one + timedelta(hours=1)]) <= limit
