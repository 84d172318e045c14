"""Whom a target of a pack means, for one ticket, at one instant."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol
from uuid import UUID

from shared.contracts.directory import Role
from shared.contracts.escalation import EscalationTarget

STAFF_ROLES = frozenset({Role.AGENT, Role.TEAM_LEAD, Role.MANAGER, Role.ADMIN})
"""Roles of people who can be paged."""


class Placed(Protocol):
    """A ticket, as far as finding people for it goes."""

    @property
    def queue(self) -> str:
        """Where it waits."""

    @property
    def assignee_id(self) -> UUID | None:
        """Who owns it."""

    @property
    def team_id(self) -> UUID | None:
        """Through which team."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Person:
    """A colleague."""

    person_id: UUID
    role: str
    active: bool
    team_ids: tuple[UUID, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Team:
    """A team and what it serves."""

    team_id: UUID
    name: str
    queues: tuple[str, ...] = ()
    lead_id: UUID | None = None


@dataclass(frozen=True, kw_only=True)
class Staff:
    """One tenant's colleagues and active teams, and who is on call now."""

    people: Mapping[UUID, Person] = field(default_factory=dict)
    teams: Sequence[Team] = ()
    on_call: Mapping[str, UUID] = field(default_factory=dict)
    """By schedule; one that does not exist or has nobody is not in it."""

    @property
    def active(self) -> frozenset[UUID]:
        """Who can be reached."""
        return frozenset(person.person_id for person in self.people.values() if person.active)

    def members(self, team_ids: Iterable[UUID]) -> list[UUID]:
        """Who is in any of these teams."""
        wanted = set(team_ids)
        return [person.person_id for person in self.people.values() if wanted & set(person.team_ids)]


def resolve(target: str, ticket: Placed, staff: Staff) -> tuple[EscalationTarget, ...]:
    """The active colleagues that a target means, in the order of their ids; none where it means nobody."""
    found = {one for one in _meant(target, ticket, staff) if (person := staff.people.get(one)) and person.active}
    return tuple(EscalationTarget(person_id=one, via=target) for one in sorted(found))


def first_of(
    targets: Sequence[str], ticket: Placed, staff: Staff, *, after: int = 0
) -> tuple[int, tuple[EscalationTarget, ...]]:
    """The first target from number `after` on that yields somebody, and whom; past the last where none does."""
    for number in range(after, len(targets)):
        people = resolve(targets[number], ticket, staff)
        if people:
            return number, people
    return len(targets), ()


def _meant(target: str, ticket: Placed, staff: Staff) -> Iterator[UUID]:
    kind, _, name = target.partition(":")
    serving = [team for team in staff.teams if ticket.queue in team.queues]
    match kind:
        case "assignee":
            if ticket.assignee_id is not None:
                yield ticket.assignee_id
        case "on_call":
            if name in staff.on_call:
                yield staff.on_call[name]
        case "team_lead":
            own = [team for team in staff.teams if team.team_id == ticket.team_id]
            leads = [lead for team in own for lead in _leads(team, staff)]
            yield from leads or [lead for team in serving for lead in _leads(team, staff)]
        case "queue_team":
            yield from staff.members(team.team_id for team in serving)
        case "role":
            yield from (person.person_id for person in staff.people.values() if person.role == name)
        case "team":
            wanted = name.casefold()
            yield from staff.members(team.team_id for team in staff.teams if team.name.casefold() == wanted)
        case _:
            # Of a later release's pack: nobody, which the step says aloud.
            return


def _leads(team: Team, staff: Staff) -> list[UUID]:
    """The named lead if active, else everybody with that role in the team."""
    lead = staff.people.get(team.lead_id) if team.lead_id is not None else None
    if lead is not None and lead.active:
        return [lead.person_id]
    return [
        person.person_id
        for person in staff.people.values()
        if person.active and person.role == Role.TEAM_LEAD and team.team_id in person.team_ids
    ]
