"""What every event has in common: the frozen model, its type, its key, its topic.

A contract only ever grows: new optional fields, new types. Readers ignore fields they do not know and accept
enum values they have never seen, so that an old consumer survives a new producer.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Annotated, ClassVar, TypeVar

from pydantic import AfterValidator, BaseModel, ConfigDict, StringConstraints


def _utc(value: datetime) -> datetime:
    """Refuse an instant without a zone; carry every other one in UTC."""
    if value.tzinfo is None:
        msg = "an instant needs a zone"
        raise ValueError(msg)
    return value.astimezone(UTC)


Instant = Annotated[datetime, AfterValidator(_utc)]
"""A point in time; always aware, always UTC."""

TenantId = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9-]{0,62}$")]
"""A tenant's short name: lower case letters, digits and hyphens."""


class Contract(BaseModel):
    """A frozen value on the wire; fields it does not know are ignored."""

    model_config = ConfigDict(frozen=True, extra="ignore", ser_json_inf_nan="null")


class Event(Contract):
    """The payload of one CloudEvent.

    A subclass states its CloudEvents type (`<topic>.v<N>`) and the field whose value is the Kafka key.
    """

    TYPE: ClassVar[str]
    KEY: ClassVar[str]

    tenant_id: TenantId

    @property
    def key(self) -> str:
        """The Kafka key, so that all events of one thing stay in order."""
        return str(getattr(self, self.KEY))

    def to_bytes(self) -> bytes:
        """The JSON that goes on the wire; absent optional fields are left out."""
        return self.model_dump_json(exclude_none=True).encode()


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
    partitions: int = 12
    max_bytes: int = 262_144
    """Largest value accepted; longer bodies travel as blob references."""

    def config(self) -> dict[str, str]:
        """The broker's settings of this topic."""
        milliseconds = str(int(self.retention.total_seconds() * 1000))
        if self.compacted:
            return {"cleanup.policy": "compact", "delete.retention.ms": milliseconds, "min.compaction.lag.ms": "60000"}
        return {"cleanup.policy": "delete", "retention.ms": milliseconds}
