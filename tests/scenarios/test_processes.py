"""How a process of ours behaves towards whoever runs it: settings, refusals, exit statuses."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.desk import Desk
from tests.support.installation import EACH, ROOT, SERVICES, Installation, log_lines

pytestmark = pytest.mark.engines


def run(installation: Installation, *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *arguments],
        cwd=ROOT,
        env=installation.environment(**more),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


async def test_printed_settings_are_complete_and_show_no_secret(installation: Installation) -> None:
    done = run(installation, "cli", "run", *SERVICES, "--print-config", KAFKA_PASSWORD="hunter2hunter2")
    assert done.returncode == 0, done.stderr
    shown = json.loads(done.stdout)
    assert set(shown) == set(SERVICES)
    assert shown["ingest"]["smtp_port"] == installation.ports["smtp"]
    assert shown["tickets"]["topic_prefix"] == installation.prefix
    secret = [installation.master_key, "hunter2hunter2", *installation.passwords.values()]
    assert [value[:6] for value in secret if value in done.stdout] == []


@pytest.mark.parametrize(
    ("variable", "value"),
    [
        ("TICKETS_HTTP_PORT", "http"),
        ("TICKETS_SWEEP_SECONDS", "-1"),
        ("TICKETS_LOG_LEVEL", "loud"),
        ("TICKETS_DRAIN_SECONDS", "soon"),
    ],
)
async def test_a_wrong_setting_refuses_the_start_and_names_its_variable(
    variable: str, value: str, installation: Installation
) -> None:
    done = run(installation, "services.tickets", **{variable: value})
    assert done.returncode == 2
    assert f"{variable}:" in done.stderr
    assert "Traceback" not in done.stderr


async def test_a_taken_port_refuses_the_start_and_names_its_variable(installation: Installation) -> None:
    done = run(installation, "services.tickets")
    assert done.returncode == 2
    assert "TICKETS_HTTP_PORT: cannot listen" in done.stderr


async def test_a_service_that_does_not_exist_is_named(installation: Installation) -> None:
    done = run(installation, "cli", "run", "ingest", "tikets")
    assert done.returncode == 2
    assert "no service is named 'tikets'" in done.stderr


async def test_every_process_drains_and_ends_with_status_0_and_the_work_goes_on_afterwards(desk: Desk) -> None:
    accepted = [await desk.message(f"Before the restart {number}") for number in range(20)]
    for (name,) in EACH:
        assert await desk.installation.terminate(name) == 0, name
        await desk.restart(name)
    for message in accepted:
        await desk.ticket(message["ticket_id"])
    stopped = [line for line in log_lines(desk.installation.logs()) if line["event"] == "stopped"]
    assert all(line["complete"] for line in stopped)
    assert len(stopped) >= len(EACH)
