"""A small desk for escalation's tests: one team, a colleague of every role, tickets and policies."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_DNS, UUID, uuid5

from services.directory.domain.pack_check import check
from services.escalation.domain.escalation import Escalation
from services.escalation.domain.policy import Policy
from services.escalation.domain.stepping import Moment
from services.escalation.domain.targets import Person, Staff, Team
from services.escalation.domain.ticket import KnownTicket
from shared.contracts.directory import PersonChanged, PolicyPublished, Role, TeamChanged
from shared.contracts.pack import EscalationPaths, StateCategory
from shared.contracts.ticket import (
    Actor,
    AuthorKind,
    Link,
    LinkKind,
    MessageRef,
    PriorityLevel,
    TicketMessage,
    TicketState,
    TicketSummary,
    Visibility,
)

START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)
DEFAULT: Mapping[str, Any] = check(
    (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()
).sections["escalation"]
LABELS = ("P1", "P2", "P3", "P4")


def person(name: str, tenant: str = "acme") -> UUID:
    """A colleague's id."""
    return uuid5(NAMESPACE_DNS, f"{name}.{tenant}.example")


AGENT, OTHER, LEAD, MANAGER, ADMIN = (person(name) for name in ("agent", "other", "lead", "manager", "admin"))
ROLES = {
    "agent": Role.AGENT,
    "other": Role.AGENT,
    "lead": Role.TEAM_LEAD,
    "manager": Role.MANAGER,
    "admin": Role.ADMIN,
}
TEAM = uuid5(NAMESPACE_DNS, "tier1")
IN_TEAM = ("agent", "other", "lead")


def staff(*away: str, **on_call: str) -> Staff:
    """Everybody but those who are away; `primary="other"` is on call."""
    return Staff(
        people={
            person(name): Person(
                person_id=person(name),
                role=role,
                active=name not in away,
                team_ids=(TEAM,) if name in IN_TEAM else (),
            )
            for name, role in ROLES.items()
        },
        teams=[Team(team_id=TEAM, name="Tier 1", queues=("tier1",), lead_id=LEAD)],
        on_call={schedule: person(name) for schedule, name in on_call.items() if name not in away},
    )


def policy(**changed: Any) -> Policy:
    """The default pack's section, with parts replaced."""
    return Policy(section=EscalationPaths.model_validate({**DEFAULT, **changed}))


def ticket_id(name: str = "one") -> UUID:
    """A ticket's id."""
    return uuid5(NAMESPACE_DNS, f"ticket.{name}")


def summary(
    name: str = "one",
    *,
    label: str = "P3",
    version: int = 1,
    category: str = StateCategory.OPEN,
    assignee: UUID | None = AGENT,
    at: datetime = START,
    created: datetime | None = None,
    tags: tuple[str, ...] = (),
    queue: str = "tier1",
) -> TicketSummary:
    """A ticket as facts carry it."""
    return TicketSummary(
        ticket_id=ticket_id(name),
        number="INC-2026-000123",
        version=version,
        subject="Nothing works",
        status=str(category),
        category=category,
        priority=PriorityLevel(rank=LABELS.index(label) + 1, label=label),
        requester_id=person("customer"),
        assignee_id=assignee,
        team_id=TEAM if assignee else None,
        queue=queue,
        channel="email",
        tags=tags,
        created_at=created or at,
        updated_at=at,
    )


def known(name: str = "one", *, answered: datetime | None = None, **given: Any) -> KnownTicket:
    """A ticket as escalation knows it."""
    found = summary(name, **given)
    made = KnownTicket(
        ticket_id=found.ticket_id, tenant_id="acme", summary=found, partition=0, state_version=found.version
    )
    return replace(made, responded_at=answered)


def state(
    name: str = "one",
    *,
    tenant: str = "acme",
    answered: datetime | None = None,
    merged_into: UUID | None = None,
    duplicates: int = 0,
    cycle: int = 1,
    **given: Any,
) -> TicketState:
    """A ticket's newest state."""
    found = summary(name, **given)
    reference = MessageRef(
        message_id=uuid5(NAMESPACE_DNS, f"{name}{answered}"),
        author_kind=AuthorKind.AGENT,
        visibility=Visibility.PUBLIC,
        created_at=answered or START,
    )
    link = Link(kind=LinkKind.DUPLICATES, ticket_id=ticket_id("other"), number="INC-2026-000007")
    return TicketState(
        tenant_id=tenant,
        ticket_id=found.ticket_id,
        version=found.version,
        revision=found.version,
        ticket=found,
        cycle=cycle,
        messages=(reference,) if answered else (),
        merged_into=merged_into,
        links=(link,) * duplicates,
    )


def message(at: datetime = START) -> TicketMessage:
    """The first message of a ticket."""
    return TicketMessage.model_validate(
        {
            "message_id": uuid5(NAMESPACE_DNS, "message"),
            "author_kind": AuthorKind.REQUESTER,
            "channel": "email",
            "body": {"text": "Nothing works."},
            "created_at": at,
        }
    )


def colleague(person_id: UUID = AGENT, role: Role = Role.AGENT) -> Actor:
    """A person of ours who acts."""
    return Actor(kind="person", id=str(person_id), role=role)


def moment(minutes: float = 0, ticket: TicketSummary | None = None, those: Staff | None = None) -> Moment:
    """So many minutes after the start."""
    return Moment(
        now=START + timedelta(minutes=minutes),
        ticket=ticket or summary(label="P1"),
        staff=those or staff(primary="other"),
    )


def told(one: Escalation) -> list[str]:
    """What an escalation has to tell, in order and in short; taken from it."""
    found = []
    for fact in one.facts:
        name = type(fact).__name__.removeprefix("Escalation")
        found.append(f"{name} {fact.step} {fact.name}" if name == "Stepped" else name)  # type: ignore[union-attr]
    one.facts.clear()
    return found


# -- reference data as directory publishes it -------------------------------------------------------------------------


def policy_event(tenant: str = "acme", **sections: Any) -> PolicyPublished:
    """A tenant's escalation section: the default one, with parts replaced."""
    return PolicyPublished(
        tenant_id=tenant,
        policy_key=f"{tenant}/escalation",
        section="escalation",
        pack="default",
        pack_version=len(sections) + 1,
        document={**DEFAULT, **sections},
        published_at=START,
    )


def team(tenant: str = "acme") -> TeamChanged:
    """The one team."""
    return TeamChanged(
        tenant_id=tenant,
        team_id=TEAM if tenant == "acme" else uuid5(TEAM, tenant),
        version=1,
        name="Tier 1",
        queues=("tier1",),
        lead_id=person("lead", tenant),
    )


def people(tenant: str = "acme") -> list[PersonChanged]:
    """A colleague of every role, and a customer."""
    own = team(tenant).team_id
    staffed = [
        PersonChanged(
            tenant_id=tenant,
            person_id=person(name, tenant),
            version=1,
            role=role,
            name=name.title(),
            team_ids=(own,) if name in IN_TEAM else (),
        )
        for name, role in ROLES.items()
    ]
    return [*staffed, PersonChanged(tenant_id=tenant, person_id=person("customer", tenant), version=1)]
