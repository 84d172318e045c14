"""Reference data is complete before anything is served, newest wins, nothing is lost or brought back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from shared import waiting
from shared.contracts.directory import TenantChanged
from shared.db import Database, Tx
from shared.envelope import Emit, Received, Tombstone
from shared.replica import Replica
from shared.service import Check
from tests.integration.replica.conftest import Publisher, StartReplica, tenant
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def ready(replica: Replica) -> None:
    async with asyncio.timeout(20):
        await replica.wait_ready()


async def name(replica: Replica, key: str) -> str | None:
    found = await replica.get(TenantChanged, key)
    return found.name if found else None


async def becomes(replica: Replica, key: str, wanted: str | None) -> None:
    async def same() -> bool:
        assert await name(replica, key) == wanted
        return True

    await eventually(same, what=f"{key} = {wanted}")


async def holds(check: Check) -> bool:
    try:
        await check.ready()
    except Exception:  # noqa: BLE001 - whatever it lacks
        return False
    return True


async def test_it_is_ready_only_with_everything_published_before_its_start(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    for n in range(2000):
        await publisher.send(tenant(f"t{n % 400}", n))
    replica = start()
    checks = {check.name: check for check in replica.checks()}
    assert {"kafka", "postgresql", "replica tenant.changed", "replica team.changed"} == set(checks)
    assert not await holds(checks["replica tenant.changed"])
    await ready(replica)
    assert await holds(checks["replica tenant.changed"])
    everyone = await replica.get_all(TenantChanged)
    assert {key: event.version for key, event in everyone.items()} == {f"t{n % 400}": n for n in range(1600, 2000)}


async def test_an_empty_topic_is_complete(topics: str, start: StartReplica) -> None:
    await ready(start())


async def test_a_change_and_a_revocation_are_seen_within_seconds(publisher: Publisher, start: StartReplica) -> None:
    replica, other = start(), start(cached_for=2.0)
    await ready(replica)
    await ready(other)
    await publisher.send(tenant("acme", 1, title="one"))
    for each in (replica, other):
        await becomes(each, "acme", "one")
    await publisher.send(tenant("acme", 2, title="two"))
    for each in (replica, other):
        await becomes(each, "acme", "two")
    await publisher.raw("tenant.changed", "acme", None)
    for each in (replica, other):
        await becomes(each, "acme", None)


async def test_an_older_version_repeated_by_a_woken_relay_changes_nothing(
    publisher: Publisher, start: StartReplica
) -> None:
    replica = start(cached_for=0.0)
    await ready(replica)
    await publisher.send(tenant("acme", 6, title="six"))
    await becomes(replica, "acme", "six")
    await publisher.send(tenant("acme", 5, title="five"))
    await publisher.send(tenant("mark", 1, title="mark"))
    await publisher.send(tenant("acme", 5, title="five again"))
    await publisher.send(tenant("last", 1, title="last"))
    await becomes(replica, "mark", "mark")
    await becomes(replica, "last", "last")
    assert await name(replica, "acme") == "six"


async def test_a_deleted_key_is_not_brought_back_by_a_repeat(publisher: Publisher, start: StartReplica) -> None:
    replica = start(cached_for=0.0)
    await ready(replica)
    before = datetime.now(UTC) - timedelta(minutes=1)
    await publisher.send(tenant("acme", 3), time=before)
    await becomes(replica, "acme", "acme 3")
    await publisher.raw("tenant.changed", "acme", None)
    await becomes(replica, "acme", None)
    await publisher.send(tenant("acme", 3), time=before)
    await publisher.send(tenant("acme", 2), time=before)
    # Same key, same partition: what comes after is seen after.
    await publisher.send(tenant("acme", 4, title="made anew"))
    await becomes(replica, "acme", "made anew")


async def test_newest_of_one_batch_wins_whatever_its_order(publisher: Publisher, start: StartReplica) -> None:
    for version in (1, 4, 2, 3):
        await publisher.send(tenant("acme", version))
    replica = start()
    await ready(replica)
    assert await name(replica, "acme") == "acme 4"


async def test_storing_wakes_what_waits_for_it(publisher: Publisher, start: StartReplica, database: Database) -> None:
    replica = start()
    await ready(replica)
    async with database.begin() as tx:
        await waiting.append(
            tx,
            "reader",
            [
                waiting.Waiting(
                    key=key,
                    topic="ticket.created",
                    partition=0,
                    offset=n,
                    record_ms=0,
                    payload=b"{}",
                    headers=b"0[]",
                    reason="not_yet",
                    missing_kind="tenant",
                    missing_id=tenant_id,
                )
                for n, (key, tenant_id) in enumerate([("a", "acme"), ("b", "other")])
            ],
        )
    await database.execute("UPDATE waiting SET due_at = NULL")
    await publisher.send(tenant("acme", 1))

    async def woken() -> list[str]:
        return [row["key"] for row in await database.fetch("SELECT key FROM waiting WHERE due_at IS NOT NULL")]

    assert await eventually(woken) == ["a"]


async def test_the_hook_sees_every_change_in_the_transaction_that_stores_it(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    seen: list[tuple[str, int | None]] = []

    async def on_change(tx: Tx, changes: Sequence[Received[Any] | Tombstone]) -> list[Emit]:
        for change in changes:
            stored = await tx.fetchval("SELECT event IS NOT NULL FROM replica WHERE key = $1", change.key)
            assert stored is isinstance(change, Received)
            seen.append((change.key, change.event.version if isinstance(change, Received) else None))
        return []

    replica = start(on_change=on_change)
    await ready(replica)
    await publisher.send(tenant("acme", 1))
    await eventually(_seen(seen, ("acme", 1)))
    await publisher.raw("tenant.changed", "acme", None)
    await eventually(_seen(seen, ("acme", None)))


def _seen(seen: list[tuple[str, int | None]], wanted: tuple[str, int | None]) -> Any:
    async def has() -> bool:
        return wanted in seen

    return has


async def test_malformed_and_refused_changes_become_dead_letters_and_neighbours_go_on(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    async def on_change(tx: Tx, changes: Sequence[Received[Any] | Tombstone]) -> None:
        if any(change.key == "refused" for change in changes):
            raise RuntimeError("no")

    for n in range(20):
        await publisher.send(tenant(f"t{n}", 1))
    await publisher.raw("tenant.changed", "bad", b"{not json")
    await publisher.raw("tenant.changed", "bad", b"{}")
    await publisher.raw("tenant.changed", "bad", b"{}", "ticket.created.v1")
    await publisher.send(tenant("refused", 1))
    for n in range(20, 40):
        await publisher.send(tenant(f"t{n}", 1))
    replica = start(on_change=on_change)
    await ready(replica)
    assert set(await replica.get_all(TenantChanged)) == {f"t{n}" for n in range(40)}
    rows = await database.fetch("SELECT topic FROM outbox")
    assert [row["topic"] for row in rows] == ["dlq.reader.tenant.changed"] * 4


async def test_a_newer_type_is_kept_for_the_release_that_knows_it(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    await publisher.send(tenant("acme", 1, title="one"))
    await publisher.raw("tenant.changed", "acme", b'{"version":2,"name":"two"}', "tenant.changed.v2")
    replica = start()
    await ready(replica)
    assert await name(replica, "acme") == "one"
    assert await database.fetchval("SELECT version FROM replica WHERE type = 'tenant.changed.v2'") == 2


async def test_connections_cut_again_and_again_lose_no_change(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    replica = start()
    await ready(replica)

    async def cut() -> None:
        while True:
            await asyncio.sleep(0.15)
            await cutter.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )

    cutter = await database.session(application="cutter")
    cutting = asyncio.create_task(cut())
    try:
        for n in range(300):
            await publisher.send(tenant(f"t{n}", 1))
            await asyncio.sleep(0.003)
    finally:
        cutting.cancel()
        await asyncio.gather(cutting, return_exceptions=True)
        await cutter.close()

    async def complete() -> bool:
        return len(await replica.get_all(TenantChanged)) == 300

    await eventually(complete)


async def test_a_topic_made_anew_is_read_from_its_start(
    publisher: Publisher, start: StartReplica, database: Database
) -> None:
    await database.execute(
        "INSERT INTO replica_offset SELECT 'tenant.changed', p, 1000000 FROM generate_series(0, 2) p"
    )
    await publisher.send(tenant("acme", 1))
    replica = start()
    await becomes(replica, "acme", "acme 1")
