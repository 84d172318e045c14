"""The rows of replicated reference data: what of a batch is newer, how far each partition was read, reading back."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

import orjson

from shared.bus.decode import Item, Kind
from shared.contracts import cloudevents
from shared.envelope import Received

if TYPE_CHECKING:
    from shared.contracts.event import Event
    from shared.db import Record, Tx

Place = tuple[str, int]
"""Topic (the manifest's name) and partition."""

_UPSERT = """
    INSERT INTO replica AS r (topic, key, type, event, version, event_time, partition, "offset")
    SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::bytea[], $5::bigint[], $6::timestamptz[],
        $7::integer[], $8::bigint[])
    ON CONFLICT (topic, key, type) DO UPDATE SET
        event = excluded.event, version = excluded.version, event_time = excluded.event_time,
        partition = excluded.partition, "offset" = excluded."offset"
    WHERE CASE
        WHEN excluded.version IS NULL OR r.version IS NULL THEN excluded.event_time >= r.event_time
        ELSE excluded.version > r.version OR (excluded.version = r.version AND r.event IS NOT NULL)
    END
    RETURNING topic, key, type
"""

_ERASE = """
    UPDATE replica r SET event = NULL, event_time = d.event_time, partition = d.partition, "offset" = d."offset"
    FROM unnest($1::text[], $2::text[], $3::timestamptz[], $4::integer[], $5::bigint[])
        AS d (topic, key, event_time, partition, "offset")
    WHERE r.topic = d.topic AND r.key = d.key AND r.event IS NOT NULL AND r.event_time <= d.event_time
    RETURNING r.topic, r.key
"""

_LOCK_OFFSETS = """
    SELECT topic, partition, next_offset FROM replica_offset
    WHERE (topic, partition) IN (SELECT * FROM unnest($1::text[], $2::integer[]))
    ORDER BY topic, partition FOR UPDATE
"""

_SET_OFFSETS = """
    INSERT INTO replica_offset AS o (topic, partition, next_offset)
    SELECT * FROM unnest($1::text[], $2::integer[], $3::bigint[])
    ON CONFLICT (topic, partition) DO UPDATE SET next_offset = excluded.next_offset
"""

_READ = """
    SELECT DISTINCT ON (key) key, type, event FROM replica
    WHERE topic = $1 AND key = ANY ($2::text[]) AND type = ANY ($3::text[]) AND event IS NOT NULL
    ORDER BY key, "offset" DESC
"""

_READ_ALL = """
    SELECT DISTINCT ON (key) key, type, event FROM replica
    WHERE topic = $1 AND type = ANY ($2::text[]) AND event IS NOT NULL
    ORDER BY key, "offset" DESC
"""


class Reader(Protocol):
    """A transaction or a database, as far as reading goes."""

    async def fetch(self, sql: str, *args: object) -> list[Record]:
        """All rows of one statement."""


@dataclass(frozen=True, slots=True)
class Row:
    """One record as it would be stored."""

    item: Item
    type: str
    """Empty for a tombstone."""
    version: int | None
    time: datetime


def row_of(item: Item) -> Row:
    """What is compared and stored of an item that is an event, of a known or a newer type, or a tombstone."""
    version: int | None = None
    if item.kind is Kind.TOMBSTONE:
        return Row(item, "", None, _header_time(item))
    if isinstance(item.value, Received):
        given = getattr(item.value.event, "version", None)
        return Row(item, item.value.type, given if isinstance(given, int) else None, item.value.time)
    # A newer type: kept as it came, for the release that knows it.
    try:
        body = orjson.loads(item.record.value or b"null")
        if isinstance(body, dict) and isinstance(body.get("version"), int):
            version = body["version"]
    except orjson.JSONDecodeError:
        pass
    return Row(item, item.error, version, _header_time(item))


def _header_time(item: Item) -> datetime:
    """When the owner says it happened; when the broker took it if the headers do not say."""
    try:
        return cloudevents.read(item.record.headers).time
    except cloudevents.HeaderError:
        return datetime.fromtimestamp(max(item.record.timestamp, 0) / 1000, UTC)


def newest(rows: Iterable[Row]) -> list[Row]:
    """Of each key (and type) the row that wins, in arrival order; by the rule the database applies to what it has.

    A relay that was stopped and woken repeats older events after newer ones: the highest version stays.
    """
    winners: dict[tuple[str, str, str], Row] = {}
    for row in rows:
        place = (row.item.route.name, row.item.key)
        if not row.type:
            for known in [key for key in winners if key[:2] == place and winners[key].time <= row.time]:
                del winners[known]
            winners[*place, ""] = row
            continue
        stone = winners.get((*place, ""))
        if stone is not None and row.time < stone.time:
            continue
        rival = winners.get((*place, row.type))
        if rival is None or _beats(row, rival):
            winners[*place, row.type] = row
    return sorted(winners.values(), key=lambda row: row.item.position)


def _beats(row: Row, rival: Row) -> bool:
    if row.version is None or rival.version is None:
        return row.time >= rival.time
    return row.version >= rival.version


async def lock_offsets(tx: Tx, places: Sequence[Place]) -> dict[Place, int]:
    """How far each partition was read by anyone; the rows are locked, so that a former owner cannot interfere."""
    await tx.execute(
        "INSERT INTO replica_offset (topic, partition, next_offset)"
        " SELECT t, p, 0 FROM unnest($1::text[], $2::integer[]) AS u (t, p) ON CONFLICT DO NOTHING",
        *_split(sorted(places)),
    )
    rows = await tx.fetch(_LOCK_OFFSETS, *_split(sorted(places)))
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


async def set_offsets(tx: Tx, offsets: Mapping[Place, int]) -> None:
    """Remember how far partitions were read."""
    places = sorted(offsets)
    await tx.execute(_SET_OFFSETS, *_split(places), [offsets[place] for place in places])


async def offsets(reader: Reader, topics: Sequence[str]) -> dict[Place, int]:
    """How far each partition of the topics was read, by any instance."""
    rows = await reader.fetch(
        "SELECT topic, partition, next_offset FROM replica_offset WHERE topic = ANY ($1::text[])", list(topics)
    )
    return {(row["topic"], row["partition"]): row["next_offset"] for row in rows}


def _split(places: Sequence[Place]) -> tuple[list[str], list[int]]:
    return [topic for topic, _ in places], [partition for _, partition in places]


async def store(tx: Tx, rows: Sequence[Row]) -> list[Row]:
    """Store what is newer than what is there; those rows."""
    applied: set[tuple[str, str, str]] = set()
    # Erasing first: an event that follows its key's tombstone in the same batch is the newer one.
    stones = [row for row in rows if not row.type]
    if stones:
        for found in await tx.fetch(
            _ERASE,
            [row.item.route.name for row in stones],
            [row.item.key for row in stones],
            [row.time for row in stones],
            [row.item.record.partition for row in stones],
            [row.item.record.offset for row in stones],
        ):
            applied.add((found["topic"], found["key"], ""))
    # In key order, like everyone who locks rows.
    events = sorted((row for row in rows if row.type), key=lambda row: (row.item.route.name, row.item.key, row.type))
    if events:
        for found in await tx.fetch(
            _UPSERT,
            [row.item.route.name for row in events],
            [row.item.key for row in events],
            [row.type for row in events],
            [row.item.record.value for row in events],
            [row.version for row in events],
            [row.time for row in events],
            [row.item.record.partition for row in events],
            [row.item.record.offset for row in events],
        ):
            applied.add((found["topic"], found["key"], found["type"]))
    return [row for row in rows if (row.item.route.name, row.item.key, row.type) in applied]


async def read(reader: Reader, topic: str, keys: Sequence[str], classes: Mapping[str, type[Event]]) -> dict[str, Event]:
    """The newest event of each key, of the types in `classes`."""
    return _events(await reader.fetch(_READ, topic, list(keys), list(classes)), classes)


async def read_all(reader: Reader, topic: str, classes: Mapping[str, type[Event]]) -> dict[str, Event]:
    """Every key of a topic; for the small ones."""
    return _events(await reader.fetch(_READ_ALL, topic, list(classes)), classes)


def _events(rows: Sequence[Record], classes: Mapping[str, type[Event]]) -> dict[str, Event]:
    return {row["key"]: classes[row["type"]].model_validate_json(row["event"]) for row in rows}


class Cache:
    """Events lately read, for a few seconds; absence is never remembered, since someone may wait for it to end."""

    def __init__(self, seconds: float, size: int = 5000) -> None:
        self._seconds = seconds
        self._size = size
        self._known: OrderedDict[tuple[str, str], tuple[float, Event]] = OrderedDict()

    def get(self, topic: str, key: str) -> Event | None:
        """What is known and young enough."""
        found = self._known.get((topic, key))
        if found is None or found[0] < time.monotonic():
            return None
        return found[1]

    def put(self, topic: str, key: str, event: Event) -> None:
        """Remember an event, forgetting the longest known if there are too many."""
        self._known[topic, key] = (time.monotonic() + self._seconds, event)
        self._known.move_to_end((topic, key))
        if len(self._known) > self._size:
            self._known.popitem(last=False)

    def drop(self, topic: str, key: str) -> None:
        """Forget a key that changed."""
        self._known.pop((topic, key), None)
