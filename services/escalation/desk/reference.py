"""Colleagues and teams kept as rows of our own, as the replica tells of them."""

from __future__ import annotations

from collections.abc import Sequence
from uuid import UUID

from services.escalation.domain.targets import STAFF_ROLES
from services.escalation.store import staff
from shared.contracts.directory import PersonChanged, TeamChanged
from shared.contracts.manifest import PERSON_CHANGED, TEAM_CHANGED
from shared.db import Tx
from shared.envelope import Tombstone
from shared.replica import Change


async def on_reference_changed(tx: Tx, changes: Sequence[Change]) -> None:
    """Keep colleagues and teams as rows of our own."""
    people: list[PersonChanged] = []
    teams: list[TeamChanged] = []
    gone: dict[str, list[UUID]] = {PERSON_CHANGED.name: [], TEAM_CHANGED.name: []}
    for change in changes:
        if isinstance(change, Tombstone):
            if change.topic in gone:
                gone[change.topic].append(UUID(change.key))
        elif isinstance(change.event, PersonChanged):
            people.append(change.event)
        elif isinstance(change.event, TeamChanged):
            teams.append(change.event)
    if any(gone.values()):
        await staff.remove(tx, gone[PERSON_CHANGED.name], gone[TEAM_CHANGED.name])
    if people:
        # Requesters are most of the people there are: only colleagues, and those who were, are worth a row.
        were = await staff.known(tx, [one.person_id for one in people])
        people = [one for one in people if one.person_id in were or one.role in STAFF_ROLES]
    if people:
        await staff.save_people(tx, people)
    if teams:
        await staff.save_teams(tx, teams)
