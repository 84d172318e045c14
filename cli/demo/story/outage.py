"""Three people report the same outage in the same second."""

from __future__ import annotations

import asyncio
import time

from cli.demo.entries import mail
from cli.demo.stage import Stage
from cli.demo.story.intake import opened_by
from cli.demo.topics import Event

REPORTS = (
    (
        "t.lindqvist@fjordkraft.example",
        "Report portal not reachable since 10:15",
        (
            "Hi,\n\nthe report portal has not been reachable since 10:15. The browser shows error 502 (bad gateway)."
            "\nCould you have a look?\n\nTove"
        ),
    ),
    (
        "m.okafor@harbourline.example",
        "report portal: error 502, not reachable",
        (
            "Good morning, your report portal is not reachable any more, we get a 502 bad gateway error everywhere"
            " since about quarter past ten.\n\nRegards, Michael Okafor"
        ),
    ),
    (
        "ines@atelier-ramos.example",
        "Error 502 - report portal is not reachable",
        (
            "The report portal shows error 502 bad gateway. It's not reachable for anyone here since 10:15."
            "\n\nInês Ramos"
        ),
    ),
)


async def reported_thrice(stage: Stage) -> None:
    """Three mails at once: each its ticket, the later ones suggested as duplicates, one link confirmed."""
    stage.say("three people report the same outage in the same second")
    ids = [f"{stage.run}.portal{number}@{sender.rpartition('@')[2]}" for number, (sender, *_) in enumerate(REPORTS)]
    sent = time.monotonic()
    await asyncio.gather(
        *(
            mail(stage.addresses, sender, subject, text, message_id)
            for (sender, subject, text), message_id in zip(REPORTS, ids, strict=True)
        )
    )
    tickets = {(await opened_by(stage, one))["ticket_id"]: one for one in ids}

    def suggested() -> list[Event] | None:
        found = {e["ticket_id"]: e for e in stage.topics.of("ticket.duplicates_found") if e["ticket_id"] in tickets}
        return list(found.values()) if len(found) >= len(tickets) - 1 else None

    found = await stage.until(suggested, "duplicates found of two of three")
    among = all(found_one["candidates"][0]["ticket_id"] in tickets for found_one in found)
    best = found[-1]["candidates"][0]
    stage.check(
        "one outage thrice → duplicates found",
        f"{len(found)} found, {best['number']} {best['score']:.2f}",
        passed=among and len(tickets) == len(REPORTS),
        milliseconds=stage.since(sent, found[-1]),
    )
    ticket_id, other = found[-1]["ticket_id"], best["ticket_id"]
    await stage.until(lambda: _link(stage, ticket_id, other), "a suggested link in ticket.state")
    await stage.ask("POST", f"/v1/tickets/{ticket_id}/links", {"kind": "duplicates", "ticket": other})
    link = await stage.until(lambda: _link(stage, ticket_id, other, confirmed=True), "a confirmed link")
    stage.check("a person confirms → linked", f"{link['kind']} {link['number']}", passed=True)
    await stage.ask("POST", f"/v1/tickets/{ticket_id}/merge", {"into": other, "reason": "the same outage"})
    merged = await stage.fact("ticket.merged", ticket_id=ticket_id)
    state = await stage.until(lambda: _merged(stage, ticket_id), "merged_into in ticket.state")
    stage.check("merged", f"into {merged['into_number']}", passed=state["merged_into"] == other)


def _link(stage: Stage, ticket_id: str, other: str, *, confirmed: bool = False) -> Event | None:
    state = stage.topics.state(ticket_id) or {}
    for link in state.get("links", ()):
        if link["ticket_id"] == other and not (confirmed and link.get("suggested")):
            found: Event = link
            return found
    return None


def _merged(stage: Stage, ticket_id: str) -> Event | None:
    state = stage.topics.state(ticket_id)
    return state if state is not None and state.get("merged_into") else None
