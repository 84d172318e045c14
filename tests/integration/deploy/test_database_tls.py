"""A real PostgreSQL that demands TLS: who verifies comes in, who does not trust it stays out and says why."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import asyncpg
import httpx2
import pytest

from deploy.containers.certificates import Authority
from deploy.local.folders import CHECKOUT
from shared.db import Database, is_connection_failure
from tests.support.engines import Engines
from tests.support.installation import SERVICES
from tests.support.secured import Server, secured_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

PASSWORDS = {
    f"{service.upper()}_{kind}DATABASE_PASSWORD": f"pw-{service}" for service in SERVICES for kind in ("", "MIGRATE_")
}


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with secured_server() as started:
        yield started


@pytest.fixture
def stranger(tmp_path: Path) -> Path:
    """An authority that the server's certificate is not of."""
    path = tmp_path / "other.pem"
    path.write_text(Authority("Somebody else").certificate())
    return path


def provision(server: Server, ca_file: Path | str) -> subprocess.CompletedProcess[str]:
    told = {"DATABASE_URL": server.url, "DATABASE_CA_FILE": str(ca_file), **PASSWORDS}
    return subprocess.run(
        [sys.executable, "-m", "cli", "provision", "--databases"],
        cwd=CHECKOUT,
        env={**os.environ, **told},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_everything_is_made_over_tls_by_one_setting(server: Server) -> None:
    done = provision(server, server.ca_file)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("migrations applied") == 8


def test_the_wrong_authority_is_one_line_that_names_the_setting(server: Server, stranger: Path) -> None:
    done = provision(server, stranger)
    assert done.returncode == 1
    (line,) = done.stderr.splitlines()
    assert "certificate is not trusted" in line
    assert "DATABASE_CA_FILE" in line


async def test_nobody_comes_in_without_tls(server: Server) -> None:
    with pytest.raises(asyncpg.InvalidAuthorizationSpecificationError, match="no encryption"):
        await asyncpg.connect(f"{server.url}?sslmode=disable")


async def test_a_certificate_for_another_host_is_refused() -> None:
    with secured_server("db.example") as elsewhere, pytest.raises(OSError, match="IP address mismatch") as refused:
        await Database.connect(elsewhere.verified_url, application="test")
    assert is_connection_failure(refused.value), "waited for, as when it is away: an operator may put it right"


async def test_a_service_with_the_wrong_authority_says_so_and_serves_nothing(
    server: Server, stranger: Path, engines: Engines, tmp_path: Path
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    told = {
        "KAFKA_URL": engines.kafka_url,
        "TRIAGE_DATABASE_URL": server.url,
        "DATABASE_CA_FILE": str(stranger),
        "TRIAGE_HTTP_PORT": str(port),
        "MASTER_KEY": "00" * 32,
        "BLOBS_URL": tmp_path.as_uri(),
    }
    log = tmp_path / "triage.log"
    with log.open("wb") as out:
        service = subprocess.Popen(
            [sys.executable, "-m", "services.triage"],
            cwd=CHECKOUT,
            env={**os.environ, **told},
            stdout=out,
            stderr=out,
        )
    try:
        async with httpx2.AsyncClient(trust_env=False) as client:
            missing = await eventually(partial(_missing, client, port), within=60, every=0.1, what="the reason")
    finally:
        service.send_signal(signal.SIGTERM)
        await asyncio.to_thread(service.wait, 30)
    assert "CERTIFICATE_VERIFY_FAILED" in missing
    assert "waiting for an engine" in log.read_text()


async def _missing(client: httpx2.AsyncClient, port: int) -> str:
    """What readiness says of PostgreSQL; empty until it does."""
    try:
        answer = await client.get(f"http://127.0.0.1:{port}/readyz")
    except httpx2.TransportError:
        return ""
    assert answer.status_code == 503
    return next((one["reason"] for one in answer.json()["missing"] if one["name"] == "postgresql"), "")
