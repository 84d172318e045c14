"""Every topic there is: owner, readers, key, retention.

Topics are created from here; a test holds it against the code.
"""

from __future__ import annotations

from shared.contracts.directory import (
    CredentialChanged,
    PersonChanged,
    PolicyPublished,
    TeamChanged,
    TenantChanged,
)
from shared.contracts.event import Event, Topic
from shared.contracts.message import MessageQuarantined, MessageReceived
from shared.contracts.ticket import (
    TicketAssigned,
    TicketCreated,
    TicketMessageAdded,
    TicketState,
    TicketStatusChanged,
    TicketUpdated,
)

MESSAGE_RECEIVED = Topic(
    name="message.received",
    owner="ingest",
    consumers=("directory", "tickets"),
    events=(MessageReceived,),
    summary="A message from any channel was accepted and stored.",
)
MESSAGE_QUARANTINED = Topic(
    name="message.quarantined",
    owner="ingest",
    consumers=(),
    events=(MessageQuarantined,),
    summary="A message was stored but could not be read; it waits for a person.",
)
TENANT_CHANGED = Topic(
    name="tenant.changed",
    owner="directory",
    consumers=("ingest", "tickets"),
    events=(TenantChanged,),
    summary="Tenants, with their zone, languages and inbound addresses.",
    compacted=True,
)
PERSON_CHANGED = Topic(
    name="person.changed",
    owner="directory",
    consumers=("tickets",),
    events=(PersonChanged,),
    summary="Requesters and agents, with roles, teams, skills, capacity.",
    compacted=True,
)
TEAM_CHANGED = Topic(
    name="team.changed",
    owner="directory",
    consumers=("tickets",),
    events=(TeamChanged,),
    summary="Teams and the queues they serve.",
    compacted=True,
)
CREDENTIAL_CHANGED = Topic(
    name="credential.changed",
    owner="directory",
    consumers=("ingest", "tickets"),
    events=(CredentialChanged,),
    summary="Hashes of API keys and public signing keys, so that every service verifies offline.",
    compacted=True,
)
POLICY_PUBLISHED = Topic(
    name="policy.published",
    owner="directory",
    consumers=("tickets",),
    events=(PolicyPublished,),
    summary="Policy packs by tenant and section.",
    compacted=True,
)
TICKET_CREATED = Topic(
    name="ticket.created",
    owner="tickets",
    consumers=(),
    events=(TicketCreated,),
    summary="A ticket exists.",
)
TICKET_MESSAGE_ADDED = Topic(
    name="ticket.message_added",
    owner="tickets",
    consumers=(),
    events=(TicketMessageAdded,),
    summary="A message joined a ticket's conversation.",
)
TICKET_STATUS_CHANGED = Topic(
    name="ticket.status_changed",
    owner="tickets",
    consumers=(),
    events=(TicketStatusChanged,),
    summary="A ticket went from one state to another.",
)
TICKET_ASSIGNED = Topic(
    name="ticket.assigned",
    owner="tickets",
    consumers=(),
    events=(TicketAssigned,),
    summary="A ticket has another owner.",
)
TICKET_UPDATED = Topic(
    name="ticket.updated",
    owner="tickets",
    consumers=(),
    events=(TicketUpdated,),
    summary="Fields of a ticket changed.",
)
TICKET_STATE = Topic(
    name="ticket.state",
    owner="tickets",
    consumers=(),
    events=(TicketState,),
    summary="The newest state of each ticket, with its version and ledger.",
    compacted=True,
)

TOPICS: tuple[Topic, ...] = (
    MESSAGE_RECEIVED,
    MESSAGE_QUARANTINED,
    TENANT_CHANGED,
    PERSON_CHANGED,
    TEAM_CHANGED,
    CREDENTIAL_CHANGED,
    POLICY_PUBLISHED,
    TICKET_CREATED,
    TICKET_MESSAGE_ADDED,
    TICKET_STATUS_CHANGED,
    TICKET_ASSIGNED,
    TICKET_UPDATED,
    TICKET_STATE,
)

_BY_NAME = {topic.name: topic for topic in TOPICS}
_BY_EVENT = {event: topic for topic in TOPICS for event in topic.events}


def topic(name: str) -> Topic:
    """The topic of that name. Raises KeyError."""
    return _BY_NAME[name]


def topic_of(event: type[Event]) -> Topic:
    """The topic an event class is published on. Raises KeyError for a class that no topic lists."""
    return _BY_EVENT[event]
