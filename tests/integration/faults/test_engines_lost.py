"""The engines go away in the middle of everything and come back: nothing is lost, nobody has to be restarted."""

from __future__ import annotations

import asyncio
import os
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from deploy.local import engines as local_engines
from deploy.local.kafka import Kafka
from deploy.local.process import gone
from deploy.local.progress import Progress
from deploy.local.record import exclusive, load
from tests.integration.faults.conftest import MakeLab
from tests.support.faults.lab import Lab
from tests.support.faults.records import rule, traffic

pytestmark = pytest.mark.engines


class Broker:
    """A Kafka of this test's own, since it is going to be killed."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self.url = ""

    def start(self) -> None:
        """Start it, on the ports of the first time."""
        with exclusive(self._state) as record:
            progress = Progress()
            site = local_engines.prepare_site(record, ["kafka"], progress)
            self.url = local_engines.bring_up(Kafka(), site, progress)

    def end(self, number: signal.Signals) -> None:
        """Send a signal and wait for its end."""
        identity = load(self._state).running("kafka")
        assert identity is not None
        os.kill(identity.pid, number)
        assert gone(identity, within=30)


@pytest.fixture
def broker() -> Iterator[Broker]:
    with tempfile.TemporaryDirectory(prefix="faults-") as folder:
        path = Path(folder)
        path.chmod(0o755)
        made = Broker(path / "state")
        made.start()
        yield made
        with exclusive(path / "state") as record:
            local_engines.stop(record, Progress())


async def _sending(lab: Lab, stop: asyncio.Event, things: int = 20) -> int:
    first = 0
    while not stop.is_set():
        await lab.send(traffic(lab.random, things, 2, duplicates=0.05, first=first))
        await lab.send([rule(f"r{first % 5}", first)])
        first += 2
        await asyncio.sleep(0.1)
    return first


@pytest.mark.parametrize("rounds", [1, pytest.param(10, marks=pytest.mark.soak)])
async def test_a_broker_killed_and_restarted_in_mid_batch_loses_nothing(
    rounds: int, broker: Broker, make_lab: MakeLab
) -> None:
    lab = await make_lab(kafka_url=broker.url)
    worker = await lab.start(parts="bus,relay,replica", batch_pause=0.05)
    stop = asyncio.Event()
    sending = asyncio.create_task(_sending(lab, stop))
    await worker.joined()
    for number in range(rounds):
        await asyncio.sleep(1.0)
        how = signal.SIGKILL if number % 2 == 0 else signal.SIGTERM
        await asyncio.to_thread(broker.end, how)
        await asyncio.sleep(lab.random.random() * 2)
        await asyncio.to_thread(broker.start)
    await asyncio.sleep(1.0)
    stop.set()
    await sending
    await lab.verify(within=90)
    assert worker.process.returncode is None, "the process ended with the broker"


@pytest.mark.parametrize(("seconds", "every"), [(10.0, 1.0), pytest.param(120.0, 5.0, marks=pytest.mark.soak)])
async def test_database_connections_ended_every_few_seconds_lose_nothing(
    lab: Lab, seconds: float, every: float
) -> None:
    worker = await lab.start(parts="bus,relay,timers,tasks,replica", batch_pause=0.02)
    await worker.joined()
    stop = asyncio.Event()
    sending = asyncio.create_task(_sending(lab, stop))
    ended = 0
    until = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < until:
        await asyncio.sleep(every * (0.5 + lab.random.random()))
        rows = await lab.sql(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
        ended += len(rows)
    stop.set()
    await sending
    await lab.verify()
    assert ended > 10, "too few connections were ended for a proof"
    assert worker.process.returncode is None, "the process ended with a connection"
    assert await lab.value("SELECT count(*) FROM waiting") == 0, "a lost connection was taken for poison"
