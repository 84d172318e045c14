"""The in-app stream over a real connection: who sees what, going on where one left, slow readers, several instances."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any
from uuid import UUID, uuid4

import httpx2
import orjson
import pytest

from services.notify.api import build as build_api
from services.notify.api import stream as api
from services.notify.desk import recording
from services.notify.desk import tail as tails
from services.notify.desk.tail import Tail
from services.notify.domain.stream import Entry, Position
from services.notify.settings import Settings
from services.notify.store import notices, showing, stream
from services.notify.store.notices import Notice
from shared.auth import Authenticator
from shared.contracts.directory import Role
from shared.db import Database
from shared.envelope import Received
from tests.integration.notify.webhook_ground import created, fact, note
from tests.support.api import Caller, caller, credentials_of, served
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

RITA, WILMA = uuid4(), uuid4()


@dataclass
class Heard:
    """One connection as a browser has it."""

    events: list[tuple[str, str, Any]] = field(default_factory=list)
    """Id, name, data."""
    last_id: str = ""
    ended: bool = False

    def named(self, name: str) -> list[Any]:
        return [data for _, kind, data in self.events if kind == name]

    @property
    def facts(self) -> list[Any]:
        return [data for _, kind, data in self.events if "." in kind]

    def take(self, lines: list[str]) -> None:
        """One block of lines, by the rules of the standard."""
        name, data = "message", ""
        for line in lines:
            kind, _, value = line.partition(": ")
            if kind == "id":
                self.last_id = value
            elif kind == "event":
                name = value
            elif kind == "data":
                data += value
        if data:
            self.events.append((self.last_id, name, orjson.loads(data)))


@dataclass
class Desk:
    """Two instances on one database."""

    database: Database
    url: str
    other_url: str
    tail: Tail
    agent: Caller
    service: Caller
    rita: Caller
    wilma: Caller
    stranger: Caller

    async def tell(self, *facts: Received[Any]) -> None:
        async with self.database.begin() as tx:
            await recording.record(tx, facts)

    @asynccontextmanager
    async def listening(self, who: Caller, *, after: str = "", query: str = "", url: str = "") -> AsyncIterator[Heard]:
        heard = Heard()
        headers = {**who.headers, **({"Last-Event-ID": after} if after else {})}
        async with (
            httpx2.AsyncClient(trust_env=False, timeout=30) as client,
            client.stream("GET", f"{url or self.url}/v1/events{query}", headers=headers) as answer,
        ):
            assert answer.status_code == 200, await answer.aread()
            assert answer.headers["content-type"].startswith("text/event-stream")
            reading = asyncio.create_task(_read(answer, heard))
            try:
                await eventually(lambda: _has(heard, "ready"), what="ready")
                yield heard
            finally:
                reading.cancel()
                with contextlib.suppress(asyncio.CancelledError, httpx2.HTTPError):
                    await reading


async def _read(answer: httpx2.Response, heard: Heard) -> None:
    lines: list[str] = []
    async for line in answer.aiter_lines():
        if line:
            lines.append(line)
        else:
            heard.take(lines)
            lines = []
    heard.ended = True


async def _has(heard: Heard, name: str, count: int = 1) -> bool:
    assert len(heard.named(name)) >= count, heard.events
    return True


@pytest.fixture
async def desk(engines: Engines, databases: ScratchDatabases) -> AsyncIterator[Desk]:
    url = await databases.create("notify")
    database = await Database.connect(url, application="notify", max_size=8)
    people = [
        caller(Role.AGENT),
        caller(Role.SERVICE),
        caller(Role.CUSTOMER, person_id=RITA),
        caller(Role.CUSTOMER, person_id=WILMA),
        caller(Role.AGENT, tenant_id="other"),
    ]
    authenticator = Authenticator(credentials_of(*people))
    instances = [Tail(database), Tail(database)]
    running = [asyncio.create_task(one.run()) for one in instances]
    apps = [build_api(Settings(), database, authenticator, [api.routes(one, authenticator)]) for one in instances]
    async with served(apps[0]) as first, served(apps[1]) as second:
        yield Desk(database, first, second, instances[0], *people)
        for task in running:
            task.cancel()
        for ended in await asyncio.gather(*running, return_exceptions=True):
            assert isinstance(ended, asyncio.CancelledError), ended
    await database.close()


async def test_an_agent_hears_what_happens_in_their_tenant_and_nothing_of_others(desk: Desk) -> None:
    ours, theirs = fact(created()), fact(created("other"))
    async with desk.listening(desk.agent) as heard, desk.listening(desk.stranger) as other:
        await desk.tell(ours, theirs)
        await eventually(lambda: _has(heard, "ticket.created.v1"))
        await eventually(lambda: _has(other, "ticket.created.v1"))
        assert [one["id"] for one in heard.facts] == [str(ours.id)]
        assert [one["id"] for one in other.facts] == [str(theirs.id)]
        assert heard.facts[0]["data"] == ours.event.model_dump(mode="json", exclude_none=True)


async def test_every_instance_hears_what_any_instance_wrote(desk: Desk) -> None:
    async with desk.listening(desk.agent) as here, desk.listening(desk.agent, url=desk.other_url) as there:
        await desk.tell(fact(created()))
        for heard in (here, there):
            await eventually(partial(_has, heard, "ticket.created.v1"))


async def test_customers_hear_of_their_own_tickets_what_is_public_and_nothing_else(desk: Desk) -> None:
    own = created(requester_id=RITA, watcher_ids=(WILMA,), assignee_id=uuid4())
    answer = note(visibility="public", text="Turn it off and on.")
    answer = answer.model_copy(update={"ticket": own.ticket})
    secret = note(text="She is the chairman's niece.").model_copy(update={"ticket": own.ticket})
    async with desk.listening(desk.rita) as rita, desk.listening(desk.wilma) as wilma:
        await desk.tell(fact(created()), fact(own), fact(secret), fact(answer))
        for heard in (rita, wilma):
            await eventually(partial(_has, heard, "ticket.message_added.v1"))
            assert [one["type"] for one in heard.facts] == ["ticket.created.v1", "ticket.message_added.v1"]
            assert heard.facts[1]["data"]["message"]["body"]["text"] == "Turn it off and on."
            told = orjson.dumps(heard.facts).decode()
            assert "niece" not in told
            assert str(own.ticket.assignee_id) not in told
            assert "queue" not in told


async def test_a_service_without_the_permission_for_notes_hears_none(desk: Desk) -> None:
    async with desk.listening(desk.service) as heard, desk.listening(desk.agent) as agent:
        await desk.tell(fact(note()), fact(created()))
        await eventually(lambda: _has(heard, "ticket.created.v1"))
        await eventually(lambda: _has(agent, "ticket.created.v1"))
        assert not heard.named("ticket.message_added.v1")
        assert agent.named("ticket.message_added.v1")


async def test_only_the_types_asked_for_are_heard(desk: Desk) -> None:
    async with desk.listening(desk.agent, query="?types=ticket.message_added&types=sla.*") as heard:
        await desk.tell(fact(created()), fact(note()))
        await eventually(lambda: _has(heard, "ticket.message_added.v1"))
        assert not heard.named("ticket.created.v1")


async def test_who_comes_back_hears_all_that_was_missed_in_order_and_nothing_twice(desk: Desk) -> None:
    facts = [fact(created()) for _ in range(30)]
    async with desk.listening(desk.agent) as before:
        await desk.tell(*facts[:10])
        await eventually(lambda: _has(before, "ticket.created.v1", 10))
    for one in facts[10:25]:
        await desk.tell(one)
    async with desk.listening(desk.agent, after=before.last_id, url=desk.other_url) as again:
        await desk.tell(*facts[25:])
        await eventually(lambda: _has(again, "ticket.created.v1", 20))
        assert not again.named("reset")
    heard = [one["id"] for one in (*before.facts, *again.facts)]
    assert heard == [str(one.id) for one in facts]


async def test_nothing_is_missed_while_transactions_commit_out_of_order(desk: Desk) -> None:
    facts = [fact(created()) for _ in range(60)]
    async with desk.listening(desk.agent) as heard:

        async def slowly(one: Received[Any], seconds: float) -> None:
            async with desk.database.begin() as tx:
                await recording.record(tx, [one])
                await asyncio.sleep(seconds)

        for start in range(0, 60, 6):
            # The first to write is the last to commit.
            pauses = [0.05 - 0.008 * number for number in range(6)]
            await asyncio.gather(*map(slowly, facts[start : start + 6], pauses))
        await eventually(lambda: _has(heard, "ticket.created.v1", 60))
        assert sorted(one["id"] for one in heard.facts) == sorted(str(one.id) for one in facts)
        positions = [identity for identity, name, _ in heard.events if "." in name]
        parsed = [tuple(map(int, one.split("-"))) for one in positions]
        assert parsed == sorted(parsed)


async def test_who_was_away_for_longer_than_the_record_is_told_so(desk: Desk) -> None:
    async with desk.listening(desk.agent) as before:
        await desk.tell(*(fact(created()) for _ in range(5)))
        await eventually(lambda: _has(before, "ticket.created.v1", 5))
    first_id = before.events[1][0]
    assert await stream.prune(desk.database, timedelta(hours=24), 2) == 3
    async with desk.listening(desk.agent, after=first_id) as again:
        await eventually(lambda: _has(again, "reset"))
    async with desk.listening(desk.agent, after=before.last_id) as again:
        assert not again.named("reset")


@pytest.mark.parametrize("after", ["nonsense", "9223372036854775807-1", "-1-0"])
async def test_an_id_that_is_none_of_ours_begins_anew_and_says_so(desk: Desk, after: str) -> None:
    async with desk.listening(desk.agent, after=after) as heard:
        await eventually(lambda: _has(heard, "reset"))
        await desk.tell(fact(created()))
        await eventually(lambda: _has(heard, "ticket.created.v1"))


async def test_what_happened_long_ago_is_no_news(desk: Desk) -> None:
    async with desk.listening(desk.agent) as heard:
        await desk.tell(fact(created(), at=datetime.now(UTC) - timedelta(hours=2)))
        await desk.tell(fact(created()))
        await eventually(lambda: _has(heard, "ticket.created.v1"))
        assert len(heard.facts) == 1


async def test_nothing_is_recorded_of_a_tenant_nobody_listens_to(desk: Desk) -> None:
    await desk.tell(fact(created()))
    assert await desk.database.fetchval("SELECT count(*) FROM stream_event") == 0


async def test_a_reader_who_is_too_slow_is_told_to_come_back_and_misses_nothing(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tails, "QUEUE", 3)
    facts = [fact(created()) for _ in range(20)]
    async with desk.listening(desk.agent) as heard:
        await desk.tell(*facts)
        await eventually(lambda: _has(heard, "reconnect"))
        assert heard.named("reconnect") == [{"reason": "slow"}]
        await eventually(lambda: _over(heard), what="the end")
    monkeypatch.setattr(tails, "QUEUE", 500)
    async with desk.listening(desk.agent, after=heard.last_id) as again:
        await eventually(lambda: _has(again, "ticket.created.v1", 20 - len(heard.facts)))
    assert [one["id"] for one in (*heard.facts, *again.facts)] == [str(one.id) for one in facts]


async def _over(heard: Heard) -> bool:
    return heard.ended


async def test_a_revoked_credential_ends_the_stream(desk: Desk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.05)

    async def refused(*_: object) -> bool:
        return False

    async with desk.listening(desk.agent) as heard:
        monkeypatch.setattr(api, "_is_still_allowed", refused)
        await eventually(lambda: _has(heard, "reconnect"))
        assert heard.named("reconnect") == [{"reason": "credential"}]


async def test_a_silent_stream_shows_signs_of_life_that_move_the_id(
    desk: Desk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(api, "HEARTBEAT_SECONDS", 0.05)
    async with desk.listening(desk.rita) as heard:
        first = heard.last_id

        async def moved() -> bool:
            await desk.tell(fact(created()))
            return heard.last_id != first

        await eventually(moved)
        assert heard.facts == []


async def test_a_notice_is_heard_by_its_person_alone_and_kept_for_later(desk: Desk) -> None:
    async with (
        desk.listening(desk.rita) as rita,
        desk.listening(desk.wilma) as wilma,
        desk.listening(desk.agent) as agent,
    ):
        notice = Notice(
            id=uuid4(),
            tenant_id="acme",
            person_id=RITA,
            ticket_id=None,
            template="resolution",
            title="Solved",
            body="Off and on.",
            urgent=False,
            created_at=datetime.now(UTC),
        )
        async with desk.database.begin() as tx:
            await showing.show(tx, [notice])
        await eventually(lambda: _has(rita, "notification.notice"))
        assert rita.named("notification.notice")[0]["data"]["title"] == "Solved"
        await desk.tell(fact(created()))
        await eventually(lambda: _has(agent, "ticket.created.v1"))
        for heard in (wilma, agent):
            assert not heard.named("notification.notice")
    assert [one.id for one in await notices.page(desk.database, "acme", RITA, unread=True, before=None, limit=9)] == [
        notice.id
    ]


async def test_strangers_are_refused(desk: Desk) -> None:
    async with httpx2.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{desk.url}/v1/events")).status_code == 401


async def test_the_process_that_stops_sends_its_listeners_away(desk: Desk) -> None:
    async with desk.listening(desk.agent) as heard:
        for listener in desk.tail._listeners["acme"]:
            listener.leave("stopping")
        await eventually(lambda: _has(heard, "reconnect"))


async def test_rows_of_another_clusters_future_are_forgotten(desk: Desk) -> None:
    await stream.listen(desk.database, "acme")
    async with desk.database.begin() as tx:
        await stream.add(tx, [_entry()])
        await tx.execute("UPDATE stream_event SET xid = xid + 1000000000")
        await tx.execute("UPDATE stream_listener SET complete_xid = complete_xid + 1000000000")
    await desk.tail.start()
    assert await desk.database.fetchval("SELECT count(*) FROM stream_event") == 0
    assert await desk.database.fetchval("SELECT count(*) FROM stream_listener") == 0


async def test_what_is_too_old_is_pruned_and_the_rest_is_complete_from_there(desk: Desk) -> None:
    await stream.listen(desk.database, "acme")
    for _ in range(4):
        async with desk.database.begin() as tx:
            await stream.add(tx, [_entry()])
    await desk.database.execute("UPDATE stream_event SET recorded_at = recorded_at - interval '25 hours' WHERE id <= 2")
    assert await stream.prune(desk.database, timedelta(hours=24), 100) == 2
    complete = await stream.listen(desk.database, "acme")

    async def read() -> list[stream.Placed]:
        # Whatever else runs on this server holds the present back: what is later than it is not read yet.
        found, _ = await stream.read(desk.database, ["acme"], Position(0), 10)
        assert len(found) == 2
        return found

    left = await eventually(read)
    assert complete < left[0].position


def _entry(person: UUID | None = None) -> Entry:
    return Entry(
        tenant_id="acme",
        event_id=uuid4(),
        type="ticket.created.v1",
        time=datetime.now(UTC),
        people=(person,) if person else (),
        permission="ticket.read",
        data=b"{}",
        public=b"{}",
    )
