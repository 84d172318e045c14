"""What each service is told, and what it is not."""

from __future__ import annotations

from pathlib import Path

import pytest

from deploy.local import services
from deploy.local.engines import Addresses
from deploy.local.record import Record

NAMES = ["console", "ingest", "tickets"]
ADDRESSES = Addresses(
    kafka_url="127.0.0.1:1",
    database_url="postgresql://postgres:admin@127.0.0.1:2/postgres",
    opensearch_url="http://127.0.0.1:3",
)


@pytest.fixture
def record(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Record:
    monkeypatch.setenv("DATABASE_URL", "postgresql://postgres:admin@127.0.0.1:2/postgres")
    ports = {"console-http": 8400, "ingest-http": 11, "ingest-smtp": 12, "tickets-http": 13}
    return Record(folder=tmp_path, ports=ports)


def test_a_service_knows_its_own_database_only(record: Record) -> None:
    told = services.service_environment(record, ADDRESSES, "tickets", NAMES)
    assert told["TICKETS_DATABASE_URL"] == f"postgresql://tickets:{record.password('tickets')}@127.0.0.1:2/tickets"
    assert not any("admin@" in value for value in told.values())
    assert {name for name in told if name.endswith(("DATABASE_URL", "DATABASE_PASSWORD"))} == {"TICKETS_DATABASE_URL"}


def test_the_edge_knows_where_the_others_are(record: Record) -> None:
    told = services.service_environment(record, ADDRESSES, "console", NAMES)
    assert (told["INGEST_URL"], told["TICKETS_URL"]) == ("http://127.0.0.1:11", "http://127.0.0.1:13")
    assert told["CONSOLE_HTTP_PORT"] == "8400"


def test_every_listener_has_its_port(record: Record) -> None:
    told = services.service_environment(record, ADDRESSES, "ingest", NAMES)
    assert (told["INGEST_HTTP_PORT"], told["INGEST_SMTP_PORT"]) == ("11", "12")


def test_the_command_line_can_make_databases_and_roles(record: Record) -> None:
    told = services.full_environment(record, ADDRESSES, NAMES)
    assert told["DATABASE_URL"] == ADDRESSES.database_url
    assert told["TICKETS_DATABASE_PASSWORD"] != told["TICKETS_MIGRATE_DATABASE_PASSWORD"]


def test_loopback_never_goes_through_a_proxy(record: Record, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_PROXY", "intranet")
    told = services.service_environment(record, ADDRESSES, "ingest", NAMES)
    assert told["NO_PROXY"] == "intranet,127.0.0.1,localhost"


def test_services_are_found_by_their_main(tmp_path: Path) -> None:
    for name in ("b", "a", "unfinished"):
        (tmp_path / "services" / name).mkdir(parents=True)
    for name in ("b", "a"):
        (tmp_path / "services" / name / "__main__.py").write_text("")
    assert services.discover(tmp_path) == ["a", "b"]
