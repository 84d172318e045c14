"""The libraries' defaults lose events: one place makes clients, and each has every setting that matters."""

from __future__ import annotations

import ast
import re
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import SecretStr

from shared import kafka
from shared.settings import ServiceSettings

ROOT = Path(__file__).parents[3]

CLIENTS = (
    "shared/bus/",
    "shared/kafka.py",
    "shared/broker.py",
    "shared/publish.py",
    "shared/relay.py",
    "shared/replica.py",
)
"""What the bus is made of."""
HOSTS = ("shared/ahead.py", "shared/process.py", "shared/host.py", "shared/admin.py", "shared/dlq.py")
"""What runs it and what looks after it."""
ONLY_ERRORS = ("shared/host.py", "cli/refuse.py", "cli/rewind.py")
"""May know the libraries' errors, to say in a sentence that an engine is away."""
OUTSIDERS = ("cli/events.py", "cli/demo/", "bench/")
"""Subscribe the documented way, look on without a group, measure the bare client."""


class Settings(ServiceSettings):
    SERVICE: ClassVar[str] = "traps"


class Recorder:
    """Stands in for a client class and keeps what it is given."""

    def __init__(self) -> None:
        self.given: list[dict[str, Any]] = []

    def __call__(self, *_args: object, **options: Any) -> object:
        self.given.append(options)
        return object()


@pytest.fixture
def consumers(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(kafka, "AIOKafkaConsumer", recorder)
    return recorder


@pytest.fixture
def producers(monkeypatch: pytest.MonkeyPatch) -> Recorder:
    recorder = Recorder()
    monkeypatch.setattr(kafka, "AIOKafkaProducer", recorder)
    return recorder


MAKERS: dict[str, Callable[[], object]] = {
    "group_consumer": lambda: kafka.group_consumer(Settings(), "g"),
    "reader": lambda: kafka.reader(Settings(), "look"),
    "producer": lambda: kafka.producer(Settings()),
}


def test_no_consumer_commits_by_itself_or_begins_at_the_end(consumers: Recorder) -> None:
    kafka.group_consumer(Settings(), "g")
    kafka.reader(Settings(), "look")
    assert len(consumers.given) == 2
    for options in consumers.given:
        assert options["enable_auto_commit"] is False
        assert options["auto_offset_reset"] == "earliest"


def test_a_group_consumer_takes_its_times_from_the_settings(consumers: Recorder) -> None:
    settings = Settings(session_timeout_milliseconds=8000, poll_interval_milliseconds=123_000)
    kafka.group_consumer(settings, "g")
    (options,) = consumers.given
    assert options["group_id"] == "g"
    assert options["session_timeout_ms"] == 8000
    assert options["max_poll_interval_ms"] == 123_000
    assert options["heartbeat_interval_ms"] * 3 <= options["session_timeout_ms"]
    assert [one.name for one in options["partition_assignment_strategy"]] == ["range"]


def test_every_producer_is_idempotent_and_waits_for_every_replica(producers: Recorder) -> None:
    kafka.producer(Settings())
    (options,) = producers.given
    assert options["enable_idempotence"] is True
    assert options["acks"] == "all"
    assert "transactional_id" not in options


def test_every_client_has_a_time_limit_and_the_encryption_that_is_configured(
    consumers: Recorder, producers: Recorder
) -> None:
    plain = Settings()
    secured = Settings(kafka_username="u", kafka_password=SecretStr("p"))
    for settings in (plain, secured):
        kafka.group_consumer(settings, "g")
        kafka.reader(settings, "look")
        kafka.producer(settings)
    for options in (*consumers.given, *producers.given):
        assert options["request_timeout_ms"] <= 10_000
    assert {options["security_protocol"] for options in consumers.given[:2]} == {"PLAINTEXT"}
    assert {options["security_protocol"] for options in consumers.given[2:]} == {"SASL_PLAINTEXT"}
    assert {options.get("sasl_mechanism") for options in consumers.given[2:]} == {"SCRAM-SHA-512"}


def test_every_function_that_makes_a_client_is_among_those_tried_here() -> None:
    tree = ast.parse((ROOT / "shared/kafka.py").read_text())
    makers = {
        function.name
        for function in ast.walk(tree)
        if isinstance(function, (ast.FunctionDef, ast.AsyncFunctionDef))
        for call in ast.walk(function)
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Name)
        and call.func.id in {"AIOKafkaConsumer", "AIOKafkaProducer"}
    }
    assert makers == set(MAKERS)


@cache
def sources() -> Sequence[tuple[str, ast.Module]]:
    """Every file that names one of the libraries; reading only these takes a tenth of the time."""
    return [
        (path.relative_to(ROOT).as_posix(), ast.parse(text))
        for folder in ("shared", "services", "cli", "deploy", "bench")
        for path in sorted((ROOT / folder).rglob("*.py"))
        if re.search("aiokafka|faststream", text := path.read_text(), re.IGNORECASE)
    ]


def imported(tree: ast.Module, library: str) -> set[str]:
    """Modules of a library that a file imports, wherever in it."""
    found: set[str] = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module)
    return {name for name in found if name.split(".")[0] == library}


def test_only_the_bus_touches_the_client() -> None:
    allowed = (*CLIENTS, *HOSTS, *OUTSIDERS)
    for path, tree in sources():
        modules = imported(tree, "aiokafka")
        if path in ONLY_ERRORS:
            assert modules <= {"aiokafka.errors"}, path
        elif modules:
            assert path.startswith(allowed), f"{path} imports {', '.join(modules)}: only the bus makes clients"


def test_only_the_process_touches_faststream() -> None:
    for path, tree in sources():
        if imported(tree, "faststream"):
            assert path.startswith((*HOSTS, *OUTSIDERS)), f"{path} imports FastStream: only what runs a service does"


def test_clients_are_constructed_in_one_module_only() -> None:
    for path, tree in sources():
        if path == "shared/kafka.py" or path.startswith(OUTSIDERS):
            continue
        made = {
            call.func.id
            for call in ast.walk(tree)
            if isinstance(call, ast.Call) and isinstance(call.func, ast.Name) and call.func.id.startswith("AIOKafka")
        }
        assert not made, f"{path} makes a client itself: {', '.join(made)}"


def test_an_outsider_with_a_group_does_not_commit_by_itself() -> None:
    for path, tree in sources():
        for call in ast.walk(tree):
            if not (isinstance(call, ast.Call) and isinstance(call.func, ast.Name)):
                continue
            if call.func.id != "AIOKafkaConsumer" or any(keyword.arg is None for keyword in call.keywords):
                continue
            options = {keyword.arg: keyword.value for keyword in call.keywords}
            grouped = "group_id" in options and ast.unparse(options["group_id"]) != "None"
            if grouped:
                assert ast.unparse(options["enable_auto_commit"]) == "False", path
