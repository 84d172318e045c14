"""Idempotency-Key on a real database: one effect, one answer, whatever the client does."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any
from uuid import UUID

import asyncpg
import httpx2
import pytest

from shared.contracts.directory import Role
from shared.db import Database
from shared.http import idempotency
from shared.problem import Problem
from tests.support.api import caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.sample import sample
from tests.support.waiting import eventually

ANN, BOB = UUID(int=1), UUID(int=2)
AGENT = caller(Role.AGENT, person_id=ANN)
COLLEAGUE = caller(Role.AGENT, person_id=BOB)
STRANGER = caller(Role.AGENT, tenant_id="other")

pytestmark = pytest.mark.engines


@pytest.fixture
async def database(databases: ScratchDatabases) -> AsyncIterator[Database]:
    url = await databases.create("httptest")
    admin = await asyncpg.connect(databases.admin(url))
    await admin.execute(
        "CREATE TABLE effect (id bigint GENERATED ALWAYS AS IDENTITY, subject text NOT NULL);"
        "GRANT ALL ON effect TO scratch_data"
    )
    await admin.close()
    opened = await Database.connect(url, application="httptest")
    yield opened
    await opened.close()


@pytest.fixture
async def client(database: Database) -> AsyncIterator[httpx2.AsyncClient]:
    async with in_memory(sample(AGENT, COLLEAGUE, STRANGER, database=database)) as opened:
        yield opened


async def effect(
    client: httpx2.AsyncClient, key: str | None, note: dict[str, Any], who: Any = AGENT
) -> httpx2.Response:
    headers = dict(who.headers) | ({"Idempotency-Key": key} if key else {})
    return await client.post("/v1/effects", json=note, headers=headers)


async def late(database: Database) -> None:
    async with database.begin() as tx:
        await tx.execute("INSERT INTO effect (subject) VALUES ('late')")
        await idempotency.store(tx, "acme", "k1", b"f", status=201, body=b"{}")


async def effects(database: Database) -> int:
    count: int = await database.fetchval("SELECT count(*) FROM effect")
    return count


async def test_a_retry_gets_the_same_answer_and_has_no_second_effect(
    client: httpx2.AsyncClient, database: Database
) -> None:
    first = await effect(client, "k1", {"subject": "a"})
    again = await effect(client, "k1", {"subject": "a"})
    assert (first.status_code, again.status_code) == (201, 201)
    assert first.json() == again.json()
    assert "idempotent-replayed" not in first.headers
    assert again.headers["idempotent-replayed"] == "true"
    assert again.headers["location"] == f"/v1/effects/{first.json()['count']}"
    assert again.headers["content-type"] == "application/json"
    assert await effects(database) == 1


async def test_without_a_key_each_request_has_its_effect(client: httpx2.AsyncClient, database: Database) -> None:
    for _ in range(2):
        await effect(client, None, {"subject": "a"})
    assert await effects(database) == 2


@pytest.mark.parametrize("who", [AGENT, COLLEAGUE])
async def test_a_key_used_for_another_request_or_by_another_person_is_refused(
    client: httpx2.AsyncClient, database: Database, who: Any
) -> None:
    await effect(client, "k1", {"subject": "a"})
    other = await effect(client, "k1", {"subject": "b" if who is AGENT else "a"}, who)
    assert other.status_code == 422
    assert other.json()["type"].endswith("idempotency-key-reused")
    assert await effects(database) == 1


async def test_tenants_do_not_share_keys(client: httpx2.AsyncClient, database: Database) -> None:
    assert (await effect(client, "k1", {"subject": "a"})).status_code == 201
    assert (await effect(client, "k1", {"subject": "b"}, STRANGER)).status_code == 201
    assert await effects(database) == 2


async def test_a_retry_while_the_first_is_at_work_is_told_so_at_once(
    client: httpx2.AsyncClient, database: Database
) -> None:
    note = {"subject": "slow", "weight": 600}
    first = asyncio.create_task(effect(client, "k1", note))
    await asyncio.sleep(0.2)
    begun = asyncio.get_running_loop().time()
    meanwhile = await effect(client, "k1", note)
    assert asyncio.get_running_loop().time() - begun < 0.3
    assert meanwhile.status_code == 409
    assert meanwhile.json()["type"].endswith("request-in-progress")
    assert meanwhile.headers["retry-after"] == "1"
    assert (await first).status_code == 201
    assert (await effect(client, "k1", note)).headers["idempotent-replayed"] == "true"
    assert await effects(database) == 1


@pytest.mark.parametrize("round_", range(5))
async def test_a_storm_of_equal_requests_has_one_effect(
    client: httpx2.AsyncClient, database: Database, round_: int
) -> None:
    answers = await asyncio.gather(
        *(effect(client, f"storm-{round_}", {"subject": "a", "weight": round_}) for _ in range(40))
    )
    assert await effects(database) == 1
    assert {answer.status_code for answer in answers} <= {201, 409}
    assert len({answer.text for answer in answers if answer.status_code == 201}) == 1


async def test_what_failed_may_be_tried_again_under_its_key(client: httpx2.AsyncClient, database: Database) -> None:
    refused = await effect(client, "k1", {"subject": "two\nlines"})
    assert refused.status_code == 422
    broken = await effect(client, "k2", {"subject": "a", "text": "fail"})
    assert broken.status_code == 503
    assert await effects(database) == 0
    assert (await effect(client, "k1", {"subject": "one line"})).status_code == 201
    assert (await effect(client, "k2", {"subject": "b"})).status_code == 201


async def test_an_answer_that_comes_a_hair_too_late_takes_its_effect_back(database: Database) -> None:
    async with database.begin() as tx:
        await idempotency.store(tx, "acme", "k1", b"f", status=201, body=b"{}")
    with pytest.raises(Problem) as refused:
        await late(database)
    assert refused.value.status == 409
    assert await effects(database) == 0


@pytest.mark.parametrize("key", ["", "a b", "a" * 256, "ä", "tab\t"])
async def test_a_key_that_is_no_plain_text_is_refused(client: httpx2.AsyncClient, key: str) -> None:
    answer = await client.post(
        "/v1/effects",
        json={"subject": "a"},
        headers=[(b"Authorization", AGENT.headers["Authorization"].encode()), (b"Idempotency-Key", key.encode())],
    )
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["in"] == "header"


async def test_answers_are_kept_a_day_by_the_databases_clock(database: Database, databases: ScratchDatabases) -> None:
    async with database.begin() as tx:
        for number in range(3):
            await idempotency.store(tx, "acme", f"k{number}", b"f", status=201, body=b"{}")
    assert await idempotency.purge(database) == 0
    async with database.begin() as tx:
        await tx.execute(
            "UPDATE idempotency SET created_at = created_at - $1::interval WHERE key = 'k0'",
            timedelta(hours=24, seconds=1),
        )
        await tx.execute(
            "UPDATE idempotency SET created_at = created_at - $1::interval WHERE key = 'k1'", timedelta(hours=23)
        )
    assert await idempotency.purge(database) == 1
    async with database.begin() as tx:
        assert await idempotency.begin(tx, "acme", "k0", b"f") is None
        assert await idempotency.begin(tx, "acme", "k1", b"f") is not None


async def test_the_loop_purges_and_outlives_a_lost_database(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    answers: list[int | Exception] = [ConnectionRefusedError("gone"), 3]
    monkeypatch.setattr(idempotency, "_PURGE_INTERVAL", timedelta(milliseconds=1))

    async def purge(_: Database) -> int:
        answer = answers.pop(0) if answers else 0
        if isinstance(answer, Exception):
            raise answer
        return answer

    monkeypatch.setattr(idempotency, "purge", purge)

    async def answered() -> bool:
        return not answers

    loop = asyncio.create_task(_forever(idempotency.purge_loop(database)))
    await eventually(answered)
    assert not loop.done()
    loop.cancel()


async def _forever(loop: Any) -> None:
    await loop.run()
