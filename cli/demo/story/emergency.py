"""A P1: its escalation walks from the agent over the lead to the manager, and stops when a page is acknowledged."""

from __future__ import annotations

import time

from cli.demo.entries import mail
from cli.demo.sink import Mail
from cli.demo.stage import Stage
from cli.demo.story.intake import opened_by
from cli.demo.topics import Event

SENDER = "noc@baltic-rail.example"
SUBJECT = "EMERGENCY: complete outage, data loss"
TEXT = (
    "EMERGENCY. All systems are down for all our customers since 11:02, ticket sales stopped, and the last night's"
    " bookings are lost. Please call at once.\n\nNetwork operations, Baltic Rail"
)


async def walked(stage: Stage) -> None:
    """Nobody reacts, so it climbs; the manager acknowledges by the link in the page."""
    sent = time.monotonic()
    mark = f"{stage.run}.emergency@baltic-rail.example"
    await mail(stage.addresses, SENDER, SUBJECT, TEXT, mark)
    created = await opened_by(stage, mark)
    ticket_id = created["ticket_id"]
    applied = await stage.fact("ticket.decision_applied", ticket_id=ticket_id, decision="ticket.triaged")
    reasons = {one["field"]: one["text"] for one in applied.get("reasons", ())}
    stage.check(
        "P1 mail → triaged P1, with reasons",
        reasons.get("priority", "no reason"),
        passed=applied["ticket"]["priority"]["rank"] == 1,
        milliseconds=stage.since(sent, applied),
    )
    started = await stage.fact("escalation.started", ticket_id=ticket_id)
    stage.check("escalation starts", f"{started['path']}, {started['steps']} steps", passed=True)
    steps = await stage.until(lambda: _steps(stage, ticket_id), "the manager's step of the escalation", patience=60)
    stage.check("nobody reacts → it climbs", " → ".join(step["name"] for step in steps), passed=len(steps) >= 3)
    page = await stage.until(lambda: _page(stage, ticket_id, steps[-1]), "page.requested of that step")
    delivered = await stage.fact("notification.delivered", ticket_id=ticket_id, page_id=page["page_id"])
    paged = await stage.eventually(lambda: _paged(stage, delivered), "the page at the sink")
    stage.check(
        "the manager is paged by mail",
        paged["subject"],
        passed=True,
        milliseconds=stage.since(stage.topics.read_at(page), delivered),
    )
    link = next(url for url in paged["links"] if "/v1/pages/" in url)
    await stage.follow_link(link, {"answer": "acknowledged"})
    taken = await stage.fact("escalation.acknowledged", ticket_id=ticket_id)
    stage.check("acknowledged by the link in it → stops", f"at step {taken['step']}", passed=True)


def _steps(stage: Stage, ticket_id: str) -> list[Event] | None:
    steps = stage.topics.of("escalation.stepped", ticket_id=ticket_id)
    return steps if any(step["step"] >= 3 for step in steps) else None


def _page(stage: Stage, ticket_id: str, step: Event) -> Event | None:
    return stage.topics.find("page.requested", ticket_id=ticket_id, step=step["step"])


async def _paged(stage: Stage, delivered: Event) -> Mail | None:
    mails = await stage.sink.mails()
    return next((one for one in mails if one["message_id"] == delivered.get("external_id")), None)
