"""What is generated: current, valid by the standards it names, and true to the examples."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import orjson
import pytest
from jsonschema import Draft7Validator, Draft202012Validator  # type: ignore[import-untyped]
from typer.testing import CliRunner

from cli import contracts
from shared.contracts import golden, release, schemas
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs" / "events"
DOCUMENT: dict[str, Any] = orjson.loads((DOCS / "asyncapi.json").read_bytes())
SPECIFICATION = orjson.loads((Path(__file__).parent / "asyncapi-3.0.0.schema.json").read_bytes())
EVENTS = [event for topic in TOPICS for event in topic.events]

each_event = pytest.mark.parametrize("event", EVENTS, ids=[event.TYPE for event in EVENTS])


def test_what_is_committed_is_current() -> None:
    assert contracts.outdated() == [], "python -m cli.contracts generate"


def test_a_page_edited_removed_or_left_over_is_out_of_date(tmp_path: Path) -> None:
    docs = tmp_path / "events"
    shutil.copytree(DOCS, docs)
    (docs / "README.md").write_text("My own words.\n")
    (docs / "ticket.created.md").unlink()
    (docs / "ticket.closed.md").write_text("A topic that is no more.\n")
    assert contracts.outdated(docs) == ["README.md", "ticket.closed.md", "ticket.created.md"]


@each_event
def test_a_schema_is_valid_draft_2020_12_and_holds_its_examples(event: type[Event]) -> None:
    schema = orjson.loads((DOCS / "schemas" / schemas.file_name(event.TYPE)).read_bytes())
    assert schema["$schema"] == schemas.DRAFT
    Draft202012Validator.check_schema(schema)
    validator = Draft202012Validator(schema, format_checker=Draft202012Validator.FORMAT_CHECKER)
    for payload in golden.examples(event).values():
        validator.validate(payload)
        incomplete = {name: value for name, value in payload.items() if name != "tenant_id"}
        assert not validator.is_valid(incomplete)


def test_the_asyncapi_document_obeys_the_specification() -> None:
    errors = sorted(Draft7Validator(SPECIFICATION).iter_errors(DOCUMENT), key=lambda error: list(error.absolute_path))
    assert not [f"{error.json_path}: {error.message[:200]}" for error in errors]


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"asyncapi": "2.6.0"}, "$.asyncapi"),
        ({"operations": {"x": {"action": "publish", "channel": {"$ref": "#/channels/x"}}}}, "$.operations"),
        ({"channels": {"x": {"bindings": {"kafka": {"partitions": 0, "bindingVersion": "0.5.0"}}}}}, "$.channels"),
    ],
)
def test_the_specification_refuses_what_is_wrong(change: dict[str, Any], path: str) -> None:
    errors = list(Draft7Validator(SPECIFICATION).iter_errors(DOCUMENT | change))
    assert any(error.json_path.startswith(path) for error in errors)


def test_every_reference_points_to_something() -> None:
    for reference in _references(DOCUMENT):
        target: Any = DOCUMENT
        for part in reference.removeprefix("#/").split("/"):
            assert part in target, reference
            target = target[part]


@each_event
def test_the_asyncapi_examples_are_what_their_payloads_say(event: type[Event]) -> None:
    message = DOCUMENT["components"]["messages"][event.TYPE]
    validator = Draft202012Validator({**message["payload"], "components": DOCUMENT["components"]})
    assert len(message["examples"]) >= 2
    for example in message["examples"]:
        validator.validate(example["payload"])
        assert not validator.is_valid({})


def test_channels_and_operations_are_those_of_the_manifest() -> None:
    assert list(DOCUMENT["channels"]) == [topic.name for topic in TOPICS]
    said = {
        (name.split(".")[0], operation["action"], operation["channel"]["$ref"].removeprefix("#/channels/"))
        for name, operation in DOCUMENT["operations"].items()
    }
    meant = {(topic.owner, "send", topic.name) for topic in TOPICS}
    meant |= {(consumer, "receive", topic.name) for topic in TOPICS for consumer in topic.consumers}
    assert said == meant
    for topic in TOPICS:
        binding = DOCUMENT["channels"][topic.name]["bindings"]["kafka"]
        assert binding["partitions"] == topic.partitions
        assert binding["topicConfiguration"]["cleanup.policy"] == ["compact" if topic.compacted else "delete"]


def test_every_page_of_the_reference_says_what_a_subscriber_asks() -> None:
    for topic in TOPICS:
        page = (DOCS / f"{topic.name}.md").read_text()
        for asked in (topic.summary, topic.owner, f"`{topic.key}`", "```json", f"events tail {topic.name}"):
            assert asked in page
        for event in topic.events:
            assert f"## `{event.TYPE}`" in page
            for field in event.model_fields:
                assert f"| `{field}` |" in page


def test_a_release_is_frozen_once_and_replaced_only_when_asked(tmp_path: Path) -> None:
    release.freeze("2.0", folder=tmp_path)
    with pytest.raises(release.ReleaseError, match=r"2\.0 is frozen"):
        release.freeze("2.0", folder=tmp_path)
    release.freeze("2.0", replace=True, folder=tmp_path)
    release.freeze("10.0", folder=tmp_path)
    assert release.released(tmp_path) == ["2.0", "10.0"]
    read = release.read("2.0", tmp_path)
    today = release.current()
    assert (read.topics, read.schemas, read.examples) == (today.topics, today.schemas, today.examples)


@pytest.mark.parametrize("version", ["", "1", "1.0.0", "v1.0", "../1.0", "1.x"])
def test_a_release_needs_a_plain_version(version: str, tmp_path: Path) -> None:
    with pytest.raises(release.ReleaseError, match="is not a version"):
        release.freeze(version, folder=tmp_path)


@pytest.mark.parametrize("tamper", ["changed", "added", "removed", "sums"])
def test_a_frozen_file_that_is_touched_is_noticed(tamper: str, tmp_path: Path) -> None:
    root = release.freeze("2.0", folder=tmp_path)
    victim = root / "topics.json"
    if tamper == "changed":
        victim.write_bytes(victim.read_bytes() + b" ")
    elif tamper == "added":
        (root / "more.schema.json").write_text("{}")
    elif tamper == "removed":
        victim.unlink()
    else:
        (root / "SHA256SUMS").unlink()
    with pytest.raises(release.ReleaseError, match="is frozen, but these files are not as they were"):
        release.read("2.0", tmp_path)


@pytest.mark.parametrize(
    ("arguments", "status", "told"),
    [
        (["generate", "--check"], 0, ""),
        (["check"], 0, "every frozen release still holds"),
        (["freeze", "1.0"], 1, "1.0 is frozen; --replace rewrites it"),
        (["freeze", "one"], 1, "is not a version"),
    ],
)
def test_the_command_line_says_what_it_did(arguments: list[str], status: int, told: str) -> None:
    done = CliRunner().invoke(contracts.app, arguments)
    assert done.exit_code == status
    assert told in done.output


def _references(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        for name, item in value.items():
            if name == "$ref" and isinstance(item, str):
                yield item
            else:
                yield from _references(item)
    elif isinstance(value, list):
        for item in value:
            yield from _references(item)
