"""One way into the database: grouped, isolated from each other, and never told before the commit."""

from __future__ import annotations

import asyncio
import os
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import asyncpg
import pytest

from services.ingest import handlers, sweep
from services.ingest.domain import Draft, Outcome, participant, thread_key
from services.ingest.intake import Intake
from services.ingest.mail.parse import Options, parse
from services.ingest.spool import Spool
from services.ingest.store import messages as store
from shared.contracts import ids
from shared.contracts.directory import TenantChanged
from shared.contracts.manifest import TENANT_CHANGED
from shared.contracts.message import Channel
from shared.envelope import Received, Tombstone
from tests.integration.ingest.conftest import Ingest, message
from tests.integration.ingest.test_smtp import mail

pytestmark = pytest.mark.engines


def arrival(event: TenantChanged) -> Received[TenantChanged]:
    return Received(
        event=event,
        id=uuid4(),
        type=event.TYPE,
        time=datetime.now(UTC),
        key=event.key,
        topic=TENANT_CHANGED.name,
        partition=0,
        offset=0,
    )


def draft(source: str, *answers: str, tenant: str = "acme") -> Draft:
    return Draft(
        tenant_id=tenant,
        message_id=ids.message_id("acme", "email", source),
        channel=Channel.EMAIL,
        sender=participant("acme", "a@x.example"),
        fingerprint=source.encode(),
        payload=b"{}",
        keys=(thread_key("mail", source),),
        answers=tuple(thread_key("mail", one) for one in answers),
    )


async def test_messages_handed_over_at_once_share_transactions(ingest: Ingest) -> None:
    await asyncio.gather(*(ingest.intake.accept([draft(f"{n}")]) for n in range(200)))
    transactions = await ingest.database.fetchval("SELECT count(DISTINCT xmin::text) FROM message")
    assert transactions <= 20


async def test_one_bad_message_does_not_harm_those_that_share_its_transaction(ingest: Ingest) -> None:
    answers = await asyncio.gather(
        *(ingest.intake.accept([draft(f"{n}", tenant="Not A Tenant" if n == 7 else "acme")]) for n in range(20)),
        return_exceptions=True,
    )
    assert [n for n, answer in enumerate(answers) if isinstance(answer, BaseException)] == [7]
    assert len(await ingest.received()) == 19


async def test_nothing_is_told_before_the_commit(ingest: Ingest, admin: asyncpg.Connection[asyncpg.Record]) -> None:
    async with admin.transaction():
        await admin.execute("LOCK TABLE message IN SHARE MODE")
        waiting = asyncio.create_task(ingest.intake.accept([draft("a")]))
        await asyncio.sleep(0.3)
        assert not waiting.done()
        assert not ingest.woken
    (outcome,) = await waiting
    assert outcome.status == "accepted"
    assert len(await ingest.received()) == 1


async def test_a_caller_that_leaves_does_not_stop_the_others(ingest: Ingest) -> None:
    waiting = [asyncio.create_task(ingest.intake.accept([draft(f"{n}")])) for n in range(10)]
    await asyncio.sleep(0)
    waiting[3].cancel()
    done = await asyncio.gather(*waiting, return_exceptions=True)
    assert sum(isinstance(one, list) for one in done) == 9


@pytest.mark.parametrize("attempt", range(5))
async def test_threads_that_many_processes_write_at_once_stay_whole(ingest: Ingest, attempt: int) -> None:
    writers = [Intake(ingest.database, lambda: None, ingest.measures) for _ in range(4)]
    thread = [draft(f"{attempt}-{n}", *(f"{attempt}-{m}" for m in reversed(range(n)))) for n in range(12)]
    order = thread[attempt:] + thread[:attempt]
    outcomes: list[list[Outcome]] = await asyncio.gather(*(writers[n % 4].accept([one]) for n, one in enumerate(order)))
    assert len({one.conversation_id for (one,) in outcomes}) == 1


async def test_the_table_of_inbound_addresses_follows_the_tenants(ingest: Ingest) -> None:
    def changed(*addresses: str, active: bool = True) -> TenantChanged:
        return TenantChanged(tenant_id="acme", version=1, name="Acme", inbound_addresses=addresses, active=active)

    async def apply(change: object) -> set[str]:
        async with ingest.database.begin() as tx:
            await handlers.on_change(tx, [change])  # type: ignore[list-item]
        return set(await store.claims(ingest.database, ["a@x.example", "b@x.example", "x.example"]))

    assert await apply(arrival(changed("a@x.example"))) == {"a@x.example", "x.example"}
    assert await apply(arrival(changed("b@x.example"))) == {"b@x.example", "x.example"}
    assert await apply(arrival(changed("b@x.example", active=False))) == set()
    assert await apply(arrival(changed("a@x.example"))) == {"a@x.example", "x.example"}
    assert await apply(Tombstone(key="acme", topic=TENANT_CHANGED.name, partition=0, offset=9)) == set()


async def test_the_sweep_takes_what_no_row_names_and_nothing_else(ingest: Ingest) -> None:
    kept = await ingest.submit(message(text="long " * 10_000))
    sent = await ingest.call("acme/service", "POST", "/v1/attachments?filename=a.txt", b"ahead")
    orphan = await ingest.blobs.put("acme", b"nobody names this")
    for path in (ingest.folder / "blobs" / "acme").iterdir():
        os.utime(path, (path.stat().st_atime, path.stat().st_mtime - timedelta(hours=30).total_seconds()))
    assert await sweep.once(ingest.database, ingest.blobs) == 1
    with pytest.raises(KeyError):
        await ingest.blobs.get("acme", orphan.sha256)
    assert await ingest.blobs.get("acme", sent.json()["sha256"]) == b"ahead"
    assert (await ingest.call("acme/service", "GET", f"/v1/messages/{kept['message_id']}/original")).status_code == 200


async def test_a_mail_parsed_by_a_child_reads_as_one_parsed_at_once(ingest: Ingest) -> None:
    page = (
        b"--b\r\nContent-Type: text/html\r\n\r\n<p>x</p>\r\n--b\r\nContent-Type: image/png; name=a.png\r\n\r\n\x89PNG"
    )
    raw = mail(1).partition(b"\r\n\r\n")[0].replace(b"text/plain", b"multipart/mixed; boundary=b;")
    raw = raw.replace(b"7bit", b"8bit") + b"\r\n\r\n" + page + b"\x00" * 100_000 + b"\r\n--b--\r\n"
    async with ingest.parser.reading(Spool.of(raw), Options()) as read:
        files = tuple(replace(file, data=file.path.read_bytes(), path=None) for file in read.files if file.path)
        assert replace(read, files=files) == parse(raw)
        assert files


async def test_children_are_let_go_when_idle(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    for _ in range(2):
        async with ingest.parser.reading(Spool.of(mail(1, str(uuid4()) * 3_000)), Options()):
            pass
    assert len(ingest.parser._idle) == 1
    monkeypatch.setattr("services.ingest.parsing.IDLE", 0.0)
    await ingest.parser.reap()
    assert ingest.parser._idle == []


async def test_a_flood_that_waits_for_the_writer_does_not_stand_before_a_neighbours_message(
    ingest: Ingest, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    done: list[str] = []

    async def accept(tenant: str, *drafts: Draft) -> None:
        await ingest.intake.accept(drafts)
        done.append(tenant)

    async with admin.transaction():
        await admin.execute("LOCK TABLE message IN SHARE MODE")
        flood = [asyncio.create_task(accept("acme", *(draft(f"{n}-{m}") for m in range(600)))) for n in range(5)]
        await asyncio.sleep(0.1)
        neighbour = asyncio.create_task(accept("beta", draft("beta", tenant="beta")))
        await asyncio.sleep(0.1)
    await asyncio.gather(*flood, neighbour)
    assert done.index("beta") <= 2
