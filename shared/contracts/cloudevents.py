"""CloudEvents 1.0 over Kafka, binary mode: attributes as headers `ce_*`, the JSON payload as the value.

Reading is strict about what the bus needs (id, type, time, hops) and lenient about the rest.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import NamedTuple
from uuid import UUID

SPECVERSION = "ce_specversion"
ID = "ce_id"
SOURCE = "ce_source"
TYPE = "ce_type"
TIME = "ce_time"
SUBJECT = "ce_subject"
TENANT = "ce_tenant"
CAUSATION = "ce_causationid"
CORRELATION = "ce_correlationid"
HOPS = "ce_hops"
CONTENT_TYPE = "content-type"
TRACEPARENT = "traceparent"

Headers = list[tuple[str, bytes]]
"""Header pairs as the client takes and gives them."""

_TYPE = re.compile(r"^(?P<base>[a-z0-9_.]+)\.v(?P<version>[1-9]\d{0,5})$")
_TRACEPARENT = re.compile(rb"^[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}$")
_LONGEST = 200
"""A header longer than this in characters is not one of ours."""


class HeaderError(ValueError):
    """A CloudEvents attribute is missing or unreadable; names the header, never its value."""


class Attributes(NamedTuple):
    """What the headers of one event say."""

    id: UUID
    type: str
    time: datetime
    hops: int
    correlation: str
    traceparent: str | None


def read(headers: Iterable[tuple[str, bytes | None]]) -> Attributes:
    """The attributes the bus needs. Raises HeaderError naming the first header that is missing or wrong."""
    given: Mapping[str, bytes | None] = dict(headers)
    try:
        ce_id = given[ID]
        ce_type = given[TYPE]
        ce_time = given[TIME]
    except KeyError as error:
        raise HeaderError(f"{error.args[0]}: missing") from None
    if given.get(SPECVERSION) != b"1.0":
        raise HeaderError(f"{SPECVERSION}: missing or not 1.0")
    try:
        identity = UUID(_text(ce_id))
    except ValueError:
        raise HeaderError(f"{ID}: not a UUID") from None
    try:
        kind = _text(ce_type)
    except ValueError:
        raise HeaderError(f"{TYPE}: unreadable") from None
    try:
        time = datetime.fromisoformat(_text(ce_time))
    except ValueError:
        raise HeaderError(f"{TIME}: not an RFC 3339 instant") from None
    if time.tzinfo is not UTC:
        if time.tzinfo is None:
            raise HeaderError(f"{TIME}: no zone")
        try:
            time = time.astimezone(UTC)
        except OverflowError:
            raise HeaderError(f"{TIME}: out of range") from None
    raw_hops = given.get(HOPS)
    if raw_hops is None:
        hops = 0
    elif raw_hops.isdigit() and len(raw_hops) < 6:  # more digits are nonsense, not a count
        hops = int(raw_hops)
    else:
        raise HeaderError(f"{HOPS}: not a count")
    correlation = given.get(CORRELATION)
    trace = given.get(TRACEPARENT)
    return Attributes(
        identity,
        kind,
        time,
        hops,
        correlation.decode("utf-8", "replace")[:_LONGEST] if correlation else "",
        trace.decode("ascii") if trace and _TRACEPARENT.match(trace) else None,
    )


def _text(value: bytes | None) -> str:
    """A header's text. Raises ValueError when it is null, too long or not UTF-8."""
    if value is None or len(value) > _LONGEST:
        raise ValueError
    return value.decode("utf-8")


def split_type(ce_type: str) -> tuple[str, int] | None:
    """Topic and version of `<topic>.v<N>`, or None when it is not of that form."""
    match = _TYPE.match(ce_type)
    return (match["base"], int(match["version"])) if match else None


def topic_name(ce_type: str) -> str:
    """The topic an event type is published on. Raises ValueError when the type is not `<topic>.v<N>`."""
    parts = split_type(ce_type)
    if parts is None:
        raise ValueError(f"{ce_type}: an event type is <topic>.v<N>")
    return parts[0]


def text_time(time: datetime) -> str:
    """An instant as it stands in `ce_time`."""
    return time.astimezone(UTC).isoformat().replace("+00:00", "Z")
