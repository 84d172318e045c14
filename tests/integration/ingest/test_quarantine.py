"""What cannot be read within the bounds still opens a ticket, waits for a person, and can be read again."""

from __future__ import annotations

import time
from uuid import UUID

import pytest

from services.ingest.mail.limits import Limits
from shared.contracts.message import Parent
from tests.integration.ingest.conftest import Ingest
from tests.integration.ingest.test_smtp import mail

pytestmark = pytest.mark.engines


def many_parts(count: int) -> bytes:
    """A mail of `count` parts."""
    head = b"From: Ann <ann@customer.example>\r\nSubject: parts INC-2026-000042\r\nMessage-ID: <parts@x>\r\n"
    head += b'Content-Type: multipart/mixed; boundary="b"\r\n\r\n'
    return head + b"".join(b"--b\r\n\r\npart %d\r\n" % n for n in range(count)) + b"--b--\r\n"


async def test_a_mail_of_20000_parts_opens_a_ticket_and_is_quarantined(smtp: Ingest) -> None:
    began = time.monotonic()
    assert await smtp.mail(many_parts(20_000), "support@acme.example") == {}
    assert time.monotonic() - began < 15
    (event,) = await smtp.received()
    (unread,) = await smtp.quarantined()
    assert event.subject == "parts INC-2026-000042"
    assert event.ticket_number == "INC-2026-000042"
    assert event.sender.address == "ann@customer.example"
    assert "too_many_parts" in (event.body.text or "")
    assert (unread.message_id, unread.reason) == (event.message_id, "too_many_parts")
    assert unread.original.size == len(many_parts(20_000))


async def test_a_quarantined_message_is_listed_and_read_again_into_its_conversation(smtp: Ingest) -> None:
    await smtp.mail(many_parts(600), "support@acme.example")
    listed = (await smtp.call("acme/agent", "GET", "/v1/quarantine")).json()
    (item,) = listed["items"]
    assert item["reason"] == "too_many_parts"
    path = f"/v1/quarantine/{item['message_id']}/replay"
    told = await smtp.call("acme/agent", "POST", path)
    assert told.status_code == 200, told.text
    again = await smtp.call("acme/agent", "POST", path)
    assert again.json()["message_id"] == told.json()["message_id"]
    note, read = await smtp.received()
    assert read.message_id == UUID(told.json()["message_id"])
    assert (read.parent, read.parent_message_id) == (Parent.KNOWN, note.message_id)
    assert read.conversation_id == note.conversation_id
    assert "part 599" in await smtp.text(read)
    assert (await smtp.call("acme/agent", "GET", "/v1/quarantine")).json()["items"] == []
    status = (await smtp.call("acme/agent", "GET", f"/v1/messages/{item['message_id']}")).json()
    assert (status["status"], status["replayed_as"]) == ("replayed", told.json()["message_id"])


async def test_what_stays_unreadable_stays_in_quarantine(smtp: Ingest) -> None:
    await smtp.mail(many_parts(21_000), "support@acme.example")
    (item,) = (await smtp.call("acme/agent", "GET", "/v1/quarantine")).json()["items"]
    told = await smtp.call("acme/agent", "POST", f"/v1/quarantine/{item['message_id']}/replay")
    assert told.status_code == 409
    assert told.json()["type"].endswith("still-unreadable")


async def test_the_quarantine_is_listed_page_by_page_and_only_for_its_tenant(smtp: Ingest) -> None:
    for number in range(5):
        await smtp.mail(many_parts(600).replace(b"parts@", b"p%d@" % number), "support@acme.example")
    first = await smtp.call("acme/agent", "GET", "/v1/quarantine?limit=3")
    cursor = first.json()["next_cursor"]
    rest = await smtp.call("acme/agent", "GET", f"/v1/quarantine?limit=3&cursor={cursor}")
    found = [item["message_id"] for page in (first, rest) for item in page.json()["items"]]
    assert len(set(found)) == 5
    assert "next_cursor" not in rest.json()
    assert (await smtp.call("beta/agent", "GET", "/v1/quarantine")).json()["items"] == []
    foreign = await smtp.call("beta/agent", "GET", f"/v1/quarantine?limit=3&cursor={cursor}")
    assert foreign.status_code == 422
    replay = await smtp.call("beta/agent", "POST", f"/v1/quarantine/{found[0]}/replay")
    assert replay.status_code == 404


async def test_a_mail_that_kills_its_parser_is_quarantined(smtp: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    async def dies(line: bytes, seconds: float) -> bytes:
        raise ValueError("the child died")

    monkeypatch.setattr(smtp.parser, "_ask", dies)
    await smtp.mail(mail(1, "x" * 70_000), "support@acme.example")
    (event,) = await smtp.received()
    assert event.subject == "Help 1"
    assert (await smtp.quarantined())[0].reason == "unreadable"


async def test_a_parser_that_takes_too_long_is_ended(smtp: Ingest) -> None:
    import services.ingest.parsing as parsing  # noqa: PLC0415, PLR0402

    slow = Limits(seconds=0.0)
    from dataclasses import replace  # noqa: PLC0415

    from services.ingest.mail.parse import Options  # noqa: PLC0415
    from services.ingest.spool import Spool  # noqa: PLC0415

    options = replace(Options(), limits=slow)
    async with smtp.parser.reading(Spool.of(mail(1, "y" * 100_000)), options) as read:
        assert read.quarantine == "too_slow"
    assert parsing.STARTING > 0
