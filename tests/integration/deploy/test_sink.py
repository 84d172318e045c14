"""The local sink takes what the installation sends out, shows it, and has it still after a restart."""

from __future__ import annotations

import smtplib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx2
import pytest

from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]


class Sink:
    """The process, and where it listens."""

    def __init__(self, folder: Path) -> None:
        self.smtp, self.http = _port(), _port()
        command = [sys.executable, "-m", "deploy.local.sink", str(folder), str(self.smtp), str(self.http)]
        self.process = subprocess.Popen(command, cwd=ROOT, stdin=subprocess.DEVNULL)
        self.client = httpx2.Client(base_url=f"http://127.0.0.1:{self.http}", trust_env=False)

    async def ready(self) -> None:
        async def answers() -> bool:
            try:
                return self.client.get("/healthz").status_code == 200
            except httpx2.TransportError:
                return False

        await eventually(answers, what="the sink")

    def end(self) -> None:
        self.client.close()
        self.process.terminate()
        self.process.wait(timeout=10)


@pytest.fixture
def sink(tmp_path: Path) -> Iterator[Sink]:
    made = Sink(tmp_path / "sink")
    yield made
    made.end()


async def test_a_mail_is_listed_for_its_recipient_with_text_and_links(sink: Sink) -> None:
    await sink.ready()
    raw = (
        "Subject: =?utf-8?q?Gel=C3=B6st?=\r\nMessage-ID: <1@desk.example>\r\n\r\nSee https://desk.example/p/1?x=2.\r\n"
    )
    with smtplib.SMTP("127.0.0.1", sink.smtp, timeout=10) as smtp:
        smtp.sendmail("desk@desk.example", ["a@x.example", "b@x.example"], raw)
    (mail,) = sink.client.get("/mails", params={"to": "b@x.example"}).json()["items"]
    assert mail["subject"] == "Gelöst"
    assert mail["message_id"] == "1@desk.example"
    assert mail["links"] == ["https://desk.example/p/1?x=2"]
    assert sink.client.get("/mails", params={"to": "c@x.example"}).json()["items"] == []
    assert sink.client.get(f"/mails/{mail['n']}").text.startswith("Subject: =?utf-8?q?")
    assert "Gelöst" in sink.client.get("/").text


async def test_a_webhook_is_listed_with_its_headers_and_answered_as_asked(sink: Sink) -> None:
    await sink.ready()
    assert sink.client.post("/hooks/team", content=b'{"type":"a"}', headers={"webhook-id": "1"}).status_code == 204
    assert sink.client.post("/hooks/team?status=500", content=b"<b>").status_code == 500
    calls = sink.client.get("/hooks", params={"name": "team"}).json()["items"]
    assert [(call["headers"].get("webhook-id"), call["body"], call["status"]) for call in calls] == [
        ("1", '{"type":"a"}', 204),
        (None, "<b>", 500),
    ]
    assert "<b>" not in sink.client.get("/").text


async def test_what_arrived_is_there_after_a_restart(tmp_path: Path) -> None:
    first = Sink(tmp_path / "kept")
    await first.ready()
    first.client.post("/hooks/team", content=b"{}")
    first.end()
    second = Sink(tmp_path / "kept")
    try:
        await second.ready()
        assert len(second.client.get("/hooks").json()["items"]) == 1
        second.client.post("/hooks/team", content=b"{}")
        assert [call["n"] for call in second.client.get("/hooks").json()["items"]] == [1, 2]
    finally:
        second.end()


def _port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
