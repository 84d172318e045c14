"""Mailboxes against a real IMAP server: every mail once, whatever crashes and however the server counts."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.ingest.channels.imap import Item
from services.ingest.channels.mailbox import BATCH, batches, pause_after
from services.ingest.store import mailboxes as store
from shared.auth import mail_token
from shared.contracts.message import Channel
from tests.integration.ingest.conftest import TOKEN_KEY, Ingest, aside
from tests.integration.ingest.test_smtp import mail
from tests.support.imap import PASSWORD, USER, ImapServer, imap_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


class Box:
    """One mailbox of acme."""

    def __init__(self, ingest: Ingest, server: ImapServer, folder: str) -> None:
        self.ingest = ingest
        self.server = server
        self.folder = folder
        self.mailbox_id = UUID(int=0)

    async def made(self, **more: Any) -> Box:
        """Made by the API."""
        body = {
            "host": "127.0.0.1",
            "port": self.server.port,
            "tls": "none",
            "username": USER,
            "password": PASSWORD,
            "folder": self.folder,
            "begin_with": "all",
        } | more
        answer = await self.ingest.call("acme/admin", "POST", "/v1/mailboxes", body)
        assert answer.status_code == 201, answer.text
        assert PASSWORD not in answer.text
        self.mailbox_id = UUID(answer.json()["mailbox_id"])
        return self

    async def put(self, *mails: bytes, at: datetime | None = None) -> None:
        await aside(lambda: self.server.put(*mails, folder=self.folder, at=at))

    async def poll(self) -> dict[str, Any]:
        """Have it read now; how it is then."""
        await self.ingest.database.execute("UPDATE mailbox SET next_at = (SELECT desk_now())")
        token = uuid4()
        (row,) = await store.claim(self.ingest.database, token, 1)
        await self.ingest.mailboxes.read(row, token)
        return await self.state()

    async def state(self) -> dict[str, Any]:
        found: dict[str, Any] = (await self.ingest.call("acme/admin", "GET", f"/v1/mailboxes/{self.mailbox_id}")).json()
        return found

    async def subjects(self) -> list[str]:
        return [event.subject for event in await self.ingest.received()]


@pytest.fixture(scope="module")
def server() -> Iterator[ImapServer]:
    with imap_server() as running:
        yield running


@pytest.fixture
async def box(ingest: Ingest, server: ImapServer) -> Box:
    """A folder of its own for each test."""
    folder = f"T{uuid4().hex[:8]}"
    box = Box(ingest, server, folder)
    await box.put()
    return box


async def test_mails_become_messages_received_when_the_server_received_them_and_stay_unread(box: Box) -> None:
    received = datetime(2026, 11, 20, 8, 15, 30, tzinfo=UTC)
    await box.put(mail(1), at=received)
    await (await box.made()).put(mail(2, In_Reply_To="<m1@customer.example>"))
    state = await box.poll()
    first, second = await box.ingest.received()
    assert (first.channel, first.subject, first.received_at) == (Channel.EMAIL, "Help 1", received)
    assert second.parent_message_id == first.message_id
    assert (state["state"], state["imported"], state["failures"]) == ("ok", 2, 0)
    assert state["succeeded_at"]
    assert all(b"\\Seen" not in flags for flags in (await aside(box.server.flags, box.folder)).values())
    row = await box.ingest.database.fetchrow("SELECT received_at, accounts FROM message ORDER BY received_at LIMIT 1")
    assert row is not None
    assert (row["received_at"], row["accounts"]) == (received, [USER])


async def test_a_poll_takes_what_is_new_and_nothing_twice(box: Box) -> None:
    await box.put(mail(1))
    await box.made()
    await box.poll()
    await box.put(mail(2), mail(3))
    await box.poll()
    await box.poll()
    assert await box.subjects() == ["Help 1", "Help 2", "Help 3"]
    assert (await box.state())["imported"] == 3


async def test_what_was_there_before_is_left_alone_unless_asked_for(box: Box) -> None:
    await box.put(mail(1), at=datetime.now(UTC) - timedelta(days=3))
    await box.made(begin_with="new")
    await box.poll()
    await box.put(mail(2))
    await box.poll()
    assert await box.subjects() == ["Help 2"]
    # Numbered anew: the old mail stays old, the new one is known, and one that came meanwhile is not lost.
    await box.put(mail(3))
    await aside(box.server.number_anew, box.folder)
    await box.poll()
    await box.poll()
    assert await box.subjects() == ["Help 2", "Help 3"]
    # An old mail that somebody moves here by hand is meant to be read.
    await box.put(mail(4), at=datetime.now(UTC) - timedelta(days=9))
    await box.poll()
    assert (await box.subjects())[-1] == "Help 4"


async def test_a_folder_numbered_anew_brings_no_mail_twice(box: Box) -> None:
    bare = b"Subject: Bare\r\nFrom: a@b.example\r\n\r\nwithout an id or a date\r\n"
    await box.put(*(mail(n) for n in range(5)), bare)
    await box.made()
    await box.poll()
    await aside(box.server.number_anew, box.folder)
    await box.put(mail(9))
    await box.poll()
    assert sorted(await box.subjects()) == ["Bare", *(f"Help {n}" for n in range(5)), "Help 9"]


async def test_a_crash_between_fetch_and_commit_loses_nothing_and_repeats_nothing(
    box: Box, monkeypatch: pytest.MonkeyPatch
) -> None:
    await box.put(*(mail(n) for n in range(120)))
    await box.made()
    accept, calls = box.ingest.intake.accept_with, 0

    async def dies(*arguments: Any) -> Any:
        nonlocal calls
        calls += 1
        if calls == 2:
            raise KeyError("killed before the commit")
        done = await accept(*arguments)
        if calls == 4:
            raise KeyError("killed after the commit")
        return done

    monkeypatch.setattr(box.ingest.intake, "accept_with", dies)
    for expected in (BATCH, 120):
        state = await box.poll()
        assert (state["problem"], state["imported"]) == ("storage", expected)
    assert (await box.poll())["state"] == "ok"
    assert sorted(await box.subjects()) == sorted(f"Help {n}" for n in range(120))
    assert (await box.state())["imported"] == 120


async def test_two_instances_read_a_mailbox_one_at_a_time_and_a_late_one_stores_nothing(box: Box) -> None:
    await box.put(mail(1))
    await box.made()
    first, second = uuid4(), uuid4()
    (row,) = await store.claim(box.ingest.database, first, 5)
    assert await store.claim(box.ingest.database, second, 5) == []
    await box.ingest.database.execute("UPDATE mailbox SET lease_until = clock_timestamp() - interval '1 s'")
    (taken,) = await store.claim(box.ingest.database, second, 5)
    await box.ingest.mailboxes.read(row, first)
    assert await box.subjects() == []
    await box.ingest.mailboxes.read(taken, second)
    assert await box.subjects() == ["Help 1"]


async def test_a_reply_address_of_ours_in_the_headers_leads_to_its_ticket(box: Box) -> None:
    ticket = uuid4()
    token = mail_token.address(TOKEN_KEY, "acme", ticket, "acme.example")
    await box.put(mail(1).replace(b"To: support@acme.example", f"To: {token}".encode()), mail(2, Delivered_To=token))
    await box.made()
    await box.poll()
    assert [event.token_ticket_id for event in await box.ingest.received()] == [ticket, ticket]


async def test_a_mail_too_large_is_not_fetched_and_quarantined_with_its_headers(box: Box) -> None:
    small = box.ingest.settings.model_copy(update={"mail_bytes": 20_000})
    box.ingest.mailboxes._settings = small
    await box.put(mail(1, "long line\r\n" * 5_000), mail(2))
    await box.made()
    await box.poll()
    large, usual = await box.ingest.received()
    assert (large.subject, usual.subject) == ("Help 1", "Help 2")
    assert "could not be read" in (large.body.text or "")
    (quarantined,) = await box.ingest.quarantined()
    assert quarantined.reason == "too_large"
    assert large.original is not None
    assert large.original.size < 2_000


@pytest.mark.parametrize("after", ["seen", "move"])
async def test_stored_mails_are_marked_or_moved_where_asked(box: Box, after: str) -> None:
    await box.put(mail(1), mail(2))
    done = f"{box.folder}Done"
    await aside(lambda: box.server.put(folder=done))
    await box.made(after_import=after, **({"move_to": done} if after == "move" else {}))
    await box.poll()
    there, moved = await aside(box.server.flags, box.folder), await aside(box.server.flags, done)
    if after == "seen":
        assert [b"\\Seen" in flags for flags in there.values()] == [True, True]
    else:
        assert (len(there), len(moved)) == (0, 2)
    assert len(await box.subjects()) == 2


@pytest.mark.parametrize(
    ("wrong", "problem"),
    [
        ({"password": "wrong"}, "auth"),
        ({"folder": "Nowhere"}, "folder"),
        ({"port": 9}, "connect"),
        ({"host": "no-such-host.invalid"}, "dns"),
        ({"tls": "tls"}, "tls"),
        ({"host": "10.255.255.1"}, "address"),
    ],
)
async def test_what_is_wrong_with_a_mailbox_is_said_and_it_is_left_alone_longer_each_time(
    box: Box, wrong: dict[str, Any], problem: str
) -> None:
    await box.made(**wrong)
    checked = await box.ingest.call("acme/admin", "POST", f"/v1/mailboxes/{box.mailbox_id}/check")
    assert (checked.json()["ok"], checked.json()["problem"]) == (False, problem)
    assert PASSWORD not in checked.text
    before = await box.state()
    state = await box.poll()
    assert (state["state"], state["problem"], state["failures"]) == ("failing", problem, 1)
    assert state["next_at"] > before["next_at"]


async def test_a_good_mailbox_says_so_when_checked(box: Box) -> None:
    await box.put(mail(1), mail(2))
    await box.made()
    checked = await box.ingest.call("acme/admin", "POST", f"/v1/mailboxes/{box.mailbox_id}/check")
    assert checked.json() == {"ok": True, "detail": "It can be read.", "mails": 2}
    assert await box.subjects() == []


async def test_mailboxes_are_changed_against_a_version_and_read_from_the_start_elsewhere(box: Box) -> None:
    await box.put(mail(1))
    await box.made()
    await box.poll()
    path = f"/v1/mailboxes/{box.mailbox_id}"
    body = {"host": "127.0.0.1", "port": box.server.port, "tls": "none", "username": USER, "folder": box.folder}
    assert (await box.ingest.call("acme/admin", "PUT", path, body)).status_code == 428
    assert (await box.ingest.call("acme/admin", "PUT", path, body, If_Match='"7"')).status_code == 412
    same = await box.ingest.call("acme/admin", "PUT", path, body, If_Match='"1"')
    assert (same.json()["last_uid"] > 0, same.headers["etag"]) == (True, '"2"')
    assert (await box.poll())["state"] == "ok"
    other = await box.ingest.call("acme/admin", "PUT", path, {**body, "folder": "INBOX"}, If_Match='"2"')
    assert other.json()["last_uid"] == 0
    again = await box.ingest.call("acme/admin", "POST", "/v1/mailboxes", {**body, "folder": "INBOX"})
    assert again.status_code == 409
    for who, status in (("beta/admin", 404), ("acme/agent", 403)):
        assert (await box.ingest.call(who, "GET", path)).status_code == status
        assert (await box.ingest.call(who, "DELETE", path)).status_code == status
    assert (await box.ingest.call("beta/admin", "GET", "/v1/mailboxes")).json() == []
    assert (await box.ingest.call("acme/admin", "DELETE", path)).status_code == 204
    assert (await box.ingest.call("acme/admin", "GET", path)).status_code == 404
    wrapped = await box.ingest.database.fetch("SELECT password FROM mailbox")
    assert wrapped == []


async def test_the_loop_reads_what_is_due_by_itself(box: Box) -> None:
    await box.made(interval_seconds=1)
    running = asyncio.create_task(box.ingest.mailboxes.run())
    try:
        for n in (1, 2):
            await box.put(mail(n))

            async def there(n: int = n) -> bool:
                return len(await box.subjects()) == n

            await eventually(there, within=30)
    finally:
        running.cancel()
        await asyncio.wait([running])


def test_batches_are_bounded_in_number_and_size() -> None:
    at = datetime.now(UTC)
    items = [Item(n, 10, at) for n in range(120)] + [Item(200 + n, 5_000_000, at) for n in range(3)]
    found = batches(items)
    assert [len(batch) for batch in found] == [50, 50, 21, 1, 1]
    assert [item for batch in found for item in batch] == items


def test_pauses_grow_to_a_bound_and_a_refused_password_is_tried_rarely() -> None:
    assert [pause_after("connect", n, 30.0).total_seconds() for n in (0, 1, 5, 100)] == [30, 60, 900, 900]
    assert [pause_after("auth", n, 30.0).total_seconds() for n in (0, 1, 100)] == [60, 120, 3600]
    assert pause_after("connect", 0, 3600.0).total_seconds() == 3600
