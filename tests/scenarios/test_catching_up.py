"""Services that were away or held up, and come back: nobody is told what is not true, and nobody is told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.correspondence import mails_at_sink
from tests.support.desk import Desk
from tests.support.installation import Installation
from tests.support.packs import ANSWER_WITHIN, apply
from tests.support.waiting import eventually

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@asynccontextmanager
async def relay_held(installation: Installation, service: str) -> AsyncIterator[None]:
    """Nothing a service commits comes out: somebody else has its relay's leadership."""
    lock = "SELECT pg_advisory_lock(hashtextextended('deskwire.relay', 3))"
    leader = (
        "SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted AND objsubid = 1"
        " AND database = (SELECT oid FROM pg_database WHERE datname = current_database())"
        " AND ((classid::bigint << 32) | objid::bigint) = hashtextextended('deskwire.relay', 3)"
    )
    usurper = await asyncpg.connect(installation.admin_url(service))
    try:

        async def usurped() -> bool:
            await installation.rows(service, leader)
            return bool(await usurper.fetchval(lock.replace("pg_advisory_lock", "pg_try_advisory_lock")))

        await eventually(usurped, within=60, every=0.005, what=f"the relay of {service} held")
        yield
    finally:
        await usurper.close()


async def nobody_was_told_twice(desk: Desk) -> None:
    """No mail to this desk's people or customers says what another said before."""
    mails = [
        (one["recipients"][0], one["subject"], one["text"])
        for one in await mails_at_sink(desk.installation)
        if desk.tenant in str(one["headers"])
    ]
    twice = {what: count for what, count in Counter(mails).items() if count > 1}
    assert not twice, twice


async def breaches(desk: Desk, ticket: dict[str, Any]) -> list[tuple[str, bool]]:
    """Clock and whether it was told provisionally, of every breach told."""
    facts = {one.id: one.data or {} for one in await desk.events("sla.breached", ticket_id=ticket["id"])}
    return [(data["clock"], data["provisional"]) for data in facts.values()]


async def test_an_answer_held_back_past_its_due_instant_leaves_no_breach_and_nobody_paged(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder)
    ticket = await desk.open("The export stops")
    owner = await desk.owner(ticket["id"])
    assert (await desk.clock(ticket["id"]))["target_minutes"] == ANSWER_WITHIN
    await desk.forward(minutes=10)
    await desk.quiet()
    async with relay_held(desk.installation, "tickets"):
        await desk.reply(ticket["id"], as_=owner)
        await desk.forward(minutes=10)
        # The due instant and the grace have passed, and tickets has said nothing: told as far as is known.
        told = await desk.fact("sla.breached", ticket_id=ticket["id"])
        assert told["provisional"] is True
        await desk.phone("lead").expects(ticket, step="team_lead")
    await desk.fact("sla.changed", ticket_id=ticket["id"], change="withdrawn")
    assert (await desk.fact("escalation.ended", ticket_id=ticket["id"]))["reason"] == "withdrawn"
    await desk.quiet()
    assert await breaches(desk, ticket) == [("first_response", True)]
    assert await desk.events("sla.changed", ticket_id=ticket["id"], change="confirmed") == []
    assert (await desk.clock(ticket["id"]))["state"] == "met"
    assert "not needed any more" in await desk.phone("lead").shows(ticket)
    await desk.forward(minutes=30)
    await desk.phone("lead").stays_silent(ticket, after=1)
    await desk.phone("manager").stays_silent(ticket)
    await nobody_was_told_twice(desk)
