"""The manifest as an AsyncAPI 3.0 document: channels, who sends and receives, messages with CloudEvents headers."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from shared.contracts import cloudevents, golden, schemas
from shared.contracts.event import Event, Topic

_KAFKA = "0.5.0"

_HEADERS: dict[str, dict[str, Any]] = {
    cloudevents.SPECVERSION: {"type": "string", "const": "1.0"},
    cloudevents.ID: {
        "type": "string",
        "format": "uuid",
        "description": "The event's id, the same in every redelivery and replay: what to deduplicate by.",
    },
    cloudevents.SOURCE: {"type": "string", "description": "Who published it: `/deskwire/<service>`."},
    cloudevents.TYPE: {"type": "string", "description": "The event type, `<topic>.v<N>`."},
    cloudevents.TIME: {"type": "string", "format": "date-time", "description": "When the fact happened."},
    cloudevents.SUBJECT: {"type": "string", "description": "The key: what the event is about."},
    cloudevents.TENANT: {"type": "string", "description": "The tenant whose data it is."},
    cloudevents.CAUSATION: {"type": "string", "description": "The id of the event that led to this one."},
    cloudevents.CORRELATION: {"type": "string", "description": "The id of the outermost cause."},
    cloudevents.HOPS: {"type": "string", "pattern": "^[0-9]+$", "description": "How many events led here, in a row."},
    cloudevents.CONTENT_TYPE: {"type": "string", "const": "application/json"},
    cloudevents.TRACEPARENT: {"type": "string", "description": "W3C trace context."},
}
_SOMETIMES = {cloudevents.CAUSATION, cloudevents.TRACEPARENT}
REQUIRED_HEADERS = tuple(name for name in _HEADERS if name not in _SOMETIMES)
HEADERS = {name: str(header.get("description", f"`{header.get('const')}`")) for name, header in _HEADERS.items()}
"""Every header by its name, with its meaning."""


def document(topics: Sequence[Topic], version: str) -> dict[str, Any]:
    """The whole document; every reference in it points into itself."""
    events = [event for topic in topics for event in topic.events]
    refs, models = schemas.components(events, "#/components/schemas/{model}")
    return {
        "asyncapi": "3.0.0",
        "info": {
            "title": "Deskwire events",
            "version": version,
            "description": "Customer support as a stream of events. Contracts only grow: ignore fields and enum values "
            "you do not know, deduplicate by `ce_id`.",
            "license": {"name": "Apache-2.0", "url": "https://www.apache.org/licenses/LICENSE-2.0"},
        },
        "defaultContentType": "application/json",
        "servers": {
            "kafka": {
                "host": "{bootstrap}",
                "protocol": "kafka",
                "description": "The installation's Kafka.",
                "variables": {"bootstrap": {"default": "localhost:9092", "description": "Bootstrap servers."}},
            }
        },
        "channels": {topic.name: _channel(topic) for topic in topics},
        "operations": {name: value for topic in topics for name, value in _operations(topic)},
        "components": {
            "messages": {event.TYPE: _message(event, refs[event.TYPE]) for event in events},
            "messageTraits": {
                "cloudevents": {
                    "name": "CloudEvents 1.0, binary mode",
                    "headers": {"type": "object", "required": list(REQUIRED_HEADERS), "properties": _HEADERS},
                    "correlationId": {"location": f"$message.header#/{cloudevents.CORRELATION}"},
                }
            },
            "schemas": models,
        },
    }


def _channel(topic: Topic) -> dict[str, Any]:
    milliseconds = int(topic.retention.total_seconds() * 1000)
    kept: dict[str, Any] = (
        {"cleanup.policy": ["compact"], "delete.retention.ms": milliseconds}
        if topic.compacted
        else {"cleanup.policy": ["delete"], "retention.ms": milliseconds}
    )
    return {
        "address": topic.name,
        "summary": topic.summary,
        "description": f"Key: `{topic.key}`. Owner: {topic.owner}.",
        "messages": {event.TYPE: {"$ref": f"#/components/messages/{event.TYPE}"} for event in topic.events},
        "bindings": {
            "kafka": {
                "topic": topic.name,
                "partitions": topic.partitions,
                "topicConfiguration": {**kept, "max.message.bytes": topic.max_bytes},
                "bindingVersion": _KAFKA,
            }
        },
    }


def _operations(topic: Topic) -> list[tuple[str, dict[str, Any]]]:
    channel = {"$ref": f"#/channels/{topic.name}"}
    messages = [{"$ref": f"#/channels/{topic.name}/messages/{event.TYPE}"} for event in topic.events]
    made = [
        (
            f"{topic.owner}.send.{topic.name}",
            {
                "action": "send",
                "channel": channel,
                "summary": topic.summary,
                "tags": [{"name": topic.owner}],
                "messages": messages,
            },
        )
    ]
    for consumer in topic.consumers:
        name = f"{consumer}.receive.{topic.name}"
        made.append(
            (name, {"action": "receive", "channel": channel, "tags": [{"name": consumer}], "messages": messages})
        )
    return made


def _message(event: type[Event], payload: str) -> dict[str, Any]:
    key = event.model_fields.get(event.KEY)
    described: dict[str, Any] = {"type": "string", "description": f"The payload's `{event.KEY}`."}
    if key is not None and getattr(key.annotation, "__name__", "") == "UUID":
        described["format"] = "uuid"
    examples = golden.examples(event)
    return {
        "name": event.TYPE,
        "title": event.__name__,
        "summary": summary(event.__doc__),
        "contentType": "application/json",
        "traits": [{"$ref": "#/components/messageTraits/cloudevents"}],
        "payload": {"$ref": payload},
        "bindings": {"kafka": {"key": described, "bindingVersion": _KAFKA}},
        "examples": [{"name": name, "payload": example} for name, example in examples.items()],
    }


def summary(docstring: str | None) -> str:
    """The first line of a docstring."""
    return (docstring or "").strip().split("\n", 1)[0]
