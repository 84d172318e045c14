"""What sla, escalation and notify say is shown, raises no version, and survives being told in any order."""

from __future__ import annotations

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationEvent,
    EscalationStarted,
    EscalationStepped,
)
from shared.contracts.message import MessageReceived
from shared.contracts.notification import NotificationFailed
from shared.contracts.sla import SlaBreached, SlaChanged, SlaEvent, SlaMet, SlaWarning
from shared.contracts.ticket import TicketSummary
from shared.envelope import NotYet
from tests.integration.tickets.conftest import Service, message, reply, ticket_id

pytestmark = pytest.mark.engines

NOON = datetime(2026, 3, 2, 12, 0, tzinfo=UTC)
DUE = NOON + timedelta(hours=1)


class Told:
    """One ticket, and how others speak of it."""

    def __init__(self, service: Service, first: MessageReceived, ticket: UUID, summary: TicketSummary) -> None:
        self.service = service
        self.first = first
        self.id = ticket
        self.summary = summary
        self.escalation_id = uuid4()

    @classmethod
    async def of(cls, service: Service) -> Told:
        await service.tenant()
        await service.agent("ann", await service.team())
        first = message()
        await service.handle(first)
        state = await service.state(ticket_id(first))
        return cls(service, first, state.ticket_id, state.ticket)

    def sla(self, kind: type[SlaEvent], **more: Any) -> SlaEvent:
        values = {"clock": "resolution", "cycle": 1, "target_minutes": 60, "calendar": "always", "policy_version": 1}
        base = {"tenant_id": "acme", "ticket_id": self.id, "ticket": self.summary, "based_on_version": 1}
        return kind.model_validate({**base, **values, "due_at": DUE, **more})

    def escalation(self, kind: type[EscalationEvent], **more: Any) -> EscalationEvent:
        base = {"tenant_id": "acme", "ticket_id": self.id, "ticket": self.summary, "path": "p1", "level": 1}
        return kind.model_validate({**base, "escalation_id": self.escalation_id, **more})

    async def derived(self) -> dict[str, Any]:
        return dict((await self.service.retold(self.id)).derived)

    async def status(self) -> str:
        status: str = await self.service.one("SELECT status FROM ticket")
        return status


async def test_a_clocks_news_is_shown_and_raises_no_version(service: Service) -> None:
    told = await Told.of(service)
    before = await service.state(told.id)
    await service.hear(told.sla(SlaChanged, change="started", state="running", reason="opened"), at=NOON)
    state = await service.retold(told.id)
    assert (state.version, state.revision) == (before.version, before.revision + 1)
    assert state.ticket.updated_at == before.ticket.updated_at
    assert state.derived["sla"] == {
        "resolution": {
            "state": "running",
            "due_at": "2026-03-02T13:00:00.000000+00:00",
            "target_minutes": 60.0,
            "cycle": 1,
        }
    }


async def test_what_changes_nothing_is_not_published(service: Service) -> None:
    told = await Told.of(service)
    started = told.sla(SlaChanged, change="started", state="running", reason="opened")
    await service.hear(started, at=NOON)
    before = await service.retold(told.id)
    assert await service.hear(started, at=NOON + timedelta(seconds=1)) == []
    assert await service.hear(started, at=NOON - timedelta(seconds=1)) == []
    assert await service.retold(told.id) == before


async def test_whatever_is_said_within_a_second_is_published_once(service: Service) -> None:
    told = await Told.of(service)
    before = len(await service.published("ticket.state"))
    for clock in ("first_response", "resolution"):
        said = told.sla(SlaChanged, clock=clock, change="started", state="running", reason="opened")
        assert await service.hear(said, at=NOON) == [], "not yet"
    assert set((await told.derived())["sla"]) == {"first_response", "resolution"}
    assert len(await service.published("ticket.state")) == before + 1


async def test_what_was_said_goes_out_with_a_change_that_comes_first_and_not_again(service: Service) -> None:
    told = await Told.of(service)
    said = told.sla(SlaChanged, change="started", state="running", reason="opened")
    await service.hear(said, at=NOON)
    await service.handle(reply(told.first))
    changed = await service.state(told.id)
    assert (changed.version, "sla" in changed.derived) == (2, True)
    assert await service.retold(told.id) == changed
    assert await service.rows("SELECT * FROM untold") == []


async def test_a_clocks_news_comes_to_the_same_in_any_order_of_its_topics(service: Service) -> None:
    told = await Told.of(service)
    story = [
        (told.sla(SlaChanged, change="started", state="running", reason="opened"), NOON),
        (told.sla(SlaWarning, share_left=0.2, remaining_minutes=12), NOON + timedelta(minutes=48)),
        (told.sla(SlaBreached, breached_at=DUE, provisional=True), DUE),
        (told.sla(SlaChanged, change="withdrawn", state="met", reason="late_reply"), DUE + timedelta(minutes=1)),
    ]
    for order in itertools.permutations(story):
        await service.rows("UPDATE ticket SET derived = '{}', heard = '{}'")
        for event, at in order:
            await service.hear(event, at=at)
        shown = await service.one("SELECT derived->'sla'->'resolution'->>'state' FROM ticket")
        assert shown == "met", [type(event).__name__ for event, _ in order]


async def test_a_confirmed_breach_is_no_longer_provisional_and_an_earlier_cycle_is_over(service: Service) -> None:
    told = await Told.of(service)
    await service.hear(told.sla(SlaBreached, breached_at=DUE, provisional=True), at=DUE)
    assert (await told.derived())["sla"]["resolution"]["provisional"] is True
    confirmed = told.sla(SlaChanged, change="confirmed", state="breached", reason="watermark")
    await service.hear(confirmed, at=DUE + timedelta(minutes=1))
    shown = (await told.derived())["sla"]["resolution"]
    assert (shown["state"], "provisional" in shown, shown["breached_at"]) == ("breached", False, shown["due_at"])
    second = told.sla(SlaChanged, cycle=2, change="started", state="running", reason="reopened")
    await service.hear(second, at=DUE + timedelta(hours=2))
    await service.hear(told.sla(SlaMet, met_at=DUE, elapsed_minutes=60), at=DUE + timedelta(hours=3))
    assert (await told.derived())["sla"]["resolution"]["state"] == "running"


async def test_a_late_breach_is_shown_although_its_instant_is_before_what_was_told(service: Service) -> None:
    """Its time is the due one: a clock that started late has its breach told after, and dated before."""
    told = await Told.of(service)
    started = told.sla(SlaChanged, change="started", state="running", reason="opened")
    await service.hear(started, at=DUE + timedelta(minutes=5))
    await service.hear(told.sla(SlaBreached, breached_at=DUE), at=DUE)
    assert (await told.derived())["sla"]["resolution"]["state"] == "breached"


async def test_the_second_step_escalates_the_ticket_and_its_end_brings_it_back(service: Service) -> None:
    told = await Told.of(service)
    await service.hear(told.escalation(EscalationStarted, cause="ticket.created", steps=3), at=NOON)
    await service.hear(told.escalation(EscalationStepped, step=1, name="agent", next_at=DUE), at=NOON)
    assert await told.status() == "open"
    later = NOON + timedelta(minutes=15)
    await service.hear(told.escalation(EscalationStepped, step=2, name="team_lead"), at=later)
    assert await told.status() == "escalated"
    shown = (await told.derived())["escalation"]
    assert shown == {"state": "running", "path": "p1", "level": 1, "step": 2, "step_name": "team_lead"}
    await service.hear(told.escalation(EscalationAcknowledged, step=2, via="page"), at=later + timedelta(minutes=1))
    assert await told.status() == "open"
    shown = (await told.derived())["escalation"]
    assert (shown["state"], shown["step_name"]) == ("acknowledged", "team_lead")
    moves = [(m["previous"], m["current"], m["trigger"]) for m in await service.published("ticket.status_changed")]
    assert moves[-2:] == [("open", "escalated", "escalated"), ("escalated", "open", "escalation_ended")]


async def test_an_escalation_that_ended_stays_ended_whatever_comes_late(service: Service) -> None:
    told = await Told.of(service)
    await service.hear(told.escalation(EscalationEnded, step=2, reason="solved"), at=NOON)
    revision = (await service.retold(told.id)).revision
    for late in (
        told.escalation(EscalationStarted, cause="ticket.created", steps=3),
        told.escalation(EscalationStepped, step=2, name="team_lead"),
        told.escalation(EscalationAcknowledged, step=2, via="page"),
    ):
        await service.hear(late, at=NOON - timedelta(minutes=1))
    assert await told.status() == "open"
    assert (await told.derived())["escalation"]["state"] == "ended"
    assert (await service.state(told.id)).revision == revision


async def test_a_level_that_rises_at_the_same_step_is_shown_and_never_falls_back(service: Service) -> None:
    told = await Told.of(service)
    for level in (1, 3, 2):
        await service.hear(told.escalation(EscalationStepped, step=2, name="team_lead", level=level), at=NOON)
    shown = (await told.derived())["escalation"]
    assert (shown["level"], shown["step"], shown["step_name"]) == (3, 2, "team_lead")


async def test_the_ticket_stays_escalated_while_another_escalation_presses(service: Service) -> None:
    told = await Told.of(service)
    await service.hear(told.escalation(EscalationStepped, step=2, name="team_lead"), at=NOON)
    first, told.escalation_id = told.escalation_id, uuid4()
    await service.hear(told.escalation(EscalationStepped, step=3, name="manager", level=3, path="p0"), at=NOON)
    assert (await told.derived())["escalation"]["path"] == "p0", "the higher level is shown"
    await service.hear(told.escalation(EscalationEnded, step=3, reason="cancelled"), at=NOON)
    assert await told.status() == "escalated"
    told.escalation_id = first
    await service.hear(told.escalation(EscalationEnded, step=2, reason="cancelled"), at=NOON)
    assert await told.status() == "open"


async def test_failed_deliveries_are_counted(service: Service) -> None:
    told = await Told.of(service)
    failed = NotificationFailed(
        tenant_id="acme",
        ticket_id=told.id,
        delivery_id=uuid4(),
        channel="email",
        template="reply",
        attempts=10,
        reason="refused",
        failed_at=NOON,
    )
    await service.hear(failed, failed)
    assert (await told.derived())["notifications"] == {"failed": 2}


async def test_news_of_a_ticket_that_is_not_here_waits(service: Service) -> None:
    told = await Told.of(service)
    told.id = uuid4()
    answers = await service.hear(told.sla(SlaMet, met_at=DUE, elapsed_minutes=1), at=DUE)
    assert [type(answer) for answer in answers] == [NotYet]
