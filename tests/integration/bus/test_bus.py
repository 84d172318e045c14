"""What the bus promises while nothing goes wrong, and for each kind of trouble once."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any
from uuid import uuid4

import pytest

from shared.envelope import Answer, NotYet, Received
from tests.support.bus import Bench, Counted, Extra, count, wire
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def facts(things: int, each: int) -> list[dict[str, Any]]:
    return [wire(Counted(tenant_id="acme", thing=f"t{t}", number=n)) for n in range(each) for t in range(things)]


async def test_every_fact_has_its_effect_once_and_tells_of_it_in_order(bench: Bench) -> None:
    await bench.send("test.counted", facts(20, 50))
    await bench.start()

    async def all_there() -> bool:
        return await bench.value("SELECT count(*) FROM effect") == 1000

    await eventually(all_there)

    async def all_told() -> bool:
        return await bench.value("SELECT count(*) FROM outbox") == 0

    await eventually(all_told)
    told = await bench.read("test.told")
    assert len(told) == 1000
    by_key: dict[bytes, list[bytes]] = {}
    for record in told:
        by_key.setdefault(record.key, []).append(record.value)
    for key, values in by_key.items():
        numbers = [int(value.split(b'"number":')[1].rstrip(b"}")) for value in values]
        assert numbers == list(range(50)), key
    names = dict(told[0].headers)
    assert names["ce_source"] == b"/deskwire/mechanism"
    assert names["ce_type"] == b"test.told.v1"
    assert names["ce_hops"] == b"1"
    assert names["ce_causationid"] == names["ce_correlationid"]
    assert await bench.value("SELECT count(*) FROM inbox") == 1000
