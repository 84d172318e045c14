"""An outsider's FastStream application over every topic describes the same channels as our AsyncAPI document."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import orjson
from faststream import FastStream
from faststream.kafka import KafkaBroker
from faststream.specification import AsyncAPI

from shared.contracts.manifest import TOPICS

DOCUMENT: dict[str, Any] = orjson.loads((Path(__file__).parents[2] / "docs/events/asyncapi.json").read_bytes())


def test_faststream_names_the_same_channels() -> None:
    broker = KafkaBroker()
    for topic in TOPICS:

        async def handle(event: Any) -> None:
            """Take whatever comes."""

        handle.__annotations__["event"] = topic.events[-1]
        broker.subscriber(topic.name, group_id="outsider")(handle)
    specification = FastStream(broker, specification=AsyncAPI(title="outsider", version="1")).schema.to_specification()
    theirs = orjson.loads(specification.to_json())
    assert theirs["asyncapi"] == DOCUMENT["asyncapi"]
    assert {channel["address"].split(":")[0] for channel in theirs["channels"].values()} == set(DOCUMENT["channels"])
    bound = {channel["bindings"]["kafka"]["topic"] for channel in theirs["channels"].values()}
    assert bound == {channel["bindings"]["kafka"]["topic"] for channel in DOCUMENT["channels"].values()}
