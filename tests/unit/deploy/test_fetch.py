"""Downloads, against a server that can be cut off, lie, or not know how to resume."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from typing_extensions import override

from deploy.local import fetch as fetching
from deploy.local.fetch import fetch
from deploy.local.pins import Pin
from deploy.local.progress import Progress
from deploy.local.refusal import Refusal

CONTENT = bytes(range(256)) * 4096
PIN = Pin(coordinate="org.example:thing:1.0", sha256=hashlib.sha256(CONTENT).hexdigest(), size=len(CONTENT))


class Repository:
    """A Maven repository with one file, and faults."""

    def __init__(self) -> None:
        self.asked: list[str | None] = []
        self.content = CONTENT
        self.cut_after: list[int] = []
        self.resumes = True
        self.status = 200
        repository = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                repository.answer(self)

            @override
            def log_message(self, format: str, *args: Any) -> None:
                pass

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/maven"

    def answer(self, request: BaseHTTPRequestHandler) -> None:
        wanted = request.headers.get("Range")
        self.asked.append(wanted)
        if self.status != 200 or request.path != f"/maven/{PIN.path}":
            request.send_error(self.status if self.status != 200 else 404)
            return
        begin = int(wanted.removeprefix("bytes=").rstrip("-")) if wanted and self.resumes else 0
        body = self.content[begin:]
        request.send_response(206 if begin else 200)
        request.send_header("Content-Length", str(len(body)))
        request.end_headers()
        request.wfile.write(body[: self.cut_after.pop(0)] if self.cut_after else body)


@pytest.fixture
def repository(monkeypatch: pytest.MonkeyPatch) -> Iterator[Repository]:
    monkeypatch.setattr(fetching, "PAUSE_SECONDS", 0.0)
    monkeypatch.setenv("NO_PROXY", "127.0.0.1")
    served = Repository()
    thread = threading.Thread(target=served.server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    yield served
    served.server.shutdown()
    served.server.server_close()
    thread.join()


def bring(repository: Repository, folder: Path) -> bytes:
    fetch([PIN], folder, Progress(io.StringIO()), base=repository.url)
    assert not list(folder.glob("*.part"))
    return (folder / PIN.filename).read_bytes()


def test_a_file_is_fetched_once(repository: Repository, tmp_path: Path) -> None:
    assert bring(repository, tmp_path) == CONTENT
    assert bring(repository, tmp_path) == CONTENT
    assert repository.asked == [None]


def test_a_cut_connection_goes_on_where_it_was(repository: Repository, tmp_path: Path) -> None:
    repository.cut_after = [1000, 500]
    assert bring(repository, tmp_path) == CONTENT
    assert repository.asked == [None, "bytes=1000-", "bytes=1500-"]


def test_what_an_earlier_run_left_is_resumed(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / f"{PIN.filename}.part").write_bytes(CONTENT[:700])
    assert bring(repository, tmp_path) == CONTENT
    assert repository.asked == ["bytes=700-"]


def test_a_server_that_cannot_resume_is_asked_for_the_whole(repository: Repository, tmp_path: Path) -> None:
    repository.resumes = False
    (tmp_path / f"{PIN.filename}.part").write_bytes(b"x" * 700)
    assert bring(repository, tmp_path) == CONTENT


def test_a_damaged_part_is_thrown_away(repository: Repository, tmp_path: Path) -> None:
    (tmp_path / f"{PIN.filename}.part").write_bytes(b"x" * 700)
    assert bring(repository, tmp_path) == CONTENT
    assert repository.asked == ["bytes=700-", None]


def test_a_changed_file_is_refused_and_not_kept(repository: Repository, tmp_path: Path) -> None:
    repository.content = CONTENT[::-1]
    with pytest.raises(Refusal, match="differs from its pinned hash"):
        fetch([PIN], tmp_path, Progress(io.StringIO()), base=repository.url)
    assert list(tmp_path.iterdir()) == []


def test_a_missing_file_is_not_asked_for_again(repository: Repository, tmp_path: Path) -> None:
    repository.status = 404
    with pytest.raises(Refusal, match=r"thing-1\.0\.jar could not be fetched: the repository answered 404"):
        fetch([PIN], tmp_path, Progress(io.StringIO()), base=repository.url)
    assert len(repository.asked) == 1
