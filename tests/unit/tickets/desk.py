"""Builders of the desk's values, with the default pack."""

from __future__ import annotations

import random
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid5

import yaml

from services.tickets.domain import opening
from services.tickets.domain.conversation import received
from services.tickets.domain.policy import Pack
from services.tickets.domain.work import Act, Work
from services.tickets.domain.workflow import Machine
from shared.contracts import ids
from shared.contracts.message import Body, MessageReceived, Participant
from shared.contracts.pack import Assignment, Numbering, Priorities, Workflow
from shared.contracts.ticket import Actor, ActorKind, AuthorKind

DOCUMENT: dict[str, Any] = yaml.safe_load(
    (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()
)
START = datetime(2026, 3, 2, 9, 0, tzinfo=UTC)


def machine(**workflow: Any) -> Machine:
    """The default workflow, or another."""
    return Machine(Workflow.model_validate(workflow or DOCUMENT["workflow"]))


PACK = Pack(
    machine=machine(),
    priorities=Priorities.model_validate(DOCUMENT["priorities"]),
    assignment=Assignment.model_validate(DOCUMENT["assignment"]),
    numbering=Numbering.model_validate(DOCUMENT["numbering"]),
)


def person(name: str) -> UUID:
    """The id of a person of tenant acme."""
    return ids.person_id("acme", f"{name}@example.org")


def act(name: str = "ann", at: datetime = START, role: str = "agent", seed: int = 1) -> Act:
    """Somebody doing something."""
    actor = Actor(kind=ActorKind.PERSON, id=str(person(name)), role=role)
    return Act(actor, at, random.Random(seed).randbytes)


def message(sender: str = "rita", source: str = "first", **more: Any) -> MessageReceived:
    """A message as ingest publishes it."""
    message_id = ids.message_id(more.get("tenant_id", "acme"), "email", source)
    values: dict[str, Any] = {
        "tenant_id": "acme",
        "message_id": message_id,
        "conversation_id": message_id,
        "channel": "email",
        "received_at": START,
        "sender": Participant(person_id=person(sender), address=f"{sender}@example.org"),
        "subject": "Printer on fire",
        "body": Body(text="It burns."),
    }
    return MessageReceived(**{**values, **more})


def opened(pack: Pack = PACK, at: datetime = START, **more: Any) -> Work:
    """A ticket that a message has just opened."""
    first = message(**more)
    return opening.open_ticket(
        first,
        received(first, AuthorKind.REQUESTER, at),
        pack,
        act("rita", at, "customer"),
        number=pack.number(at.year, 1),
        requester=None,
    )


def stored(work: Work) -> Work:
    """The same ticket, later: read from the database again."""
    return Work.on(work.ticket)


def agent_id(n: int) -> UUID:
    """The id of agent number n."""
    return uuid5(person("agents"), str(n))
