"""Services that were away or held up, and come back: nobody is told what is not true, and nobody is told twice."""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import asyncpg
import pytest

from tests.support.correspondence import mails_of
from tests.support.desk import CUSTOMER, Desk
from tests.support.installation import Installation
from tests.support.packs import ANSWER_WITHIN, UNHURRIED, apply
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
        (one["recipients"][0], one["subject"], one["text"]) for one in await mails_of(desk.installation, desk.tenant)
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


@asynccontextmanager
async def away_for_an_hour(desk: Desk, service: str) -> AsyncIterator[None]:
    """A service is stopped, an hour passes and what is done within happens, and it is back and has caught up."""
    assert await desk.installation.terminate(service, within=60) == 0
    await desk.forward(minutes=60)
    yield
    await desk.quiet(without=[service])
    await desk.restart(service)
    await desk.quiet()


async def emergency(desk: Desk) -> dict[str, Any]:
    """A P1 whose escalation has begun: the colleague on call is paged."""
    await desk.on_call("agent")
    sent = await desk.mail("EMERGENCY: complete outage, data loss", "All systems are down for all our customers.")
    ticket = await desk.ticket_of(sent.message_id)
    await desk.phone("agent").expects(ticket, step="agent")
    await desk.quiet()
    return await desk.ticket(ticket["id"])


async def steps(desk: Desk, ticket: dict[str, Any]) -> list[str]:
    """The names of the steps told, each fact once."""
    facts = {one.id: one.data or {} for one in await desk.events("escalation.stepped", ticket_id=ticket["id"])}
    return [data["name"] for data in facts.values()]


async def test_escalation_away_for_an_hour_goes_on_with_the_step_that_is_due_and_walks_no_others(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, UNHURRIED)
    ticket = await emergency(desk)
    assert await steps(desk, ticket) == ["agent"]
    async with away_for_an_hour(desk, "escalation"):
        sent = await desk.mail("EMERGENCY: the archive is down", "All systems are down for all our customers.")
        while_away = await desk.ticket_of(sent.message_id)
    # The lead's half hour and the manager's have passed unseen; whoever is responsible now is asked, once.
    assert await steps(desk, ticket) == ["agent", "director"]
    await desk.phone("admin").expects(ticket, step="director")
    await desk.phone("lead").stays_silent(ticket)
    await desk.phone("agent").stays_silent(ticket, step="step 1", after=1)
    assert (await steps(desk, while_away)) == ["agent"], "what came meanwhile begins at its beginning"
    await desk.phone("agent").expects(while_away, step="agent")
    await nobody_was_told_twice(desk)


async def test_notify_away_for_an_hour_sends_what_still_matters_once_and_no_page_that_is_over(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder, UNHURRIED)
    ticket = await emergency(desk)
    await desk.inbox(CUSTOMER).expects(subject="We have received your request", about=ticket["number"])
    asked = await desk.open("Can I change my address?")
    owner = await desk.owner(asked["id"])
    await desk.quiet()
    async with away_for_an_hour(desk, "notify"):
        # The walk went on without it: lead, manager and director were asked for, and none of it was sent.
        await desk.fact("escalation.stepped", ticket_id=ticket["id"], name="director")
        await desk.reply(asked["id"], "Yes, in your profile.", as_=owner)
        await desk.quiet(without=["notify"])
        await desk.forward(minutes=31)
    await desk.inbox(CUSTOMER).expects(subject="Re: Can I change my address?", about=asked["number"])
    await desk.inbox(CUSTOMER).expects(subject="We have received your request", about=ticket["number"])
    await desk.inbox(CUSTOMER).expects(subject="We have received your request", about=asked["number"])
    for role in ("lead", "admin"):
        await desk.phone(role).stays_silent(ticket)
    await desk.phone("agent").stays_silent(ticket, step="step 1", after=1)
    failed = await desk.events("notification.failed", ticket_id=ticket["id"], reason="expired")
    assert failed, "escalation is told of pages that were too old to be sent"
    await nobody_was_told_twice(desk)


async def test_sla_away_for_an_hour_breaches_what_was_late_and_nothing_that_was_answered_meanwhile(
    desk: Desk, folder: Path
) -> None:
    await apply(desk, folder)
    late, answered = await desk.open("Nobody answers this"), await desk.open("This is answered at once")
    owner = await desk.owner(answered["id"])
    due = {one["id"]: (await desk.clock(one["id"]))["due_at"] for one in (late, answered)}
    await desk.quiet()
    assert await desk.installation.terminate("sla", within=60) == 0
    await desk.reply(answered["id"], as_=owner)
    await desk.forward(minutes=60)
    await desk.quiet(without=["sla"])
    await desk.restart("sla")
    told = await desk.fact("sla.breached", ticket_id=late["id"])
    assert told["breached_at"] == due[late["id"]], "the instant it was due, not the one it was noticed"
    await desk.quiet()
    assert (await desk.clock(answered["id"]))["state"] == "met"
    assert await breaches(desk, answered) == []
    assert [clock for clock, _ in await breaches(desk, late)] == ["first_response"]
    await desk.phone("lead").expects(late, step="team_lead")
    await desk.phone("lead").stays_silent(answered)
    await nobody_was_told_twice(desk)
