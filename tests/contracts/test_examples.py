"""Golden examples: what the contracts promise, seen on payloads that people wrote."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterator
from datetime import datetime
from enum import StrEnum
from typing import Any

import orjson
import pytest
from pydantic import BaseModel

from shared.contracts import golden
from shared.contracts.directory import PolicyPublished
from shared.contracts.event import Contract, Event
from shared.contracts.manifest import TOPICS
from shared.contracts.message import MessageReceived
from shared.contracts.pack import SECTIONS

EVENTS = [event for topic in TOPICS for event in topic.events]
EXAMPLES = [
    pytest.param(event, payload, id=f"{event.TYPE}-{name}")
    for event in EVENTS
    for name, payload in golden.examples(event).items()
]
LARGEST = 64 * 1024

type_of_each = pytest.mark.parametrize("event", EVENTS, ids=[event.TYPE for event in EVENTS])
each_example = pytest.mark.parametrize(("event", "payload"), EXAMPLES)


@type_of_each
def test_every_type_has_a_minimal_and_a_full_example(event: type[Event]) -> None:
    assert {"minimal", "full"} <= golden.examples(event).keys()


def test_every_folder_of_examples_belongs_to_a_type() -> None:
    assert {path.name for path in golden.FOLDER.iterdir()} == {event.TYPE for event in EVENTS}


@each_example
def test_an_example_goes_round_unchanged(event: type[Event], payload: dict[str, Any]) -> None:
    first = event.model_validate_json(orjson.dumps(payload))
    again = event.model_validate_json(first.to_bytes())
    assert again == first
    assert again.to_bytes() == first.to_bytes()
    lost = list(_lost(payload, orjson.loads(first.to_bytes()), ""))
    assert not lost, f"written by hand, but not read or not written again: {lost}"


@each_example
def test_an_example_has_a_key_and_fits_a_record(event: type[Event], payload: dict[str, Any]) -> None:
    value = event.model_validate(payload)
    assert value.key
    assert value.key == str(payload[event.KEY])
    assert len(value.to_bytes()) < LARGEST


def test_between_them_the_examples_show_every_field() -> None:
    shown: dict[type[BaseModel], set[str]] = defaultdict(set)
    for event in EVENTS:
        for payload in golden.examples(event).values():
            for model in _models(event.model_validate(payload)):
                shown[type(model)] |= model.model_fields_set
    missing = {kind.__name__: sorted(kind.model_fields.keys() - fields) for kind, fields in shown.items()}
    assert not {name: fields for name, fields in missing.items() if fields}


@each_example
def test_a_reader_ignores_fields_it_does_not_know(event: type[Event], payload: dict[str, Any]) -> None:
    known = event.model_validate(payload)
    from_the_future = event.model_validate(_with_unknown_fields(payload))
    # Free-form dictionaries keep what they are given, so the models are compared by what they name.
    assert from_the_future.key == known.key
    assert {type(m) for m in _models(from_the_future)} == {type(m) for m in _models(known)}
    assert "from_the_future" not in {field for m in _models(from_the_future) for field in m.model_fields_set}


@each_example
def test_a_reader_accepts_enum_values_it_has_never_seen(event: type[Event], payload: dict[str, Any]) -> None:
    value = event.model_validate(payload)
    for path in _enums(value):
        changed = orjson.loads(orjson.dumps(payload))
        target = changed
        for step in path[:-1]:
            target = target[step]
        if path[-1] not in target:
            continue  # a default
        target[path[-1]] = "from_the_future"
        read = orjson.loads(event.model_validate(changed).to_bytes())
        for step in path:
            read = read[step]
        assert read == "from_the_future", f"{path} is a closed enum"


def test_an_enum_value_that_is_known_is_read_as_the_enum() -> None:
    values = [
        value
        for event in EVENTS
        for payload in golden.examples(event).values()
        for _, value in _enum_values(event.model_validate_json(orjson.dumps(payload)))
    ]
    assert len(values) > 50
    channel = MessageReceived.model_validate(golden.examples(MessageReceived)["minimal"]).channel
    assert isinstance(channel, StrEnum)


@pytest.mark.parametrize("name", golden.examples(PolicyPublished))
def test_a_published_section_is_a_valid_section(name: str) -> None:
    event = PolicyPublished.model_validate(golden.examples(PolicyPublished)[name])
    (section,) = [section for section in SECTIONS if event.section == section.SECTION]
    section.model_validate(event.document)
    assert event.policy_key == f"{event.tenant_id}/{event.section}"


@each_example
def test_an_example_names_no_real_host(event: type[Event], payload: dict[str, Any]) -> None:
    hosts = re.findall(r"@([\w.-]+)", orjson.dumps(payload).decode())
    assert all(host.endswith(".example") for host in hosts)


def _lost(written: Any, read: Any, path: str) -> Iterator[str]:
    """Paths whose value is not what was written; instants are equal when they name the same point in time."""
    if isinstance(written, dict) and isinstance(read, dict):
        for name, value in written.items():
            yield from _lost(value, read.get(name), f"{path}.{name}")
    elif isinstance(written, list) and isinstance(read, list) and len(written) == len(read):
        for index, value in enumerate(written):
            yield from _lost(value, read[index], f"{path}[{index}]")
    elif written != read and not _same_instant(written, read):
        yield path


def _same_instant(one: Any, other: Any) -> bool:
    try:
        return datetime.fromisoformat(one) == datetime.fromisoformat(other)
    except (TypeError, ValueError):
        return False


def _models(value: Any) -> Iterator[Contract]:
    if isinstance(value, Contract):
        yield value
        for name in type(value).model_fields:
            yield from _models(getattr(value, name))
    elif isinstance(value, tuple):
        for item in value:
            yield from _models(item)


def _enums(value: Any) -> list[tuple[Any, ...]]:
    return [path for path, _ in _enum_values(value)]


def _enum_values(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[tuple[Any, ...], StrEnum]]:
    if isinstance(value, StrEnum):
        yield path, value
    elif isinstance(value, Contract):
        for name in type(value).model_fields:
            yield from _enum_values(getattr(value, name), (*path, name))
    elif isinstance(value, tuple):
        for index, item in enumerate(value):
            yield from _enum_values(item, (*path, index))


def _with_unknown_fields(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _with_unknown_fields(item) for name, item in value.items()} | {
            "from_the_future": {"a": [None, 1]}
        }
    return [_with_unknown_fields(item) for item in value] if isinstance(value, list) else value
