"""What an endpoint is sent: `{type, timestamp, data}`, the data as the event stands on its topic."""

from __future__ import annotations

from datetime import datetime
from uuid import UUID, uuid5

import orjson

from shared.contracts.cloudevents import text_time
from shared.contracts.event import Event
from shared.contracts.ticket import TicketMessageAdded, Visibility

PING = "webhook.ping"
"""The type of a test; no filter is asked about it."""
TOLD = ("ticket.", "sla.", "escalation.", "page.")
"""First words of what is told to the outside. Reference data and what services tell each other are not."""


def is_told(event_type: str) -> bool:
    """Whether events of this type are told to endpoints and listeners at all."""
    return event_type.startswith(TOLD)


def is_internal(event: Event) -> bool:
    """Whether an event carries what only the desk may read: an internal note."""
    return isinstance(event, TicketMessageAdded) and event.message.visibility != Visibility.PUBLIC


def body(event_type: str, time: datetime, data: bytes) -> bytes:
    """The JSON sent; `data` is the event's own JSON, taken over byte for byte."""
    head = orjson.dumps({"type": event_type, "timestamp": text_time(time)})
    return head[:-1] + b',"data":' + data + b"}"


def delivery_id(endpoint_id: UUID, event_id: UUID) -> UUID:
    """One hand-off per endpoint and event, however often the event is met."""
    return uuid5(endpoint_id, str(event_id))


def webhook_id(event_id: UUID) -> str:
    """What receivers drop repeats by: the CloudEvents id, the same at every attempt and every replay."""
    return str(event_id)
