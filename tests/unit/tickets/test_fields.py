"""Fields set by hand: a whitelist, all or nothing, and the ledger told of exactly what a clock may read."""

from __future__ import annotations

from typing import Any

import pytest

from services.tickets.domain import assignment, fields
from services.tickets.domain.assignment import UNTOUCHED_TIMER, Choice
from services.tickets.domain.fields import MAX_FIELDS_BYTES, Wrong
from services.tickets.domain.ticket import MAX_WATCHERS
from services.tickets.domain.work import Work
from shared.contracts.ticket import LedgerKind, TicketUpdated
from tests.unit.tickets.desk import PACK, act, agent_id, opened, person

QUEUES = frozenset({"billing"})
LABELS = [level.label for level in PACK.priorities.levels]


def patched(wanted: dict[str, Any], work: Work | None = None) -> tuple[Work, list[Wrong]]:
    work = work or Work.on(opened().ticket)
    return work, fields.patch(work, PACK, wanted, QUEUES, act())


def entries(work: Work) -> list[tuple[LedgerKind | str, str]]:
    """What was written into the ledger."""
    assert work.stored is not None
    return [(e.kind, e.value) for e in work.ticket.ledger if e.number > work.stored.ledger_count]


@pytest.mark.parametrize(
    ("field", "value", "becomes", "told"),
    [
        ("subject", "  Door\nopen ", "Door open", []),
        ("priority", LABELS[0].lower(), LABELS[0], [(LedgerKind.PRIORITY, LABELS[0])]),
        ("queue", "billing", "billing", [(LedgerKind.QUEUE, "billing")]),
        ("product", "portal", "portal", [(LedgerKind.PRODUCT, "portal")]),
        ("tier", "gold", "gold", [(LedgerKind.TIER, "gold")]),
        ("language", "de", "de", []),
        ("tags", ["VIP", "vip", " night "], ("vip", "night"), []),
        ("fields", {"region": "eu"}, {"region": "eu"}, []),
        ("watcher_ids", [str(agent_id(1)), str(agent_id(1))], (agent_id(1),), []),
    ],
)
def test_a_field_is_set_and_the_ledger_told_of_what_clocks_read(
    field: str, value: Any, becomes: object, told: list[tuple[LedgerKind, str]]
) -> None:
    work, wrong = patched({field: value})
    assert wrong == []
    assert getattr(work.ticket, field) == becomes
    assert entries(work) == told
    assert work.stored is not None
    assert work.ticket.version == work.stored.version + 1
    (fact,) = work.facts
    assert isinstance(fact, TicketUpdated)
    assert [change.field for change in fact.changes] == [field]
    assert fact.ticket.version == work.ticket.version
    assert [record.entry.action for record in work.records] == ["updated"]


def test_a_priority_brings_its_rank() -> None:
    work, _ = patched({"priority": LABELS[0]})
    assert work.ticket.rank == PACK.priorities.levels[0].rank


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("subject", " \n "),
        ("subject", 5),
        ("priority", "P99"),
        ("priority", None),
        ("queue", "unknown"),
        ("queue", None),
        ("product", 5),
        ("tags", ["ok", 5]),
        ("tags", "vip"),
        ("watcher_ids", ["ann"]),
        ("watcher_ids", [str(agent_id(n)) for n in range(MAX_WATCHERS + 1)]),
        ("fields", {"text": "x" * MAX_FIELDS_BYTES}),
        ("fields", []),
        ("status", "closed"),
        ("assignee_id", str(agent_id(1))),
        ("version", 9),
    ],
)
def test_what_cannot_be_set_is_named_and_nothing_else_is_set_either(field: str, value: Any) -> None:
    work, wrong = patched({"subject": "New", field: value} if field != "subject" else {"language": "de", field: value})
    assert [one.field for one in wrong] == [field]
    assert wrong[0].detail
    assert not work.changed
    assert (work.facts, work.records) == ([], [])


def test_the_packs_default_queue_is_always_one() -> None:
    work, wrong = patched({"queue": PACK.assignment.default_queue})
    assert (wrong, work.changed) == ([], False)
    elsewhere = Work.on(opened().ticket.but(queue="billing"))
    _, wrong = patched({"queue": PACK.assignment.default_queue}, elsewhere)
    assert wrong == []
    assert elsewhere.ticket.queue == PACK.assignment.default_queue


def test_setting_what_is_so_already_changes_nothing() -> None:
    work, wrong = patched({"subject": opened().ticket.subject, "tags": [], "product": None, "fields": {}})
    assert (wrong, work.changed, work.facts) == ([], False, [])


def test_empty_and_null_take_a_value_away_and_the_ledger_hears_of_it() -> None:
    work = Work.on(opened().ticket.but(product="portal", tier="gold", fields={"a": 1, "b": 2}))
    patched({"product": None, "tier": "  ", "fields": {"a": None, "c": 3}}, work)
    assert (work.ticket.product, work.ticket.tier, work.ticket.fields) == (None, None, {"b": 2, "c": 3})
    assert entries(work) == [(LedgerKind.PRODUCT, ""), (LedgerKind.TIER, "")]


def test_own_fields_may_take_exactly_their_room() -> None:
    room = MAX_FIELDS_BYTES - len('{"text":""}')
    assert patched({"fields": {"text": "x" * room}})[1] == []
    assert patched({"fields": {"text": "x" * (room + 1)}})[1] != []
    assert patched({"watcher_ids": [str(agent_id(n)) for n in range(MAX_WATCHERS)]})[1] == []


@pytest.mark.parametrize(("who", "kept"), [("ann", False), ("ben", True)])
def test_only_the_owner_touches_the_ticket_by_changing_it(who: str, kept: bool) -> None:
    work = opened()
    choice = Choice(person_id=person("ann"), team_id=None, load=1, capacity=5)
    assignment.apply(work, PACK.machine, choice, "least_loaded", act(), untouched_minutes=30)
    fields.patch(work, PACK, {"subject": "New"}, QUEUES, act(who))
    assert (UNTOUCHED_TIMER in work.arm) is kept
