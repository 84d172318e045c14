"""The whole main job: a message accepted by HTTP → triaged, assigned, clocks armed, searchable, one webhook."""

from __future__ import annotations

import asyncio
import secrets
import tempfile
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from statistics import median
from typing import Any

import aiohttp
import orjson
from aiokafka import AIOKafkaConsumer, TopicPartition

from bench import hops, processor
from bench.figures import Figure, percentile
from bench.ground import Ground
from bench.traffic import Accepted, Seen, at_pace, following, in_batches, session
from cli.demo.timelapse import merged
from cli.seed import DEFAULT_PACK
from services.search.domain import mapping
from shared import kafka
from shared.contracts.manifest import TOPICS
from tests.support.desk import Desk, open_desk
from tests.support.installation import EACH, SERVICES, Installation
from tests.support.tap import Tap
from tests.support.waiting import eventually

PACK = Path(__file__).parent / "pack.yaml"
"""Sections that differ from the default: no mails, nobody moved for being slow."""
HURRIED = PACK.with_name("hurried.yaml")
"""Clocks that run out within a measurement, too."""
AGENTS, CAPACITY = 130, 1000
"""Room for every ticket of a measurement: 1,000 is the most an agent may have."""
RATE = 100
SECONDS = 20
WARM_SECONDS = 5
BURST = 6_000
BATCH = 200
EXISTING = 100_000
ENDPOINT = "bench"
STAGES = {
    "ticket.created": "created",
    "ticket.decision_applied": "decided",
    "ticket.assigned": "assigned",
    "sla.changed": "armed",
    "sla.breached": "breached",
}
FOUND, HANDED_OFF = "found", "handed off"
PEERS = {"django-helpdesk by its API": 112.8, "django-helpdesk by mail": 83.9, "Request Tracker": 5.0}
"""Tickets per second on a machine of this kind (reference/limits)."""


@dataclass(kw_only=True)
class Watched(Seen):
    """What topics and search told of the tickets."""

    late: list[float] = field(default_factory=list)
    """Seconds from the due instant to each confirmed breach."""
    provisional: int = 0

    def told(self, topic: str, event: dict[str, Any], now: float) -> None:
        """Keep what an event tells."""
        if topic == "sla.changed" and event["change"] != "started":
            return
        if topic == "ticket.assigned" and not event.get("assignee_id"):
            return
        if topic == "sla.breached":
            self.provisional += bool(event.get("provisional"))
            self.late.append(now - _unix(event["breached_at"]))
        self.note(STAGES[topic], [event["ticket_id"]], now)


@dataclass(frozen=True, kw_only=True)
class Running:
    """An installation with one desk, ready to be measured."""

    installation: Installation
    desk: Desk
    """Whose clocks have hours."""
    hurried: Desk
    """Whose clocks run out within a measurement."""

    @property
    def pids(self) -> dict[str, int]:
        """Process ids by the name of the first service in each."""
        return {names[0]: process.pid for names, process in self.installation.running.items()}


@asynccontextmanager
async def installed(ground: Ground, processes: Sequence[Sequence[str]] = EACH) -> AsyncIterator[Running]:
    """All services, a tenant whose agents take any number of tickets, and one webhook on `ticket.created`."""
    with tempfile.TemporaryDirectory(prefix="deskwire-bench-") as folder:
        installation = Installation(ground.engines, Path(folder), processes=processes)
        tap = Tap(ground.kafka_url, installation.prefix)
        try:
            await installation.start()
            running = Running(
                installation=installation,
                desk=await _desk(installation, tap, Path(folder), hurried=False),
                hurried=await _desk(installation, tap, Path(folder), hurried=True),
            )
            yield running
            await running.desk.close()
            await running.hurried.close()
        finally:
            await tap.close()
            await installation.stop()


async def _desk(installation: Installation, tap: Tap, folder: Path, *, hurried: bool) -> Desk:
    """A tenant with room for everything, and one webhook."""
    desk = await open_desk(installation, tap, "hurried" if hurried else "bench")
    text = DEFAULT_PACK.read_text(encoding="utf-8")
    for other in (PACK, HURRIED) if hurried else (PACK,):
        text = merged(text, other.read_text(encoding="utf-8"))
    pack = folder / f"{desk.tenant}.yaml"
    pack.write_text(text, encoding="utf-8")
    await desk.cli("apply", str(pack), "--tenant", desk.tenant)
    teams = (await desk.get("/v1/teams", as_="admin", params={"limit": 100}))["items"]
    for number in range(AGENTS):
        colleague = {
            "name": f"Agent {number}",
            "addresses": [f"agent{number}@{desk.tenant}.example"],
            "role": "agent",
            "available": True,
            "capacity": CAPACITY,
            "team_ids": [team["team_id"] for team in teams],
        }
        await desk.post("/v1/people", colleague, as_="admin")
    hook = {"url": f"{installation.url('sink')}/hooks/{ENDPOINT}", "event_types": ["ticket.created"]}
    await desk.post("/v1/webhooks", hook, as_="admin")
    return desk


@asynccontextmanager
async def watching(running: Running) -> AsyncIterator[Watched]:
    """Read the topics from now on."""
    seen = Watched()
    installation = running.installation
    async with following(installation.engines.kafka_url, installation.prefix, STAGES, seen.told):
        yield seen


async def paced(running: Running, mark: str) -> dict[str, list[float]]:
    """At RATE single requests a second: milliseconds from the 202 to each stage."""
    async with watching(running) as seen, _client(running.hurried) as client, asyncio.TaskGroup() as group:
        accepted: dict[str, Accepted] = {}
        finding = group.create_task(_found(running.hurried, seen, accepted))
        await at_pace(client, mark, RATE, accepted, warm=WARM_SECONDS, seconds=SECONDS)
        tickets = set(accepted)
        async with asyncio.timeout(90):
            for stage in (*STAGES.values(), FOUND):
                await seen.all_of(stage, tickets)
        finding.cancel()
        seen.at[HANDED_OFF] = await _calls(running, tickets)
        told = {stage: seen.after(stage, accepted) for stage in seen.at if stage != "breached"}
        told["late"] = [late * 1000 for late in seen.late]
        told["provisional"] = [float(seen.provisional)]
        return told


@dataclass(frozen=True, kw_only=True)
class Burst:
    """One run with as much as the machine takes."""

    rate: float
    """Tickets per second, from the first batch sent to the last ticket through all services but the webhooks."""
    micros: dict[str, float]
    """Processor microseconds per ticket of each part."""
    events: float
    """On all topics, per message."""


async def burst(running: Running, mark: str, count: int = BURST) -> Burst:
    """`count` messages in batches, IN_FLIGHT requests at once."""
    before_events = await _events(running)
    async with watching(running) as seen, _client(running.desk) as client:
        indexed = await _indexed(running)
        before = processor.read(running.pids)
        began = time.perf_counter()
        tickets = await in_batches(client, mark, count, BATCH)
        async with asyncio.timeout(300):
            for stage in ("created", "decided", "assigned", "armed"):
                await seen.all_of(stage, tickets)
            await _until_indexed(running, indexed + count)
        seconds = time.perf_counter() - began
        used = processor.read(running.pids).since(before)
    await running.installation.settled(120)
    return Burst(
        rate=count / seconds,
        micros={part: spent / count * 1e6 for part, spent in used.items()},
        events=(await _events(running) - before_events) / count,
    )


async def measure(ground: Ground, say: Callable[[str], None], *, runs: int = 3) -> list[Figure]:
    """Latency, rate beside the bare pipeline, cost by part, memory."""
    bare: list[float] = []
    bursts: list[Burst] = []
    async with installed(ground) as running:
        told = await paced(running, secrets.token_hex(3))
        for stage in ("created", "decided", "armed", FOUND, HANDED_OFF):
            say(f"{RATE}/s, {stage}: p50 {percentile(told[stage], 50):.0f}, p99 {percentile(told[stage], 99):.0f} ms")
        for number in range(runs):
            bare.append(await hops.measure(ground, say))
            bursts.append(await burst(running, secrets.token_hex(3)))
            say(f"all services, run {number + 1} of {runs}: {bursts[-1].rate:,.0f}/s")
        resident = {name: processor.resident_megabytes(pid) for name, pid in running.pids.items()}
        full, cheap, lag = await _duplicates(running)
    async with installed(ground, (SERVICES,)) as running:
        await burst(running, secrets.token_hex(3), BURST // 2)
        (together,) = (processor.resident_megabytes(pid) for pid in running.pids.values())
    rate = median(run.rate for run in bursts)
    targets = {"created": 100, "decided": 250, "armed": 350, FOUND: 1800, HANDED_OFF: 1000}
    figures = [
        Figure(name=f"accepted to {stage} at {RATE}/s, p99", value=percentile(told[stage], 99), unit="ms", target=most)
        for stage, most in targets.items()
    ]
    figures += [
        Figure(name="due to confirmed breach, p99", value=percentile(told["late"], 99), unit="ms", target=400),
        Figure(name="breaches told early", value=float(sum(late < 0 for late in told["late"])), unit="", target=0),
        Figure(name="breaches told provisionally", value=told["provisional"][0], unit=""),
        Figure(name="through all services", value=rate, unit="tickets/s", target=300, at_least=True, bare=median(bare)),
        Figure(name="of the bare pipeline", value=rate / median(bare), unit="ratio"),
        Figure(name="events per message", value=median(run.events for run in bursts), unit="events"),
    ]
    figures += [Figure(name=f"times {peer}", value=rate / peers, unit="ratio") for peer, peers in PEERS.items()]
    figures += [
        Figure(name=f"processor of {part}", value=median(run.micros[part] for run in bursts), unit="µs/ticket")
        for part in bursts[0].micros
    ]
    figures += [
        Figure(name="duplicate checks that asked the index", value=full / max(1.0, full + cheap) * 100, unit="%"),
        Figure(name="lag of the duplicate check", value=lag * 1000, unit="ms"),
    ]
    figures += [Figure(name=f"memory of {name}", value=size, unit="MB", target=150) for name, size in resident.items()]
    figures.append(Figure(name="memory of all services in one process", value=together, unit="MB", target=350))
    return figures


async def large(ground: Ground, say: Callable[[str], None], *, runs: int = 3) -> list[Figure]:
    """What 100,000 tickets that are there already change: interleaved runs beside an empty installation."""
    async with installed(ground) as empty, installed(ground) as full:
        while (have := await _indexed(full)) < EXISTING:
            say(f"{have:,} of {EXISTING:,} tickets")
            await burst(full, secrets.token_hex(3), min(20_000, EXISTING - have))
        rates: dict[str, list[float]] = {"empty": [], "full": []}
        created: dict[str, list[float]] = {"empty": [], "full": []}
        for _ in range(runs):
            for name, running in (("empty", empty), ("full", full)):
                rates[name].append((await burst(running, secrets.token_hex(3))).rate)
                created[name].append(percentile((await paced(running, secrets.token_hex(3)))["created"], 50))
                say(f"{name}: {rates[name][-1]:,.0f}/s, created p50 {created[name][-1]:.0f} ms")
    return [
        Figure(
            name=f"rate without / with {EXISTING:,} tickets",
            value=median(rates["empty"]) / median(rates["full"]),
            unit="ratio",
            target=1.3,
        ),
        Figure(
            name=f"latency with / without {EXISTING:,} tickets",
            value=median(created["full"]) / median(created["empty"]),
            unit="ratio",
            target=1.3,
        ),
    ]


async def _found(desk: Desk, seen: Seen, accepted: Mapping[str, Accepted]) -> None:
    """Ask the index for everything since the oldest ticket that is still waited for.

    Ids alone, and not through the API: reading hundreds of whole tickets four times a second would cost more than what
    is measured.
    """
    installation = desk.installation
    address = f"{installation.engines.opensearch_url}/{mapping.alias(installation.index_prefix)}/_search"
    while True:
        since = seen.oldest_without(FOUND, accepted)
        if since is not None:
            wanted = [
                {"term": {"tenant_id": desk.tenant}},
                {"range": {"created_at": {"gte": int(since * 1000) - 1000}}},
            ]
            query = {"query": {"bool": {"filter": wanted}}, "size": 10_000, "_source": False}
            answer = await installation.client.post(address, params={"routing": desk.tenant}, json=query)
            answer.raise_for_status()
            seen.note(FOUND, [hit["_id"] for hit in answer.json()["hits"]["hits"]], time.time())
        await asyncio.sleep(0.25)


async def _calls(running: Running, tickets: set[str]) -> dict[str, float]:
    """When the sink was called about each ticket, once it was about all."""
    url = f"{running.installation.url('sink')}/hooks?name={ENDPOINT}"

    async def all_there() -> dict[str, float]:
        answer = await running.installation.client.get(url)
        found = {orjson.loads(call["body"])["data"]["ticket_id"]: call["at"] for call in answer.json()["items"]}
        assert tickets <= found.keys(), f"{len(tickets - found.keys())} tickets no call was about"
        return found

    return await eventually(all_there, within=60, every=0.5, what="a webhook call about every ticket")


async def _indexed(running: Running) -> int:
    """Documents that search would find."""
    page = await running.desk.get("/v1/search", as_="admin", params={"limit": 1})
    total: int = page["total"]
    return total


async def _until_indexed(running: Running, count: int) -> None:
    while await _indexed(running) < count:  # noqa: ASYNC110 - another process's index has no event to wait for
        await asyncio.sleep(0.05)


async def _events(running: Running) -> int:
    """Everything on every topic by now."""
    consumer = AIOKafkaConsumer(bootstrap_servers=running.installation.engines.kafka_url)
    await consumer.start()
    try:
        partitions = [
            TopicPartition(running.installation.prefix + topic.name, number)
            for topic in TOPICS
            for number in range(topic.partitions)
        ]
        return sum((await kafka.end_offsets(consumer, partitions)).values())
    finally:
        await consumer.stop()


async def _duplicates(running: Running) -> tuple[float, float, float]:
    """Full and cheap duplicate checks, and the newest lag in seconds, as search tells Prometheus."""
    values = {"full": 0.0, "fingerprint": 0.0, "lag": 0.0}
    for line in (await running.installation.metrics("search")).splitlines():
        if line.startswith("deskwire_duplicate_checks_total"):
            kind = "full" if 'kind="full"' in line else "fingerprint"
            values[kind] += float(line.rpartition(" ")[2])
        elif line.startswith("deskwire_duplicate_check_lag_seconds"):
            values["lag"] = float(line.rpartition(" ")[2])
    return values["full"], values["fingerprint"], values["lag"]


def _unix(instant: str) -> float:
    return datetime.fromisoformat(instant).timestamp()


def _client(desk: Desk) -> aiohttp.ClientSession:
    return session(desk.installation.origin, desk.keys["service"])
