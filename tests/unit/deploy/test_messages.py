"""One clear line, with the remedy, for what a person can mend."""

from __future__ import annotations

import errno
import socket
from pathlib import Path

import pytest

from deploy.local import ports, room
from deploy.local.bootstrap import explained
from deploy.local.engines import require_answer
from deploy.local.folders import cache_folder, state_folder
from deploy.local.record import Record, load
from deploy.local.refusal import Refusal, guarded
from deploy.local.services import claim_ports, database_url


def fails_with(error: Exception) -> int:
    def act() -> int:
        raise error

    return guarded(act)


@pytest.mark.parametrize("code", [errno.ENOSPC, errno.EROFS, errno.EACCES, errno.ENOMEM])
def test_system_errors_end_in_one_line(code: int, capsys: pytest.CaptureFixture[str]) -> None:
    assert fails_with(OSError(code, "no", "/some/file")) == 1
    said = capsys.readouterr().err
    assert said.startswith("deskwire: ")
    assert said.count("\n") == 1


def test_our_own_mistakes_keep_their_traceback() -> None:
    with pytest.raises(OSError):
        fails_with(OSError(errno.EBADF, "no"))


def test_the_detail_comes_before_the_line(capsys: pytest.CaptureFixture[str]) -> None:
    fails_with(Refusal("It died.", "Mend it.", detail="  its log\n"))
    assert capsys.readouterr().err == "  its log\ndeskwire: It died. Mend it.\n"


@pytest.mark.parametrize(
    ("printed", "expected"),
    [
        ("error: failed to write: No space left on device (os error 28)", "disk is full"),
        ("  cause: error sending request for url", "cannot be reached"),
        ("ERROR: THESE PACKAGES DO NOT MATCH THE HASHES", "differs from its pinned hash"),
        ("something else", "The lines above"),
    ],
)
def test_an_installer_that_failed_is_explained(printed: str, expected: str) -> None:
    refusal = explained("It failed.", [printed])
    assert expected in refusal.line()
    assert printed in refusal.detail


def test_a_taken_origin_port_names_its_holder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        taken = other.getsockname()[1]
        monkeypatch.setenv("ORIGIN_PORT", str(taken))
        with pytest.raises(Refusal, match=f"Port {taken} of the origin is taken by process") as refused:
            claim_ports(Record(folder=tmp_path), ["console"])
        assert "ORIGIN_PORT=" in refused.value.remedy


def test_an_engine_port_taken_since_last_time_is_chosen_anew(tmp_path: Path) -> None:
    record = Record(folder=tmp_path)
    first = ports.choose(record, "kafka")
    assert ports.choose(record, "kafka") == first
    with socket.socket() as other:
        other.bind(("127.0.0.1", first))
        other.listen()
        assert ports.choose(record, "kafka") != first
    assert load(tmp_path).ports == record.ports


@pytest.mark.parametrize("text", ["0", "65536", "http", "-1"])
def test_what_is_no_port_is_refused(text: str) -> None:
    with pytest.raises(Refusal, match="is no port"):
        ports.number("ORIGIN_PORT", text)


def test_an_address_at_which_no_one_answers_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    with pytest.raises(Refusal, match=f"DATABASE_URL is set, but no one answers at 127.0.0.1:{port}") as refused:
        require_answer("DATABASE_URL", f"postgresql://me:secret@127.0.0.1:{port}/x", 5432)
    assert "secret" not in refused.value.line()


def test_unusable_folders_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("")
    monkeypatch.setenv("DESKWIRE_CACHE", str(blocked))
    monkeypatch.setenv("DESKWIRE_STATE", str(blocked / "state"))
    with pytest.raises(Refusal, match=r"cache folder .*file cannot be read"):
        cache_folder()
    with pytest.raises(Refusal, match=r"state folder .*state cannot be written"):
        state_folder()


def test_too_little_disk_and_memory(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("DESKWIRE_SKIP_CHECKS", raising=False)
    with pytest.raises(Refusal, match="GiB left"):
        room.require_disk(tmp_path, 1 << 62)
    with pytest.raises(Refusal, match="GiB of memory"):
        room.require_memory(1 << 62)
    monkeypatch.setenv("DESKWIRE_SKIP_CHECKS", "1")
    room.require_disk(tmp_path, 1 << 62)
    room.require_memory(1 << 62)


def test_memory_is_bounded_by_the_control_group(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/meminfo").write_text("MemTotal: 9 kB\nMemAvailable: 4194304 kB\n")
    assert room.available_memory(tmp_path) == 4 << 30
    group = tmp_path / "sys/fs/cgroup"
    group.mkdir(parents=True)
    (group / "memory.current").write_text(f"{1 << 30}\n")
    (group / "memory.max").write_text("max\n")
    assert room.available_memory(tmp_path) == 4 << 30
    (group / "memory.max").write_text(f"{2 << 30}\n")
    assert room.available_memory(tmp_path) == 1 << 30


def test_a_service_gets_its_own_database_on_the_given_server() -> None:
    url = database_url("postgresql://admin:p%40ss@db.example:6432/postgres?sslmode=require", "tickets", "secret")
    assert url == "postgresql://tickets:secret@db.example:6432/tickets?sslmode=require"


def test_the_state_file_is_private(tmp_path: Path) -> None:
    record = Record(folder=tmp_path)
    secret = record.password("tickets")
    assert len(bytes.fromhex(secret)) == 32
    assert record.path.stat().st_mode & 0o777 == 0o600
    assert load(tmp_path).password("tickets") == secret
