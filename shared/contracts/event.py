"""What every event has in common: the frozen model, its type, its key, its topic.

A contract only ever grows: new optional fields, new types. Readers ignore fields they do not know and accept
enum values they have never seen, so that an old consumer survives a new producer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import BaseModel, ConfigDict, GetCoreSchemaHandler, GetJsonSchemaHandler, StringConstraints
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema, core_schema


def _utc(value: datetime) -> datetime:
    """Refuse an instant without a zone; carry every other one in UTC."""
    if value.tzinfo is None:
        msg = "an instant needs a zone"
        raise ValueError(msg)
    return value.astimezone(UTC)


class _Instant:
    """How an instant is read: one that is in UTC already (all of ours) costs no call into Python."""

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        del source, handler
        ours = core_schema.datetime_schema(tz_constraint=0)
        others = core_schema.no_info_after_validator_function(_utc, core_schema.datetime_schema())
        return core_schema.union_schema(
            [ours, others],
            mode="left_to_right",
            custom_error_type="instant",
            custom_error_message="an instant in ISO 8601 with its zone is needed",
            serialization=core_schema.simple_ser_schema("datetime"),
        )

    @classmethod
    def __get_pydantic_json_schema__(cls, schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        del schema, handler
        return {"type": "string", "format": "date-time"}


Instant = Annotated[datetime, _Instant]
"""A point in time; always aware, always UTC."""


class _Open:
    """How an open enum is read and written: the enum's value when it is known, else the text as it came.

    Without it pydantic prefers the plain text even where the enum knows the value.
    """

    @classmethod
    def __get_pydantic_core_schema__(cls, source: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        schema = handler(source)
        if schema["type"] != "union":
            raise TypeError(f"an open enum is written `Enum | str`, not {source}")
        return core_schema.union_schema(
            schema["choices"], mode="left_to_right", serialization=core_schema.simple_ser_schema("str")
        )


OPEN = _Open()
"""Marks an open enum: `Annotated[Channel | str, OPEN]`."""

TenantId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A tenant's short name: lower case letters, digits and hyphens."""


class Contract(BaseModel):
    """A frozen value on the wire; fields it does not know are ignored.

    The text below a field is its description in the generated schemas and in the event reference.
    """

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null", use_attribute_docstrings=True)


class Event(Contract):
    """The payload of one CloudEvent.

    A subclass states its CloudEvents type (`<topic>.v<N>`) and the field whose value is the Kafka key.
    """

    TYPE: ClassVar[str]
    KEY: ClassVar[str]

    tenant_id: TenantId
    """The tenant whose data this is."""

    @property
    def key(self) -> str:
        """The Kafka key, so that all events of one thing stay in order."""
        return str(getattr(self, self.KEY))

    def to_bytes(self) -> bytes:
        """The JSON that goes on the wire; absent optional fields are left out."""
        return self.__pydantic_serializer__.to_json(self, exclude_none=True)


EventT = TypeVar("EventT", bound=Event)


@dataclass(frozen=True, kw_only=True)
class Topic:
    """One Kafka topic: who owns it, who reads it, what its key means and how long it is kept."""

    name: str
    owner: str
    """The one service that publishes to it."""
    consumers: tuple[str, ...]
    """Services that subscribe; held against what they really do by a test."""
    events: tuple[type[Event], ...]
    """Every version understood by this release, oldest first."""
    summary: str
    compacted: bool = False
    """A compacted topic carries state: the newest value of each key, tombstones delete."""
    retention: timedelta = timedelta(days=30)
    """How long facts are kept; for a compacted topic, how long tombstones are."""
    segment: timedelta | None = None
    """How long the broker writes to one file before compaction may take it; its own default where None."""
    partitions: int = 12
    max_bytes: int = 262_144
    """Largest value accepted; longer bodies travel as blob references."""
    paced_by: str = ""
    """The consumer whose lag the owner looks at before it releases more; empty for none."""

    @property
    def key(self) -> str:
        """The field whose value is the Kafka key of every event here."""
        return self.events[-1].KEY

    def config(self) -> dict[str, str]:
        """The broker's settings of this topic."""
        milliseconds = str(int(self.retention.total_seconds() * 1000))
        if self.compacted:
            compact = {
                "cleanup.policy": "compact",
                "delete.retention.ms": milliseconds,
                "min.compaction.lag.ms": "60000",
            }
            if self.segment is not None:
                compact["segment.ms"] = str(int(self.segment.total_seconds() * 1000))
            return compact
        return {"cleanup.policy": "delete", "retention.ms": milliseconds}
