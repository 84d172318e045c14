"""What every contract does with instants, open enums, keys, ids and time to read."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone
from enum import StrEnum
from typing import Annotated, ClassVar
from uuid import UUID
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import JsonValue, TypeAdapter, ValidationError

from shared.contracts import ids
from shared.contracts.event import OPEN, Contract, Event, Instant

INSTANT: TypeAdapter[datetime] = TypeAdapter(Instant)


class Colour(StrEnum):
    RED = "red"


class Thing(Event):
    """A thing."""

    TYPE: ClassVar[str] = "thing.happened.v1"
    KEY: ClassVar[str] = "thing_id"

    thing_id: UUID
    at: Instant
    colour: Annotated[Colour | str, OPEN] = Colour.RED
    mood: Annotated[Colour | str, OPEN] | None = None
    free: JsonValue = None


@given(st.datetimes(min_value=datetime(1980, 1, 1), max_value=datetime(2100, 1, 1), timezones=st.timezones()))
def test_an_instant_is_utc_whatever_zone_it_came_in(moment: datetime) -> None:
    for value in (INSTANT.validate_python(moment), INSTANT.validate_json(f'"{moment.isoformat()}"')):
        assert value.utcoffset() == timedelta(0)
    assert INSTANT.validate_python(moment) == moment.astimezone(UTC)


@pytest.mark.parametrize("text", ["2026-11-03T08:00:00", "yesterday", ""])
def test_an_instant_without_a_zone_is_refused_with_one_sentence(text: str) -> None:
    with pytest.raises(ValidationError, match="an instant in ISO 8601 with its zone is needed") as caught:
        INSTANT.validate_python(text)
    assert caught.value.error_count() == 1


def test_an_instant_is_written_with_z() -> None:
    tokyo = datetime(2026, 11, 3, 17, 0, tzinfo=ZoneInfo("Asia/Tokyo"))
    assert INSTANT.dump_json(INSTANT.validate_python(tokyo)) == b'"2026-11-03T08:00:00Z"'
    fixed = datetime(2026, 11, 3, 8, 0, tzinfo=timezone(timedelta(0), "GMT"))
    assert INSTANT.dump_json(INSTANT.validate_python(fixed)) == b'"2026-11-03T08:00:00Z"'


def a_thing(**more: object) -> Thing:
    return Thing.model_validate({"tenant_id": "acme", "thing_id": UUID(int=7), "at": "2026-11-03T08:00:00Z"} | more)


def test_an_open_enum_gives_the_enum_it_knows_and_the_text_it_does_not() -> None:
    assert a_thing(colour="red").colour is Colour.RED
    assert a_thing(colour="mauve").colour == "mauve"
    assert a_thing(mood="red").mood is Colour.RED
    assert a_thing(mood=None).mood is None
    assert b'"colour":"mauve"' in a_thing(colour="mauve").to_bytes()


def test_an_open_enum_still_wants_text() -> None:
    with pytest.raises(ValidationError):
        a_thing(colour=7)


def test_marking_something_else_open_is_refused() -> None:
    with pytest.raises(TypeError, match="an open enum is written"):
        TypeAdapter(Annotated[Colour, OPEN])


def test_the_wire_leaves_out_absent_fields_but_keeps_null_inside_free_values() -> None:
    written = a_thing(free={"a": None}).to_bytes()
    assert b"mood" not in written
    assert b'"free":{"a":null}' in written
    assert Thing.model_validate_json(written) == a_thing(free={"a": None})


def test_not_a_number_is_written_as_null() -> None:
    assert b'"free":[null]' in a_thing(free=[float("nan")]).to_bytes()


def test_the_key_is_the_text_of_its_field() -> None:
    assert a_thing().key == "00000000-0000-0000-0000-000000000007"


def test_a_contract_is_frozen() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        a_thing().colour = "blue"  # type: ignore[misc]


@pytest.mark.parametrize("tenant", ["acme", "a", "a-1", "0", "a" * 63])
def test_a_tenant_id_is_a_short_name(tenant: str) -> None:
    assert a_thing(tenant_id=tenant).tenant_id == tenant


@pytest.mark.parametrize("tenant", ["", "Acme", "-a", "a_b", "a/b", "a.b", "a" * 64, "acme\n", "ä"])
def test_anything_else_is_no_tenant_id(tenant: str) -> None:
    with pytest.raises(ValidationError):
        a_thing(tenant_id=tenant)


def test_a_field_is_described_by_the_text_below_it() -> None:
    class Value(Contract):
        """A value."""

        x: int
        """What x means."""

    assert Value.model_json_schema()["properties"]["x"]["description"] == "What x means."


def test_ids_are_the_same_for_everybody_and_for_ever() -> None:
    """These stand in databases and in the log: a change here is a change of every id."""
    message = ids.message_id("acme", "email", "1@x.example")
    assert str(message) == "42c55a7d-b390-5a83-944f-ba391f334dd3"
    assert str(ids.ticket_id("acme", message)) == "397cde4c-b416-5b11-8f8c-ae2f55708431"
    assert str(ids.person_id("acme", "Ana@B.example")) == "b1bef4c7-b018-5532-a429-40ff12733d49"


def test_ids_differ_by_tenant_channel_and_source() -> None:
    drawn = {
        ids.message_id(tenant, channel, source)
        for tenant in ("acme", "acme2")
        for channel in ("email", "api")
        for source in ("1", "2")
    }
    assert len(drawn) == 8


@pytest.mark.parametrize(
    ("written", "normal"),
    [
        (" Ana.Lima+x@Example.COM ", "ana.lima+x@example.com"),
        ("ANA@BÜCHER.example", "ana@xn--bcher-kva.example"),
        ("ana@example.com.", "ana@example.com"),
        ("+55 11 5550-0142", "+55 11 5550-0142"),
        ("@Handle", "@handle"),
        ("a@" + "ü" * 80 + ".example", "a@" + "ü" * 80 + ".example"),
    ],
)
def test_one_person_has_one_address_however_it_is_written(written: str, normal: str) -> None:
    assert ids.normalise_address(written) == normal
    assert ids.normalise_address(normal) == normal
