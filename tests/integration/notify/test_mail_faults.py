"""Mail servers that are away, silent or slow, and processes that die: nothing lost, nothing sent twice but in one window."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import pytest

from services.notify.desk.handing import MAIL_SCHEDULE
from tests.integration.notify.mail_facts import MIA, created, paged, replied
from tests.integration.notify.mail_ground import MASTER, ground
from tests.integration.notify.mail_sink import Sink, listening
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def test_while_the_server_is_away_mails_wait_and_lose_no_attempt(
    databases: ScratchDatabases, tmp_path: Path
) -> None:
    async with listening(Sink()) as gone:
        pass
    async with ground(databases, tmp_path, gone) as mails:
        await mails.tell(*(replied(number) for number in range(1, 4)))

        async def deferred() -> bool:
            rows = await mails.database.fetch("SELECT attempts, last_error FROM task WHERE last_error IS NOT NULL")
            assert all(row["attempts"] == 0 for row in rows), rows
            return len(rows) == 3

        await eventually(deferred)
        found = await mails.deliveries()
        assert {(one.state, one.attempts, one.external_id) for one in found} == {("waiting", 0, None)}
        async with listening(gone, gone.port):
            await mails.forward(minutes=1)
            await mails.settled(3)
            assert len(gone.to(MIA)) == 3


async def test_without_a_configured_server_mails_wait_in_their_tasks(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    url = await databases.create("notify")
    async with ground(databases, tmp_path, sink, url, smtp_url="") as mails:
        assert not mails.mails.kinds
        await mails.tell(replied())
        assert [one.state for one in await mails.deliveries()] == ["waiting"]
    async with ground(databases, tmp_path, sink, url) as mails:
        await mails.mailed(MIA)


async def test_a_server_that_falls_silent_after_the_text_leaves_a_doubt_that_is_counted(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    sink.at_data = ["silent"]
    async with ground(databases, tmp_path, sink, smtp_seconds=0.2) as mails:
        await mails.tell(replied())

        async def doubted() -> bool:
            rows = await mails.database.fetch("SELECT last_error FROM task WHERE lease_token IS NULL")
            return [row["last_error"] for row in rows] == ["in doubt: SMTPReadTimeoutError"]

        await eventually(doubted)
        await mails.forward(seconds=MAIL_SCHEDULE[0].total_seconds() + 1)
        (delivery,) = await mails.settled(1)
        first, second = sink.to(MIA)
        assert first["Message-ID"] == second["Message-ID"]
        assert (delivery.attempts, delivery.doubtful) == (2, 1)
        assert mails.measured("deskwire_delivery_doubts_total") == 1


@pytest.mark.parametrize(
    ("point", "mails_sent"),
    [("tasks.after_lease", 1), ("tasks.before_result", 2), ("tasks.after_result", 1)],
)
async def test_a_process_that_dies_sends_a_mail_twice_only_between_the_servers_yes_and_the_commit(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink, point: str, mails_sent: int
) -> None:
    url = await databases.create("notify")
    async with ground(databases, tmp_path, sink, url, working=False) as mails:
        await mails.tell(replied())
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.integration.notify.mail_worker",
            cwd=Path(__file__).parents[3],
            env={
                **os.environ,
                "NOTIFY_DATABASE_URL": url,
                "NOTIFY_SMTP_URL": f"smtp://127.0.0.1:{sink.port}",
                "BLOBS_URL": tmp_path.as_uri(),
                "MASTER_KEY": MASTER.hex(),
                "CRASH_AT": point,
            },
        )
        async with asyncio.timeout(30):
            assert await process.wait() == -9
        await mails.database.execute("UPDATE task SET lease_until = now() WHERE lease_token IS NOT NULL")
        mails.work()
        (delivery,) = await mails.settled(1)
        sent = sink.to(MIA)
        assert len(sent) == mails_sent
        assert {mail["Message-ID"] for mail in sent} == {f"<{delivery.external_id}>"}
        assert delivery.doubtful == mails_sent - 1
        assert len(await mails.published("notification.delivered")) == 1


async def test_a_page_does_not_wait_behind_a_flood_of_mails(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    async with ground(databases, tmp_path, sink, working=False, smtp_connections=1) as mails:
        await mails.tell(*(replied(number) for number in range(1, 101)), paged())
        mails.work()
        await mails.settled(102, within=30)
        place = next(n for n, (_, _, mail) in enumerate(sink.got) if mail["Subject"].startswith("PAGE"))
        assert place < 20


async def test_two_desks_that_answer_each_other_fall_silent(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    """Mail of the one is fed to the other as ingest would: every mail a new ticket, nothing recognised as automatic.

    The worst there is: both ignore what marks a machine, and answer by a new thread each time. Each desk then sends
    as many as it may within the hour, and no more.
    """
    async with ground(databases, tmp_path, sink) as mails:
        fed = 0
        await mails.tell(created(1))
        # Until nothing waits any more and every mail that came has been answered.
        while await mails.settled() and fed < len(sink.got) < 50:
            fed += 1
            await mails.tell(created(1 + fed, text=str(sink.got[fed - 1][2].get_content())))
        assert len(sink.got) == 5
        assert [one.reason for one in await mails.deliveries(state="skipped")] == ["limited"]
