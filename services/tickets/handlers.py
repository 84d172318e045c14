"""What arrives on Kafka: messages, decisions, news of others; reference data kept as assignment needs it."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.tickets.desk.batch import Incoming
from services.tickets.desk.deciding import Deciding
from services.tickets.desk.hearing import Hearing
from services.tickets.desk.intake import Intake
from services.tickets.desk.saving import fill_timer
from services.tickets.store import agents
from shared import timers
from shared.contracts.decision import TicketDuplicatesFound, TicketTriaged
from shared.contracts.directory import PersonChanged, TeamChanged
from shared.contracts.escalation import EscalationEvent
from shared.contracts.manifest import PERSON_CHANGED, TEAM_CHANGED
from shared.contracts.message import MessageReceived
from shared.contracts.notification import NotificationFailed
from shared.contracts.sla import SlaEvent
from shared.db import Tx
from shared.envelope import Answer, Received, Tombstone
from shared.replica import Change


class Handlers:
    """The handlers of one service."""

    def __init__(self, intake: Intake, deciding: Deciding, hearing: Hearing) -> None:
        self._intake = intake
        self._deciding = deciding
        self._hearing = hearing

    async def on_message_received(self, tx: Tx, batch: Sequence[Received[MessageReceived]]) -> Sequence[Answer]:
        """Create or continue a ticket for each message."""
        return await self._intake.receive(tx, [Incoming(message=one.event, cause=one) for one in batch])

    async def on_ticket_triaged(self, tx: Tx, batch: Sequence[Received[TicketTriaged]]) -> Sequence[Answer]:
        """Apply what triage decided, and give out what waited for it."""
        return await self._deciding.triaged(tx, batch)

    async def on_ticket_duplicates_found(
        self, tx: Tx, batch: Sequence[Received[TicketDuplicatesFound]]
    ) -> Sequence[Answer]:
        """Suggest duplicates."""
        return await self._deciding.duplicates_found(tx, batch)

    async def on_sla(self, tx: Tx, batch: Sequence[Received[SlaEvent]]) -> Sequence[Answer]:
        """Show what sla says of a ticket's clocks; every topic of sla's."""
        return await self._hearing.sla(tx, batch)

    async def on_escalation(self, tx: Tx, batch: Sequence[Received[EscalationEvent]]) -> Sequence[Answer]:
        """Show how a ticket's escalation stands, and move the ticket with it; every topic of escalation's."""
        return await self._hearing.escalation(tx, batch)

    async def on_notification_failed(self, tx: Tx, batch: Sequence[Received[NotificationFailed]]) -> Sequence[Answer]:
        """Count what could not be delivered."""
        return await self._hearing.notification_failed(tx, batch)


async def on_reference_changed(tx: Tx, changes: Sequence[Change]) -> None:
    """Keep agents and teams as rows of our own; have the queues looked at in which somebody may have room now."""
    people: list[PersonChanged] = []
    teams: list[TeamChanged] = []
    gone_people: list[UUID] = []
    gone_teams: list[UUID] = []
    for change in changes:
        if isinstance(change, Tombstone):
            if change.topic == PERSON_CHANGED.name:
                gone_people.append(UUID(change.key))
            elif change.topic == TEAM_CHANGED.name:
                gone_teams.append(UUID(change.key))
        elif isinstance(change.event, PersonChanged):
            people.append(change.event)
        elif isinstance(change.event, TeamChanged):
            teams.append(change.event)
    if gone_people or gone_teams:
        await agents.remove(tx, gone_people, gone_teams)
    if people:
        # Requesters are most of the people there are: only agents, and those who were, are worth a row.
        were = await agents.known(tx, [p.person_id for p in people])
        people = [p for p in people if p.person_id in were or p.role in agents.AGENT_ROLES]
    if people:
        await agents.save_people(tx, sorted(people, key=lambda p: p.person_id))
    if teams:
        await agents.save_teams(tx, sorted(teams, key=lambda t: t.team_id))
    if people or teams:
        affected = {team for p in people if p.available for team in p.team_ids} | {t.team_id for t in teams}
        queues = await agents.queues_of(tx, sorted(affected))
        await timers.arm(tx, [fill_timer(tx, tenant, queue) for tenant, queue in queues])
