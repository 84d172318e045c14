"""The manifest: every event on one topic, names that Kafka and people can live with, readers that really read."""

from __future__ import annotations

import importlib
import re
from datetime import timedelta
from pathlib import Path

import pytest
from pydantic import BaseModel

from shared.contracts import (
    chat,
    cloudevents,
    decision,
    directory,
    escalation,
    manifest,
    message,
    notification,
    schemas,
    sla,
    ticket,
)
from shared.contracts.event import Event, Topic
from shared.contracts.manifest import TOPICS

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/pyproject.toml"))
EVENTS = [event for topic in TOPICS for event in topic.events]

each_topic = pytest.mark.parametrize("topic", TOPICS, ids=[topic.name for topic in TOPICS])
each_event = pytest.mark.parametrize("event", EVENTS, ids=[event.TYPE for event in EVENTS])


def test_every_event_class_is_on_exactly_one_topic() -> None:
    defined = {
        value
        for module in (chat, decision, directory, escalation, message, notification, sla, ticket)
        for value in vars(module).values()
        if isinstance(value, type) and issubclass(value, Event) and "TYPE" in vars(value)
    }
    assert len(EVENTS) == len(set(EVENTS))
    assert set(EVENTS) == defined


def test_every_topic_constant_is_listed_once() -> None:
    constants = [value for value in vars(manifest).values() if isinstance(value, Topic)]
    assert sorted(topic.name for topic in constants) == sorted(topic.name for topic in TOPICS)
    assert len({topic.name for topic in TOPICS}) == len(TOPICS)


@each_topic
def test_a_type_is_its_topic_and_a_version_oldest_first(topic: Topic) -> None:
    versions = []
    for event in topic.events:
        parts = cloudevents.split_type(event.TYPE)
        assert parts is not None
        assert parts[0] == topic.name
        versions.append(parts[1])
    assert versions == sorted(set(versions))


@each_topic
def test_all_versions_on_a_topic_have_one_key(topic: Topic) -> None:
    assert {event.KEY for event in topic.events} == {topic.key}


@each_event
def test_the_key_is_a_required_field_or_a_property(event: type[Event]) -> None:
    field = event.model_fields.get(event.KEY)
    if field is None:
        assert isinstance(getattr(event, event.KEY, None), property)
    else:
        assert field.is_required()


@each_event
def test_an_event_and_every_value_in_it_says_what_it_means(event: type[Event]) -> None:
    assert (event.__doc__ or "").strip().endswith(".")
    definitions = schemas.json_schema(event).get("$defs", {})
    assert not [
        name for name, definition in definitions.items() if not definition.get("description") and name != "JsonValue"
    ]


@each_event
def test_no_required_field_may_be_null(event: type[Event]) -> None:
    """Fields that are None are left out on the wire: a required one would not be read again."""
    for model in _models(event):
        for name, field in model.model_fields.items():
            assert not (field.is_required() and type(None) in getattr(field.annotation, "__args__", ())), (
                f"{model}.{name}"
            )


@each_topic
def test_a_topic_name_is_valid_and_collides_with_none(topic: Topic) -> None:
    assert re.fullmatch(r"[a-z]+(\.[a-z]+(_[a-z]+)*)+", topic.name)
    # Kafka's metrics do not tell dots from underscores, nor may a topic prefix and a group push it over 249.
    assert len(topic.name) < 100
    folded = [other.name.replace("_", ".") for other in TOPICS]
    assert folded.count(topic.name.replace("_", ".")) == 1


@each_topic
def test_owner_and_consumers_are_services(topic: Topic) -> None:
    assert topic.owner in SERVICES
    assert set(topic.consumers) <= set(SERVICES)
    assert list(topic.consumers) == sorted(set(topic.consumers))


@each_topic
def test_facts_are_kept_long_enough_and_bodies_not_longer(topic: Topic) -> None:
    assert topic.retention == timedelta(days=30)
    assert topic.config()["cleanup.policy"] == ("compact" if topic.compacted else "delete")


def test_a_topic_is_found_by_name_and_by_event() -> None:
    for topic in TOPICS:
        assert manifest.topic(topic.name) is topic
        for event in topic.events:
            assert manifest.topic_of(event) is topic
    with pytest.raises(KeyError):
        manifest.topic("ticket.create")


@pytest.mark.parametrize("service", SERVICES)
def test_a_service_subscribes_to_exactly_what_the_manifest_says(service: str) -> None:
    app = importlib.import_module(f"services.{service}.app")
    subscribed = {route.topic.name for route in app.ROUTES} | {topic.name for topic in app.REPLICATED}
    assert subscribed == {topic.name for topic in TOPICS if service in topic.consumers}
    assert not {route.topic.name for route in app.ROUTES} & {topic.name for topic in app.REPLICATED}
    # Facts are handled; only state can be replicated.
    assert all(topic.compacted for topic in app.REPLICATED)


def _models(event: type[Event]) -> list[type[BaseModel]]:
    names = schemas.json_schema(event).get("$defs", {})
    modules = (directory, message, ticket)
    found = [getattr(module, name) for name in names for module in modules if hasattr(module, name)]
    return [event, *(value for value in found if isinstance(value, type) and issubclass(value, BaseModel))]
