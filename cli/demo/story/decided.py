"""What became of a ticket in its first seconds: triage's decision as the ticket took it, and an owner."""

from __future__ import annotations

from typing import Any

from cli.demo.stage import Stage
from cli.demo.topics import Event


async def settled(stage: Stage, ticket_id: str) -> Event:
    """The ticket's newest state once triage's decision is in it and it has an owner. Raises MissingError."""
    await stage.fact("ticket.decision_applied", ticket_id=ticket_id, decision="ticket.triaged")

    def owned() -> Event | None:
        state = stage.topics.state(ticket_id)
        return state if state is not None and state["ticket"].get("assignee_id") else None

    return await stage.until(owned, f"an owner of ticket {ticket_id[:8]}")


def told(ticket: dict[str, Any]) -> str:
    """`P2 de → translation, 000123` of a ticket's summary."""
    number = ticket["number"].rpartition("-")[2]
    return f"{ticket['priority']['label']} {ticket.get('language') or '–'} → {ticket['queue']}, {number}"
