"""`events list` and the ways `events tail` refuses."""

from __future__ import annotations

import orjson
import pytest
from typer.testing import CliRunner

from cli import events
from shared.contracts.manifest import TOPICS


def test_list_shows_every_topic_whole() -> None:
    done = CliRunner().invoke(events.app, ["list"])
    assert done.exit_code == 0
    for topic in TOPICS:
        (line,) = [line for line in done.output.splitlines() if line.split(" ")[0] == topic.name]
        assert all(part in line for part in (topic.owner, topic.key, ", ".join(topic.consumers)))


def test_list_is_json_for_machines() -> None:
    done = CliRunner().invoke(events.app, ["list", "--json"])
    assert set(orjson.loads(done.output)) == {topic.name for topic in TOPICS}


@pytest.mark.parametrize(
    ("topic", "told"),
    [("ticket.create", "did you mean ticket.created?"), ("xyz", "`events list` shows all")],
)
def test_tail_of_an_unknown_topic_is_one_line_with_the_remedy(topic: str, told: str) -> None:
    done = CliRunner().invoke(events.app, ["tail", topic])
    assert done.exit_code == 1
    assert told in done.output
    assert done.output.count("\n") == 1


def test_tail_without_kafka_is_one_line_with_the_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_URL", "127.0.0.1:1")
    done = CliRunner().invoke(events.app, ["tail", "ticket.created"])
    assert done.exit_code == 1
    assert done.output.startswith("Kafka at 127.0.0.1:1 does not answer")
    assert done.output.count("\n") == 1


@pytest.mark.parametrize(
    ("value", "gist"),
    [
        (None, "(deleted)"),
        ("not json", "(not JSON)"),
        ({"ticket": {"number": "INC-1", "status": "new", "subject": "Hi"}}, "INC-1 [new] Hi"),
        ({"sender": {"address": "a@b.example"}, "subject": ""}, "a@b.example: (no subject)"),
        ({"policy_key": "acme/workflow"}, "acme/workflow"),
        ({}, ""),
    ],
)
def test_a_line_says_what_a_person_wants_to_know(value: object, gist: str) -> None:
    assert events._gist(value) == gist


def test_text_of_strangers_cannot_move_the_cursor() -> None:
    assert events._clean("\x1b]0;mine\x07 \r\nИмя 名") == "·]0;mine· ··Имя 名"
