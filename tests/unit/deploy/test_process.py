"""Telling a process of ours from another with the same id."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

from deploy.local import process
from deploy.local.process import Identity, identify


def a_process(proc: Path, pid: int, *, name: str = "java", started: int = 77, state: str = "S") -> None:
    folder = proc / str(pid)
    folder.mkdir(parents=True)
    fields = [state, "1", str(pid), str(pid), *["0"] * 15, str(started), "0"]
    (folder / "stat").write_text(f"{pid} ({name}) {' '.join(fields)}")
    (folder / "cmdline").write_bytes(b"java\0-cp\0x\0")


def test_an_identity_is_read_from_proc(tmp_path: Path) -> None:
    a_process(tmp_path, 10)
    assert identify(10, tmp_path) == Identity(pid=10, started=77, command=("java", "-cp", "x"))


def test_a_name_with_spaces_and_parentheses_shifts_nothing(tmp_path: Path) -> None:
    a_process(tmp_path, 10, name="a) R (b c")
    found = identify(10, tmp_path)
    assert found is not None
    assert found.started == 77


def test_the_same_id_with_another_start_or_command_is_another_process(tmp_path: Path) -> None:
    a_process(tmp_path, 10)
    ours = Identity(pid=10, started=77, command=("java", "-cp", "x"))
    assert ours.alive(tmp_path)
    assert not replace(ours, started=78).alive(tmp_path)
    assert not replace(ours, command=("java",)).alive(tmp_path)
    assert not replace(ours, pid=11).alive(tmp_path)


def test_a_zombie_is_not_alive(tmp_path: Path) -> None:
    a_process(tmp_path, 10, state="Z")
    assert identify(10, tmp_path) is None


def test_ending_leaves_a_reused_id_alone() -> None:
    stranger = subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"])
    try:
        identity = identify(stranger.pid)
        assert identity is not None
        process.end(replace(identity, started=identity.started - 1), patience=0.1)
        assert stranger.poll() is None
    finally:
        stranger.kill()
        stranger.wait()


def test_what_ignores_a_request_is_killed(tmp_path: Path) -> None:
    program = (
        "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('deaf', flush=True); time.sleep(60)"
    )
    log = tmp_path / "log"
    identity = process.spawn(
        "deaf", [sys.executable, "-c", program], owner=tmp_path, log=log, cwd=tmp_path, env=dict(os.environ)
    )
    while "deaf" not in log.read_text():
        assert identity.alive()
    assert process.owned(tmp_path).__next__() == ("deaf", identity)
    process.end(identity, patience=0.2, polite=signal.SIGTERM)
    assert not identity.alive()
    assert list(process.owned(tmp_path)) == []
