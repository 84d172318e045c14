"""What the contracts look like from outside: a JSON Schema (draft 2020-12) of each event, a record of each topic."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic.json_schema import GenerateJsonSchema, models_json_schema
from typing_extensions import override

from shared.contracts.event import Event, Topic

DRAFT = "https://json-schema.org/draft/2020-12/schema"
BASE = "https://deskwire.dev/events/"

Schema = dict[str, Any]
"""A JSON Schema as plain values."""


class _Titleless(GenerateJsonSchema):
    """Leaves out the titles pydantic makes of field names; they say nothing new."""

    @override
    def field_title_should_be_set(self, schema: Any) -> bool:
        del schema
        return False


def file_name(event_type: str) -> str:
    """The file a type's schema stands in."""
    return f"{event_type}.schema.json"


def json_schema(event: type[Event]) -> Schema:
    """The schema of one event's payload, whole in itself."""
    schema = event.model_json_schema(schema_generator=_Titleless)
    return {"$schema": DRAFT, "$id": BASE + file_name(event.TYPE), **schema, "title": event.TYPE}


def components(events: Sequence[type[Event]], ref_template: str) -> tuple[dict[str, str], dict[str, Schema]]:
    """The reference to each event's schema by its type, and all schemas together by their names."""
    refs, document = models_json_schema(
        [(event, "validation") for event in events], ref_template=ref_template, schema_generator=_Titleless
    )
    return {event.TYPE: refs[event, "validation"]["$ref"] for event in events}, document["$defs"]


def topic_record(topic: Topic) -> dict[str, Any]:
    """What consumers rely on beside the payload."""
    return {
        "owner": topic.owner,
        "consumers": list(topic.consumers),
        "events": [event.TYPE for event in topic.events],
        "key": topic.key,
        "compacted": topic.compacted,
        "retention_seconds": int(topic.retention.total_seconds()),
        "partitions": topic.partitions,
        "max_bytes": topic.max_bytes,
    }
