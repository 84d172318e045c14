"""Every topic there is: owner, readers, key, retention.

Topics are created from here; a test holds it against the code.
"""

from __future__ import annotations

from datetime import timedelta

from shared.contracts.chat import ChatReplyMissed
from shared.contracts.decision import (
    TicketDecisionApplied,
    TicketDecisionRefused,
    TicketDuplicatesFound,
    TicketMerged,
    TicketRated,
    TicketTransferChanged,
    TicketTriaged,
    TicketUnmerged,
)
from shared.contracts.directory import (
    CredentialChanged,
    PersonChanged,
    PolicyPublished,
    TeamChanged,
    TenantChanged,
)
from shared.contracts.escalation import (
    EscalationAcknowledged,
    EscalationEnded,
    EscalationStarted,
    EscalationStepped,
    PageCancelled,
    PageRequested,
    PageResponse,
)
from shared.contracts.event import Event, Topic
from shared.contracts.message import MessageQuarantined, MessageReceived
from shared.contracts.notification import NotificationDelivered, NotificationFailed, SuppressionChanged
from shared.contracts.sla import SlaBreached, SlaChanged, SlaMet, SlaWarning
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
    paced_by="tickets",
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
    consumers=("escalation", "ingest", "notify", "sla", "tickets", "triage"),
    events=(TenantChanged,),
    summary="Tenants, with their zone, languages and inbound addresses.",
    compacted=True,
)
PERSON_CHANGED = Topic(
    name="person.changed",
    owner="directory",
    consumers=("escalation", "notify", "sla", "tickets", "triage"),
    events=(PersonChanged,),
    summary="Requesters and agents, with roles, teams, skills, capacity.",
    compacted=True,
)
TEAM_CHANGED = Topic(
    name="team.changed",
    owner="directory",
    consumers=("escalation", "notify", "tickets"),
    events=(TeamChanged,),
    summary="Teams and the queues they serve.",
    compacted=True,
)
CREDENTIAL_CHANGED = Topic(
    name="credential.changed",
    owner="directory",
    consumers=("escalation", "ingest", "notify", "search", "sla", "tickets", "triage"),
    events=(CredentialChanged,),
    summary="Hashes of API keys and public signing keys, so that every service verifies offline.",
    compacted=True,
)
POLICY_PUBLISHED = Topic(
    name="policy.published",
    owner="directory",
    consumers=("escalation", "notify", "sla", "tickets", "triage"),
    events=(PolicyPublished,),
    summary="Policy packs by tenant and section.",
    compacted=True,
)
TICKET_CREATED = Topic(
    name="ticket.created",
    owner="tickets",
    consumers=("escalation", "notify", "search", "triage"),
    events=(TicketCreated,),
    summary="A ticket exists.",
)
TICKET_MESSAGE_ADDED = Topic(
    name="ticket.message_added",
    owner="tickets",
    consumers=("ingest", "notify", "search", "triage"),
    events=(TicketMessageAdded,),
    summary="A message joined a ticket's conversation.",
)
TICKET_STATUS_CHANGED = Topic(
    name="ticket.status_changed",
    owner="tickets",
    consumers=("escalation", "notify"),
    events=(TicketStatusChanged,),
    summary="A ticket went from one state to another.",
)
TICKET_ASSIGNED = Topic(
    name="ticket.assigned",
    owner="tickets",
    consumers=("escalation", "notify"),
    events=(TicketAssigned,),
    summary="A ticket has another owner.",
)
TICKET_UPDATED = Topic(
    name="ticket.updated",
    owner="tickets",
    consumers=("notify", "triage"),
    events=(TicketUpdated,),
    summary="Fields of a ticket changed.",
)
TICKET_STATE = Topic(
    name="ticket.state",
    owner="tickets",
    consumers=("escalation", "search", "sla"),
    events=(TicketState,),
    summary="The newest state of each ticket, with its version and ledger.",
    compacted=True,
    # Watermarks come several times a second: an hour of them is what a new reader goes through, not a week.
    segment=timedelta(hours=1),
)
TICKET_TRIAGED = Topic(
    name="ticket.triaged",
    owner="triage",
    consumers=("tickets",),
    events=(TicketTriaged,),
    summary="triage's decision about a ticket, with its reasons.",
)
TICKET_DUPLICATES_FOUND = Topic(
    name="ticket.duplicates_found",
    owner="search",
    consumers=("tickets",),
    events=(TicketDuplicatesFound,),
    summary="Tickets that a new one seems to repeat.",
)
TICKET_DECISION_APPLIED = Topic(
    name="ticket.decision_applied",
    owner="tickets",
    consumers=("notify",),
    events=(TicketDecisionApplied,),
    summary="A decision became part of a ticket.",
)
TICKET_DECISION_REFUSED = Topic(
    name="ticket.decision_refused",
    owner="tickets",
    consumers=(),
    events=(TicketDecisionRefused,),
    summary="Nothing of a decision was applied, and why.",
)
TICKET_MERGED = Topic(
    name="ticket.merged",
    owner="tickets",
    consumers=("notify",),
    events=(TicketMerged,),
    summary="A ticket goes on in another one.",
)
TICKET_UNMERGED = Topic(
    name="ticket.unmerged",
    owner="tickets",
    consumers=("notify",),
    events=(TicketUnmerged,),
    summary="A merge was taken back.",
)
TICKET_TRANSFER_CHANGED = Topic(
    name="ticket.transfer_changed",
    owner="tickets",
    consumers=("notify",),
    events=(TicketTransferChanged,),
    summary="One agent asks another to take a ticket, and the answer.",
)
TICKET_RATED = Topic(
    name="ticket.rated",
    owner="tickets",
    consumers=("notify",),
    events=(TicketRated,),
    summary="The requester says how it was.",
)
SLA_WARNING = Topic(
    name="sla.warning",
    owner="sla",
    consumers=("escalation", "notify", "tickets"),
    events=(SlaWarning,),
    summary="Little of an SLA target is left.",
)
SLA_BREACHED = Topic(
    name="sla.breached",
    owner="sla",
    consumers=("escalation", "notify", "tickets"),
    events=(SlaBreached,),
    summary="An SLA target ran out.",
)
SLA_MET = Topic(
    name="sla.met",
    owner="sla",
    consumers=("notify", "tickets"),
    events=(SlaMet,),
    summary="An SLA target was reached in time.",
)
SLA_CHANGED = Topic(
    name="sla.changed",
    owner="sla",
    consumers=("escalation", "notify", "tickets"),
    events=(SlaChanged,),
    summary="An SLA clock started, paused, got another due instant, or a breach was withdrawn.",
)
ESCALATION_STARTED = Topic(
    name="escalation.started",
    owner="escalation",
    consumers=("notify", "tickets"),
    events=(EscalationStarted,),
    summary="An escalation path begins.",
)
ESCALATION_STEPPED = Topic(
    name="escalation.stepped",
    owner="escalation",
    consumers=("notify", "tickets"),
    events=(EscalationStepped,),
    summary="An escalation reached its next step.",
)
ESCALATION_ACKNOWLEDGED = Topic(
    name="escalation.acknowledged",
    owner="escalation",
    consumers=("notify", "tickets"),
    events=(EscalationAcknowledged,),
    summary="Somebody took an escalation.",
)
ESCALATION_ENDED = Topic(
    name="escalation.ended",
    owner="escalation",
    consumers=("notify", "tickets"),
    events=(EscalationEnded,),
    summary="An escalation is over.",
)
PAGE_REQUESTED = Topic(
    name="page.requested",
    owner="escalation",
    consumers=("notify",),
    events=(PageRequested,),
    summary="A person is to be reached now.",
)
PAGE_CANCELLED = Topic(
    name="page.cancelled",
    owner="escalation",
    consumers=("notify",),
    events=(PageCancelled,),
    summary="A page is not needed any more.",
)
PAGE_RESPONSE = Topic(
    name="page.response",
    owner="notify",
    consumers=("escalation",),
    events=(PageResponse,),
    summary="A paged person answered.",
)
NOTIFICATION_DELIVERED = Topic(
    name="notification.delivered",
    owner="notify",
    consumers=("ingest",),
    events=(NotificationDelivered,),
    summary="A delivery was handed off.",
)
NOTIFICATION_FAILED = Topic(
    name="notification.failed",
    owner="notify",
    consumers=("escalation", "tickets"),
    events=(NotificationFailed,),
    summary="A delivery was given up.",
)
CHAT_REPLY_MISSED = Topic(
    name="chat.reply_missed",
    owner="ingest",
    consumers=("notify",),
    events=(ChatReplyMissed,),
    summary="A chat visitor left before an answer reached them.",
)
SUPPRESSION_CHANGED = Topic(
    name="suppression.changed",
    owner="ingest",
    consumers=("notify",),
    events=(SuppressionChanged,),
    summary="Addresses that are not to be written to.",
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
    TICKET_TRIAGED,
    TICKET_DUPLICATES_FOUND,
    TICKET_DECISION_APPLIED,
    TICKET_DECISION_REFUSED,
    TICKET_MERGED,
    TICKET_UNMERGED,
    TICKET_TRANSFER_CHANGED,
    TICKET_RATED,
    SLA_WARNING,
    SLA_BREACHED,
    SLA_MET,
    SLA_CHANGED,
    ESCALATION_STARTED,
    ESCALATION_STEPPED,
    ESCALATION_ACKNOWLEDGED,
    ESCALATION_ENDED,
    PAGE_REQUESTED,
    PAGE_CANCELLED,
    PAGE_RESPONSE,
    NOTIFICATION_DELIVERED,
    NOTIFICATION_FAILED,
    CHAT_REPLY_MISSED,
    SUPPRESSION_CHANGED,
)

_BY_NAME = {topic.name: topic for topic in TOPICS}
_BY_EVENT = {event: topic for topic in TOPICS for event in topic.events}


def topic(name: str) -> Topic:
    """The topic of that name. Raises KeyError."""
    return _BY_NAME[name]


def topic_of(event: type[Event]) -> Topic:
    """The topic an event class is published on. Raises KeyError for a class that no topic lists."""
    return _BY_EVENT[event]
