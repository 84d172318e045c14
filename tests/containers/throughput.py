"""How fast so many replicas of triage work off the same backlog."""

from __future__ import annotations

import asyncio
import secrets
import time
from pathlib import Path

from aiokafka.admin import AIOKafkaAdminClient

from bench.traffic import in_batches, session
from bench.whole import PACK
from cli.demo.timelapse import merged
from cli.seed import DEFAULT_PACK
from tests.containers.composed import Composed
from tests.containers.stack import Stack
from tests.support.desk import Desk
from tests.support.waiting import eventually

BACKLOG = 8_000
BATCH = 200
SHARE = "0.15"
"""Of a core for each replica: the machine's cores are not to be what limits three of them."""
ENDING = 0.8
"""Of the backlog; then the first replicas run dry, since partitions are not equally long."""
PATIENCE = 600.0
GROUP = "triage"


async def prepare(desk: Desk, folder: Path) -> None:
    """A desk that sends no mails and waits for triage however long it takes."""
    pack = folder / "throughput.yaml"
    pack.write_text(merged(DEFAULT_PACK.read_text(encoding="utf-8"), PACK.read_text(encoding="utf-8")), "utf-8")
    await desk.cli("apply", str(pack), "--tenant", desk.tenant)


async def measure(stack: Stack, installation: Composed, desk: Desk, replicas: int) -> float:
    """Decisions per second of so many replicas, each with SHARE of a core, on a backlog that none of them has seen.

    Counted from when every replica has its partitions until the backlog ends.
    """
    await _scale(stack, 0)
    async with session(installation.origin, desk.keys["service"]) as client:
        tickets = list(await in_batches(client, secrets.token_hex(3), BACKLOG, BATCH))

    async def opened() -> bool:
        (row,) = await installation.rows(
            "tickets", "SELECT count(*) AS n FROM ticket WHERE id = ANY ($1::uuid[])", tickets
        )
        (left,) = await installation.rows("tickets", "SELECT count(*) AS n FROM outbox")
        return bool(row["n"] == len(tickets) and not left["n"])

    await eventually(opened, within=PATIENCE, every=0.5, what="a ticket for every message")
    await _scale(stack, replicas)
    await _joined(installation, replicas)
    began, before = time.monotonic(), await _decided(installation, tickets)

    async def ending() -> int:
        count = await _decided(installation, tickets)
        assert count >= BACKLOG * ENDING, f"{count} of {BACKLOG} triaged"
        return count

    count = await eventually(ending, within=PATIENCE, every=0.1, what="the backlog worked off")
    return (count - before) / (time.monotonic() - began)


async def _decided(installation: Composed, tickets: list[str]) -> int:
    sql = "SELECT count(DISTINCT ticket_id) AS n FROM decision WHERE ticket_id = ANY ($1::uuid[])"
    (row,) = await installation.rows("triage", sql, tickets)
    return int(row["n"])


async def _joined(installation: Composed, replicas: int) -> None:
    """Wait until the group has so many members, and each its partitions."""
    admin = AIOKafkaAdminClient(bootstrap_servers=installation.engines.kafka_url)
    await admin.start()

    async def stable() -> bool:
        (answer,) = await admin.describe_consumer_groups([GROUP])
        ((_, _, state, _, _, members, *_),) = answer.groups
        assert (state, len(members)) == ("Stable", replicas), (state, len(members))
        return True

    try:
        await eventually(stable, within=PATIENCE, every=0.1, what=f"{replicas} members of the group")
    finally:
        await admin.close()


async def restore(stack: Stack) -> None:
    """One replica with all it may use."""
    await asyncio.to_thread(stack.up, "--no-deps", "--scale", "triage=1", "triage")


async def _scale(stack: Stack, replicas: int) -> None:
    """Not waiting until they are healthy: they begin before that."""
    scale = ("up", "--detach", "--no-deps", "--scale", f"triage={replicas}", "triage")
    await asyncio.to_thread(stack.compose, *scale, TRIAGE_CPUS=SHARE)
