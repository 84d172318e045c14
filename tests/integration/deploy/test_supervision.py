"""Starting, taking over and ending a real engine (PostgreSQL, the quickest) in state folders of the test's own."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from deploy.local import process
from deploy.local.engines import VARIABLES
from deploy.local.folders import CHECKOUT
from deploy.local.process import Identity, identify
from deploy.local.record import load

pytestmark = pytest.mark.engines

# A starter of PostgreSQL alone; with a crash asked for, it dies like one that was killed.
STARTER = """
import os, sys
from pathlib import Path
from deploy.local import engines, process, record
from deploy.local.progress import Progress
from deploy.local.refusal import guarded

state, crash = Path(sys.argv[1]), sys.argv[2]
if crash == "unrecorded":
    record.Record.remember = lambda self, name, identity: os._exit(9)
if crash == "recorded":
    engines._await = lambda engine, site, identity: os._exit(9)

def start():
    with record.exclusive(state) as held:
        print(engines.start(held, Progress(), ["postgres"]).database_url)
    return 0

raise SystemExit(guarded(start))
"""


def run(state: Path, crash: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", STARTER, str(state), crash],
        check=False,
        cwd=CHECKOUT,
        env=own_environment(),
        capture_output=True,
        text=True,
        timeout=120,
    )


def engines_down(state: Path) -> str:
    return subprocess.run(
        [sys.executable, "-m", "deploy.local", "down"],
        check=True,
        cwd=CHECKOUT,
        env=own_environment() | {"DESKWIRE_STATE": str(state)},
        capture_output=True,
        text=True,
        timeout=120,
    ).stdout


def own_environment() -> dict[str, str]:
    """Ours without the addresses of the suite's engines."""
    return {name: value for name, value in os.environ.items() if name not in {*VARIABLES.values(), "ENGINES"}}


def postmaster(state: Path) -> Identity:
    identity = load(state).running("postgres")
    assert identity is not None
    return identity


def selects(url: str) -> bool:
    with socket.create_connection(("127.0.0.1", urlsplit(url).port or 0), timeout=5):
        return True


@pytest.fixture
def state() -> Iterator[Path]:
    """A state folder that the engines' user reaches (pytest's own temporary folders are closed)."""
    with tempfile.TemporaryDirectory(prefix="supervision-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        yield path / "state"
        if (path / "state/state.json").exists():
            engines_down(path / "state")


def test_starting_twice_is_harmless(state: Path) -> None:
    first = run(state)
    assert first.returncode == 0, first.stderr
    before = postmaster(state)
    second = run(state)
    assert "taken over" in second.stdout
    assert second.stdout.splitlines()[-1] == first.stdout.splitlines()[-1]
    assert postmaster(state) == before


def test_two_starts_at_once_make_one(state: Path) -> None:
    command = [sys.executable, "-c", STARTER, str(state), ""]
    both = [
        subprocess.Popen(command, cwd=CHECKOUT, env=own_environment(), stdout=subprocess.PIPE, text=True)
        for _ in range(2)
    ]
    said = [starter.communicate(timeout=120)[0] for starter in both]
    assert [starter.returncode for starter in both] == [0, 0]
    assert sum("taken over" in text for text in said) == 1
    assert [role for role, _ in process.owned(state)] == ["postgres"]


@pytest.mark.parametrize("crash", ["recorded", "unrecorded"])
def test_the_next_start_takes_over_what_a_crashed_starter_left(state: Path, crash: str) -> None:
    assert run(state, crash).returncode == 9
    left = [identity for _, identity in process.owned(state)]
    assert len(left) == 1
    again = run(state)
    assert again.returncode == 0, again.stderr
    assert "taken over" in again.stdout
    assert postmaster(state) == left[0]
    assert selects(again.stdout.splitlines()[-1])


def test_down_ends_the_orphan_of_a_crashed_starter(state: Path) -> None:
    run(state, "unrecorded")
    (_, orphan), *others = process.owned(state)
    assert not others
    assert "1 ended" in engines_down(state)
    assert not orphan.alive()


def test_down_ends_only_its_own(state: Path) -> None:
    run(state)
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"], start_new_session=True)
    try:
        with tempfile.TemporaryDirectory(prefix="supervision-other-") as folder:
            Path(folder).chmod(0o755)
            other = Path(folder) / "state"
            assert run(other).returncode == 0
            # The id of our record is a stranger's by now.
            record = load(state)
            ours = postmaster(state)
            content = json.loads(record.path.read_text())
            content["processes"]["ingest"] = {
                "pid": stranger.pid,
                "started": 1,
                "command": ["python", "-m", "services.ingest"],
            }
            record.path.write_text(json.dumps(content))
            assert "1 ended" in engines_down(state)
            assert not ours.alive()
            assert stranger.poll() is None
            assert postmaster(other).alive()
            engines_down(other)
    finally:
        stranger.kill()
        stranger.wait()


def test_a_killed_engine_starts_again_with_its_data(state: Path) -> None:
    run(state)
    ours = postmaster(state)
    os.kill(ours.pid, signal.SIGKILL)
    deadline = time.monotonic() + 10
    while ours.alive():
        assert time.monotonic() < deadline
    again = run(state)
    assert again.returncode == 0, again.stderr
    assert "ready in" in again.stdout
    assert postmaster(state) != ours


def test_a_port_taken_meanwhile_is_replaced(state: Path) -> None:
    run(state)
    port = load(state).ports["postgres"]
    engines_down(state)
    with socket.socket() as foreign:
        foreign.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        foreign.bind(("127.0.0.1", port))
        foreign.listen()
        assert run(state).returncode == 0
    assert load(state).ports["postgres"] != port


def test_engines_do_not_run_as_root_and_their_data_is_closed(state: Path) -> None:
    run(state)
    leader = postmaster(state)
    owner = Path(f"/proc/{leader.pid}").stat().st_uid
    assert owner != 0
    cluster = Path(load(state).data) / "postgres/cluster"
    assert cluster.stat().st_uid == owner
    assert cluster.stat().st_mode & 0o077 == 0
    assert identify(leader.pid) == leader
