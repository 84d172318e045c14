"""The programs of docs/subscribing.md, as printed there, against the real broker."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from uuid import UUID

import orjson
import pytest
from aiokafka import AIOKafkaProducer

from shared.contracts import cloudevents, golden
from shared.contracts.manifest import TICKET_CREATED
from shared.contracts.ticket import TicketCreated
from tests.support.engines import Engines
from tests.support.topics import create_topics

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[3]
PROGRAMS = dict(
    re.findall(r"```python title=(\w+)\n(.*?)```", (ROOT / "docs/subscribing.md").read_text(), flags=re.DOTALL)
)
EXAMPLES = golden.examples(TicketCreated)
MINIMAL = f"{EXAMPLES['minimal']['ticket']['number']} {EXAMPLES['minimal']['ticket']['subject']}"
FULL = f"{EXAMPLES['full']['ticket']['number']} {EXAMPLES['full']['ticket']['subject']}"

each_program = pytest.mark.parametrize("program", ["faststream", "aiokafka"])

DRIVER = """
import asyncio, os, program
from pathlib import Path
mark, kept = Path("failed-once"), program.act
async def act(event):
    if not mark.exists():
        mark.touch()
        {how}
    await kept(event)
program.act = act
asyncio.run(program.app.run() if hasattr(program, "app") else program.main())
"""


def headers(number: int, ce_type: str = TicketCreated.TYPE) -> list[tuple[str, bytes]]:
    return [
        (cloudevents.SPECVERSION, b"1.0"),
        (cloudevents.ID, str(UUID(int=number)).encode()),
        (cloudevents.SOURCE, b"tickets"),
        (cloudevents.TYPE, ce_type.encode()),
        (cloudevents.TIME, b"2026-11-03T08:00:00Z"),
        (cloudevents.CONTENT_TYPE, b"application/json"),
    ]


async def produce(engines: Engines, prefix: str, records: list[tuple[bytes | None, list[tuple[str, bytes]]]]) -> None:
    producer = AIOKafkaProducer(bootstrap_servers=engines.kafka_url)
    await producer.start()
    try:
        for value, given in records:
            await producer.send_and_wait(f"{prefix}{TICKET_CREATED.name}", value, b"k", headers=given)
    finally:
        await producer.stop()


@asynccontextmanager
async def running(
    engines: Engines, prefix: str, folder: Path, *command: str
) -> AsyncIterator[tuple[asyncio.subprocess.Process, asyncio.StreamReader]]:
    """A process of its own with nothing of ours in its way."""
    environment = {"PATH": os.environ["PATH"], "KAFKA_URL": engines.kafka_url, "TOPIC_PREFIX": prefix}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        *command,
        cwd=folder,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    try:
        yield process, process.stdout
    finally:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


async def lines(stream: asyncio.StreamReader, last: str, seconds: float = 30) -> list[str]:
    """What was printed up to and with the line that is `last`."""
    found: list[str] = []
    async with asyncio.timeout(seconds):
        async for line in stream:
            found.append(line.decode().rstrip("\n"))
            if found[-1] == last:
                return found
    raise AssertionError(f"ended after {found}")


def example(name: str, **more: Any) -> bytes:
    return orjson.dumps(EXAMPLES[name] | more)


@each_program
async def test_a_printed_program_handles_each_event_once(
    program: str, engines: Engines, topic_prefix: str, tmp_path: Path
) -> None:
    await create_topics(engines.kafka_url, topic_prefix, [TICKET_CREATED])
    await produce(
        engines,
        topic_prefix,
        [
            (example("full", a_field_of_tomorrow=[1]), headers(1)),
            (example("full"), headers(1)),
            (b"{not json", headers(2)),
            (example("minimal"), headers(3, "ticket.created.v2")),
            (None, headers(4)),
            (example("minimal"), headers(5)),
        ],
    )
    (tmp_path / "program.py").write_text(PROGRAMS[program])
    async with running(engines, topic_prefix, tmp_path, "program.py") as (_, output):
        printed = await lines(output, MINIMAL)
    assert [line for line in printed if line.startswith("INC-")] == [FULL, MINIMAL]
    assert any(line.startswith("unreadable, put aside: 2") for line in printed)


@each_program
async def test_a_printed_program_whose_effect_fails_tries_again(
    program: str, engines: Engines, topic_prefix: str, tmp_path: Path
) -> None:
    again_at_once = program == "faststream"
    await prepare(engines, topic_prefix, program, tmp_path, "raise RuntimeError('database away')")
    if not again_at_once:
        async with running(engines, topic_prefix, tmp_path, "driver.py") as (process, _):
            async with asyncio.timeout(30):
                assert await process.wait() == 1
    async with running(engines, topic_prefix, tmp_path, "driver.py") as (_, output):
        printed = await lines(output, MINIMAL)
    assert [line for line in printed if line.startswith("INC-")] == [FULL, MINIMAL]
    assert again_at_once == ("failed, trying again: database away" in printed)


@pytest.mark.slow
async def test_a_printed_program_killed_in_the_middle_loses_nothing(
    engines: Engines, topic_prefix: str, tmp_path: Path
) -> None:
    """It dies after six seconds in the handler: auto-commit, every five seconds, would have lost the event."""

    async def die_and_come_back(program: str) -> list[str]:
        prefix, folder = f"{topic_prefix}{program}.", tmp_path / program
        folder.mkdir()
        await prepare(engines, prefix, program, folder, "await asyncio.sleep(6); os.kill(os.getpid(), 9)")
        async with running(engines, prefix, folder, "driver.py") as (process, _):
            async with asyncio.timeout(30):
                assert await process.wait() == -signal.SIGKILL
        async with running(engines, prefix, folder, "driver.py") as (_, output):
            return await lines(output, MINIMAL)

    for printed in await asyncio.gather(*map(die_and_come_back, PROGRAMS)):
        assert [line for line in printed if line.startswith("INC-")] == [FULL, MINIMAL]


async def prepare(engines: Engines, prefix: str, program: str, folder: Path, how: str) -> None:
    """Two events, the program as printed, and a driver that fails the first time it acts."""
    await create_topics(engines.kafka_url, prefix, [TICKET_CREATED])
    await produce(engines, prefix, [(example("full"), headers(1)), (example("minimal"), headers(2))])
    (folder / "program.py").write_text(PROGRAMS[program])
    (folder / "driver.py").write_text(DRIVER.format(how=how))


async def test_tail_shows_the_events_of_one_tenant_as_lines_of_json(engines: Engines, topic_prefix: str) -> None:
    await create_topics(engines.kafka_url, topic_prefix, [TICKET_CREATED])
    await produce(
        engines, topic_prefix, [(example(name), headers(i)) for i, name in enumerate(("full", "minimal", "full"))]
    )
    tenant = EXAMPLES["full"]["tenant_id"]
    command = (
        "-m",
        "cli.events",
        "tail",
        "ticket.created",
        "--from-beginning",
        "--tenant",
        tenant,
        "--json",
        "-n",
        "2",
    )
    async with running(engines, topic_prefix, ROOT, *command) as (process, output):
        async with asyncio.timeout(30):
            shown = [orjson.loads(line) async for line in output]
            assert await process.wait() == 0
    assert [line["value"] for line in shown] == [EXAMPLES["full"]] * 2
    assert [line["headers"][cloudevents.ID] for line in shown] == [str(UUID(int=0)), str(UUID(int=2))]
    assert {line["key"] for line in shown} == {"k"}


async def test_tail_shows_what_comes_and_lets_no_stranger_move_the_cursor(engines: Engines, topic_prefix: str) -> None:
    await create_topics(engines.kafka_url, topic_prefix, [TICKET_CREATED])
    await produce(engines, topic_prefix, [(example("full"), headers(1))])
    ticket = EXAMPLES["minimal"]["ticket"] | {"subject": "\x1b[2J\aboo"}
    command = (
        "-c",
        f"import sys; sys.path.insert(0, {str(ROOT)!r}); from cli.events import app; app(['tail', 'ticket.created', '-n', '1'])",
    )
    async with running(engines, topic_prefix, ROOT, *command) as (process, output):
        # It says on standard error when it watches; here the event is simply repeated until it does.
        async def keep_producing() -> None:
            for number in range(100):
                await produce(engines, topic_prefix, [(example("minimal", ticket=ticket), headers(10 + number))])
                await asyncio.sleep(0.1)

        producing = asyncio.create_task(keep_producing())
        async with asyncio.timeout(30):
            (line,) = [line.decode() async for line in output]
            assert await process.wait() == 0
        producing.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await producing
    assert "·[2J·boo" in line
    assert "\x1b" not in line
    assert FULL not in line
