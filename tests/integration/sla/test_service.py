"""The whole service on real engines: states and watermarks in, what is true of clocks out, each once."""

from __future__ import annotations

from datetime import timedelta

import pytest

from shared.contracts import ids
from tests.integration.sla.conftest import Desk, Make, Ticket

pytestmark = pytest.mark.engines
HOUR = timedelta(hours=1)


async def test_a_clock_starts_warns_and_breaches_when_tickets_have_said_all_there_is(desk: Desk) -> None:
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.says(ticket, "started")
    await desk.forward(minutes=49)
    await desk.mark()
    await desk.says(ticket, "started", "warning")
    due = ticket.opened_at + HOUR
    await desk.forward(minutes=30)
    # Late by our clock, but of what happened until the due instant not everything is known.
    await desk.mark(due)
    await desk.says(ticket, "started", "warning")
    await desk.mark(due + timedelta(microseconds=1))
    await desk.says(ticket, "started", "warning", "breached")
    (breach,) = [one for one in await desk.said() if one["type"] == "sla.breached.v1"]
    assert breach["id"] == str(ids.breach_id(ticket.id, "first_response", 1))
    assert breach["breached_at"] == breach["due_at"] == due.isoformat().replace("+00:00", "Z")
    assert (breach["target_minutes"], breach["policy_version"] > 0) == (60.0, True)


async def test_an_answer_in_time_that_arrives_late_is_no_breach(desk: Desk) -> None:
    """Design review, finding 2: the relay was held, the reply is inside."""
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    await desk.forward(hours=2)
    await desk.publish(ticket.write(ticket.opened_at + 0.9 * HOUR, responded="").state())
    await desk.settled()
    await desk.says(ticket, "started", "met")


async def test_after_the_grace_a_breach_is_told_provisionally_and_withdrawn_when_it_proves_false(make: Make) -> None:
    desk = await make(grace=0.5)
    await desk.tenant()
    ticket = Ticket(desk.now)
    await desk.publish(ticket.state())
    await desk.settled()
    await desk.forward(hours=2)
    await desk.says(ticket, "started", "provisional")
    await desk.publish(ticket.write(ticket.opened_at + 0.9 * HOUR, responded="").state())
    await desk.settled()
    await desk.says(ticket, "started", "provisional", "withdrawn", "met")
