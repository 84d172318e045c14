"""A clock that runs out: warned, then breached, not a moment early."""

from __future__ import annotations

import time
from datetime import datetime

from cli.demo.stage import Stage

MESSAGE = {
    "channel": "web",
    "sender": {"address": "olga@acme.example", "name": "Olga Stone"},
    "subject": "Dashboard shows last week's figures",
    "text": "The sales dashboard has not been refreshed since Sunday. Nothing urgent, but it should be right.",
}
"""From a customer whose tier has the shortest target."""
CLOCK = "first_response"


async def ran_out(stage: Stage) -> None:
    """Nobody answers in time."""
    sent = time.monotonic()
    ticket_id = (await stage.submit(MESSAGE, "clock"))["ticket_id"]
    started = await stage.fact("sla.changed", ticket_id=ticket_id, clock=CLOCK, change="started")
    stage.check(
        "clocks armed",
        f"{started['target_minutes'] * 60:.0f} s, tier {started['ticket'].get('tier') or '–'}",
        passed=started.get("due_at") is not None,
        milliseconds=stage.since(sent, started),
    )
    warned = await stage.fact("sla.warning", ticket_id=ticket_id, clock=CLOCK, patience=60)
    stage.check("warned", f"{warned['share_left']:.0%} left", passed=True)
    breached = await stage.fact("sla.breached", ticket_id=ticket_id, clock=CLOCK, patience=60)
    due = datetime.fromisoformat(breached["breached_at"])
    late = (time.time() - (time.monotonic() - stage.topics.read_at(breached)) - due.timestamp()) * 1000
    told = "provisional" if breached.get("provisional") else "confirmed"
    stage.check("breached, told once, never early", told, passed=late >= 0, milliseconds=late)
    explained = await stage.ask("GET", f"/v1/tickets/{ticket_id}/clocks/{CLOCK}/explain")
    steps = len(explained.get("steps", ()))
    stage.check("explained by the same function", f"{steps} steps", passed=steps > 0)
