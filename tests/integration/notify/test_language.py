"""In whose words a machine answers: those of the language that triage finds a moment later."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.integration.notify.mail_facts import MIA, created, received, triaged
from tests.integration.notify.mail_ground import Ground, ground
from tests.integration.notify.mail_sink import Sink
from tests.support.databases import ScratchDatabases

pytestmark = pytest.mark.engines

GERMAN, TENANTS_OWN = "Wir haben", "We have received"
LONG = 60.0
"""Seconds: nobody waits so long for a test."""


@pytest.fixture
async def patient(databases: ScratchDatabases, tmp_path: Path, sink: Sink) -> AsyncIterator[Ground]:
    """Acknowledgements wait for triage, practically for ever."""
    async with ground(databases, tmp_path / "blobs", sink, language_patience_seconds=LONG) as made:
        yield made


async def test_an_acknowledgement_waits_for_triage_and_speaks_the_language_found(patient: Ground) -> None:
    await patient.tell(created())
    (waiting,) = await patient.deliveries()
    assert waiting.state.value == "waiting"
    await patient.tell(triaged(ticket={"language": "de"}))
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(GERMAN)


async def test_a_decision_without_a_language_ends_the_wait_all_the_same(patient: Ground) -> None:
    await patient.tell(created(), triaged())
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(TENANTS_OWN)


async def test_a_decision_heard_before_its_ticket_leaves_nothing_to_wait_for(patient: Ground) -> None:
    await patient.tell(triaged(ticket={"language": "de"}), created())
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(GERMAN)


async def test_where_the_channel_named_the_language_nothing_is_waited_for(patient: Ground) -> None:
    await patient.tell(created(ticket={"language": "de"}))
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(GERMAN)


async def test_without_triage_the_acknowledgement_goes_out_when_the_wait_is_over(patient: Ground) -> None:
    await patient.tell(created())
    await patient.forward(seconds=LONG + 1)
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(TENANTS_OWN)


async def test_a_ticket_of_some_time_ago_waits_for_nobody(patient: Ground) -> None:
    await patient.tell(received(created(), at=datetime.now(UTC) - timedelta(seconds=LONG + 1)))
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].startswith(TENANTS_OWN)


async def test_a_decision_on_another_ticket_hurries_nothing(patient: Ground) -> None:
    await patient.tell(created(1), created(2), triaged(2, ticket={"language": "de"}))
    (mail,) = await patient.mailed(MIA)
    assert mail["Subject"].endswith("[INC-2026-000002]")
    assert [one.state.value for one in await patient.deliveries(ticket_id=created(1).ticket_id)] == ["waiting"]
