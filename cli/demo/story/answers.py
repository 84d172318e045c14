"""We answer by mail, the requester answers our mail; solved, rated, reopened."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from cli.demo.entries import mail, message_id
from cli.demo.sink import Mail
from cli.demo.stage import Stage
from cli.demo.story.intake import MAILS, added_by, opened_by

REQUESTER = "ana.duarte@lumen-optics.example"


async def answered(stage: Stage) -> None:
    """The agent's answer goes out by mail; the answer to that mail comes back to the ticket."""
    stage.say("an agent answers; the requester answers our mail")
    opened = await opened_by(stage, message_id(MAILS[0], stage.run))
    ticket_id, number = opened["ticket_id"], opened["ticket"]["number"]
    thanks = await stage.eventually(lambda: _to_requester(stage, ticket_id, "acknowledgement"), "an acknowledgement")
    stage.check("requester gets an acknowledgement", thanks["subject"], passed=number in thanks["subject"])
    sent = time.monotonic()
    await stage.ask(
        "POST", f"/v1/tickets/{ticket_id}/messages", {"text": "We have renewed the sessions. Can you log in again?"}
    )
    ours = await stage.eventually(lambda: _to_requester(stage, ticket_id, "reply"), "our answer at the sink")
    told = stage.topics.find("notification.delivered", ticket_id=ticket_id, external_id=ours["message_id"]) or {}
    stage.check(
        "agent's answer → mail, threaded", ours["subject"], "in-reply-to" in ours["headers"], stage.since(sent, told)
    )
    mark = f"{stage.run}.login4@lumen-optics.example"
    to = _address(ours["headers"].get("reply-to", stage.addresses.support))
    sent = time.monotonic()
    text = "Two of us can, thank you. The others still see the same page."
    await mail(stage.addresses, REQUESTER, f"Re: {ours['subject']}", text, mark, to=to, answers=ours["message_id"])
    joined = await added_by(stage, mark)
    same = joined["ticket_id"] == ticket_id
    stage.check("reply to our mail → same ticket", joined["ticket"]["number"], same, stage.since(sent, joined))


async def solved_and_reopened(stage: Stage) -> None:
    """Solved with a resolution, told by mail, rated by its link; the next mail reopens."""
    stage.say("solved; the requester rates it, then writes again")
    opened = await opened_by(stage, message_id(MAILS[0], stage.run))
    ticket_id = opened["ticket_id"]
    path = f"/v1/tickets/{ticket_id}"
    refused = await stage.client.post(f"{path}/transitions", json={"to": "solved"})
    detail = f"{refused.status_code} {refused.json().get('detail', '')}"
    stage.check("solving without resolution → refused", detail, passed=refused.status_code in {409, 422})
    await stage.ask("POST", f"{path}/transitions", {"to": "solved", "resolution": "Sessions renewed."})
    solved = await stage.fact("ticket.status_changed", ticket_id=ticket_id, current="solved")
    told = await stage.eventually(lambda: _to_requester(stage, ticket_id, "resolution"), "the resolution mail")
    stage.check("solved → the requester is told", told["subject"], passed="Sessions renewed" in told["text"])
    link = next(url for url in told["links"] if "/v1/surveys/" in url)
    await stage.follow_link(link, {"score": "4", "comment": "Quick. The second office had to wait."})
    rated = await stage.fact("ticket.rated", ticket_id=ticket_id)
    stage.check("rated by the link in it", f"{rated['score']} of 5", passed=rated["score"] == 4)
    mark = f"{stage.run}.login3@lumen-optics.example"
    text = "Still the same on two machines."
    await mail(stage.addresses, REQUESTER, f"Re: {told['subject']}", text, mark, answers=told["message_id"])
    reopened = await stage.fact("ticket.status_changed", ticket_id=ticket_id, previous="solved")
    shown = await stage.ask("GET", path)
    cycles = reopened["cycle"] == solved["cycle"] + 1 == shown["cycle"]
    stage.check("writes again → reopened, new cycle", f"{shown['status']}, cycle {shown['cycle']}", passed=cycles)
    audit = await stage.ask("GET", f"{path}/audit?verify=true")
    stage.check("audit trail", _audited(audit), passed=audit["verified"])


async def _to_requester(stage: Stage, ticket_id: str, template: str) -> Mail | None:
    """The newest mail of a template about a ticket that the sink has for the requester."""
    delivered = {
        event.get("external_id")
        for event in stage.topics.of("notification.delivered", ticket_id=ticket_id, template=template)
    }
    mails = [one for one in await stage.sink.mails(to=REQUESTER) if one["message_id"] in delivered]
    return mails[-1] if mails else None


def _address(header: str) -> str:
    return header.rpartition("<")[2].rstrip("> ")


def _audited(audit: Mapping[str, Any]) -> str:
    return f"{len(audit['items'])} entries, chain {'verified' if audit['verified'] else 'broken'}"
