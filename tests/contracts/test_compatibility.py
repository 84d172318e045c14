"""The gate: today's contracts hold every promise of every frozen release.

A failure here names the field and who reads it. The way out is not to edit a release but to keep the field, make the
new one optional, or add a type of the next version beside the old one (docs/decisions/0002-contracts-only-grow.md).
"""

from __future__ import annotations

from typing import Any

import orjson
import pytest
from pydantic import ValidationError

from shared.contracts import compatibility, release
from shared.contracts.event import Event
from shared.contracts.manifest import TOPICS

RELEASES = [release.read(version) for version in release.released()]
EVENTS: dict[str, type[Event]] = {event.TYPE: event for topic in TOPICS for event in topic.events}

each_release = pytest.mark.parametrize("promised", RELEASES, ids=[promised.version for promised in RELEASES])


def test_there_is_a_frozen_release() -> None:
    assert RELEASES


@each_release
def test_no_promise_is_broken(promised: release.Release) -> None:
    today = release.current()
    found = compatibility.breaks(promised.topics, promised.schemas, today.topics, today.schemas)
    assert not found, "\n".join(["", *map(str, found)])


@pytest.mark.parametrize(
    ("event_type", "payload"),
    [
        pytest.param(event_type, payload, id=f"{promised.version}-{event_type}-{name}")
        for promised in RELEASES
        for event_type, examples in promised.examples.items()
        for name, payload in examples.items()
    ],
)
def test_every_frozen_example_is_still_read(event_type: str, payload: dict[str, Any]) -> None:
    event = EVENTS.get(event_type)
    assert event is not None, f"{event_type} is gone"
    try:
        read = event.model_validate_json(orjson.dumps(payload))
    except ValidationError as error:
        fields = ", ".join(".".join(map(str, problem["loc"])) for problem in error.errors())
        pytest.fail(f"{event_type}: events in the log are refused at {fields}")
    assert read.key == str(payload[event.KEY])
    # What was written is still written: nothing is dropped in passing on.
    assert payload.keys() <= orjson.loads(read.to_bytes()).keys()


@each_release
def test_a_release_keeps_at_least_two_examples_of_each_type(promised: release.Release) -> None:
    assert all(len(examples) >= 2 for examples in promised.examples.values())
    assert promised.examples.keys() == promised.schemas.keys()
