"""Two releases in one group while one replaces the other: nothing is lost, dead or out of order."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path
from typing import Any
from uuid import uuid4

import orjson
import pytest

from shared.contracts import golden
from shared.contracts.manifest import MESSAGE_RECEIVED, TICKET_UPDATED
from shared.contracts.message import MessageReceived
from shared.contracts.ticket import TicketUpdated
from tests.integration.faults.conftest import MakeLab
from tests.support.databases import ROOT
from tests.support.faults.lab import Lab
from tests.support.faults.records import Sent, headers
from tests.support.older_release import newer_release, older_release
from tests.support.topics import create_topics
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

NEWS: list[dict[str, Any]] = [{}, {"region": "eu"}, {"channel": "fax"}, {"spoofed": True}]
"""What one release writes into a message and another does not know: a field, a value of an enum."""
NAMES = (MESSAGE_RECEIVED.name, TICKET_UPDATED.name)


def message(key: str, **changed: Any) -> Sent:
    """A real message, perhaps with what another release writes."""
    return _sent(MessageReceived.TYPE, key, golden.examples(MessageReceived)["full"] | changed)


def update(key: str, ce_type: str = TicketUpdated.TYPE, **changed: Any) -> Sent:
    """A real update of a ticket, in one of its versions."""
    return _sent(ce_type, key, golden.examples(TicketUpdated)["full"] | changed)


def _sent(ce_type: str, key: str, payload: dict[str, Any]) -> Sent:
    identity = str(uuid4())
    topic = ce_type.rpartition(".")[0]
    return Sent(
        topic=topic, key=key.encode(), value=orjson.dumps(payload), headers=headers(ce_type, identity), id=identity
    )


def mixed(lab: Lab, *, next_type: bool) -> list[Sent]:
    """What a system in the middle of an upgrade publishes: old and new side by side on the same keys."""
    made = []
    for n in range(60):
        key = f"k{n % 12}"
        made.append(message(key, **lab.random.choice(NEWS)))
        newer = next_type and lab.random.random() < 0.3
        made.append(update(key, "ticket.updated.v2", note="new") if newer else update(key))
    return made


async def handled(lab: Lab) -> None:
    """Every event once, each key of a topic in order, nothing dead or waiting."""

    async def all_there() -> bool:
        wanted = len({entry.id for entry in lab.journal.read()})
        return bool(await lab.value("SELECT count(*) FROM effect") >= wanted)

    try:
        await eventually(all_there, within=60)
    except AssertionError as error:
        raise AssertionError(f"{error}\n{lab.logs()}") from error
    rows = await lab.sql("SELECT topic, key, ce_id FROM effect ORDER BY id")
    given: dict[tuple[str, str], list[str]] = {}
    for row in rows:
        given.setdefault((row["topic"], row["key"]), []).append(str(row["ce_id"]))
    wanted: dict[tuple[str, str], list[str]] = {}
    for entry in lab.journal.read():
        wanted.setdefault((entry.topic, entry.key), []).append(entry.id)
    assert given == wanted
    assert await lab.value("SELECT count(*) FROM waiting") == 0
    assert (await lab.look()).letters == []


@pytest.mark.parametrize(
    ("before", "after", "next_type"),
    [(older_release, None, False), (None, newer_release, True)],
    ids=["from the previous release to this one", "from this release to the next"],
)
async def test_two_releases_in_one_group_lose_nothing_while_one_replaces_the_other(
    before: Callable[[Path], Path] | None,
    after: Callable[[Path], Path] | None,
    next_type: bool,
    make_lab: MakeLab,
    tmp_path: Path,
) -> None:
    lab = await make_lab()
    lab.sources = NAMES
    await create_topics(lab.kafka_url, lab.prefix, (MESSAGE_RECEIVED, TICKET_UPDATED), groups=["faults"])
    was = before(tmp_path / "before") if before else ROOT
    will = after(tmp_path / "after") if after else ROOT
    old = []
    for _ in range(2):
        old.append(await lab.start(tree=was, module="release"))
        await old[-1].joined()
    await lab.send([message(f"k{n}") for n in range(12)])
    if before:
        assert '"count":3' in old[0].log.read_text(), "it subscribes to what its release does not know"
    stop = asyncio.Event()
    waited = 0

    async def sending() -> None:
        nonlocal waited
        while not stop.is_set():
            await lab.send(mixed(lab, next_type=next_type))
            await asyncio.sleep(0.5)
            waited += await lab.value("SELECT count(*) FROM waiting WHERE missing_kind = 'type'")

    task = asyncio.create_task(sending())
    for worker in old:
        new = await lab.start(tree=will, module="release")
        await new.joined()
        assert await worker.terminate() == 0
    stop.set()
    await task
    assert bool(waited) is next_type, "the former release has met nothing newer: this run proves nothing"
    # What the former release put away because it did not know it is woken by the start of one that does.
    await lab.start(tree=will, module="release")
    await handled(lab)
