"""The story: what is sent in, and what must have come out. Every check reads a topic or an API, never our memory."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import httpx2

from cli.demo.entries import SAMPLES, Addresses, Topics, mail, raw_mail

PATIENCE = 30.0
"""Seconds a check waits for its event; nothing here takes that long on a working system."""
MAILS = (
    "01-login-en.eml",
    "02-rechnung-de.eml",
    "03-factura-es.eml",
    "04-shared-drive-fr.eml",
    "05-outage-ja.eml",
)
API_MESSAGES: tuple[dict[str, Any], ...] = (
    {
        "channel": "web",
        "sender": {"address": "p.nowak@zielony-most.example", "name": "Piotr Nowak"},
        "subject": "Export stops at 10,000 rows",
        "text": "The CSV export of our orders always ends at row 10,000, although the page counts 14,212.",
        "hints": {"product": "reports", "language": "en"},
    },
    {
        "channel": "phone",
        "sender": {"address": "+351 21 555 01 34", "name": "Helena Prata"},
        "subject": "Call back about a failed payment",
        "text": "Caller says the card was charged but the order shows unpaid. Wants a call back before noon.",
        "hints": {"priority": "P2"},
    },
    {
        "channel": "partner",
        "sender": {"address": "desk@nordlicht-it.example", "name": "Nordlicht IT"},
        "subject": "Single sign-on loop for one of our customers",
        "text": "After the certificate change on Friday, users of one tenant are sent in circles between both pages.",
        "hints": {"affected_customers": 120},
    },
)
BATCH = 20


@dataclass(frozen=True, kw_only=True)
class Check:
    """One thing that must have happened."""

    step: str
    outcome: str
    """What was seen, or what was missing."""
    passed: bool
    milliseconds: float | None = None


@dataclass(kw_only=True)
class Stage:
    """What every step works with."""

    addresses: Addresses
    client: httpx2.AsyncClient
    topics: Topics
    show: Callable[[], None]
    """Redraw: something may have changed."""
    say: Callable[[str], None]
    run: str
    """Marks this play's messages, so that it can be played again and again."""


async def play(stage: Stage) -> list[Check]:
    """Everything, in order; the checks."""
    checks = []
    for step in (_api, _repeated, _mails, _continued, _stranger, _solved, _batch):
        try:
            checks += await step(stage)
        except (httpx2.HTTPError, OSError, MissingError, KeyError) as error:
            told = f"{type(error).__name__}: {error}"
            checks.append(Check(step=step.__name__.strip("_"), outcome=told, passed=False))
        stage.show()
    return checks


class MissingError(Exception):
    """Something did not happen in time."""


async def _api(stage: Stage) -> list[Check]:
    """One message by HTTP each: a ticket appears for each."""
    stage.say("messages by HTTP: web, phone, partner")
    checks = []
    for number, message in enumerate(API_MESSAGES):
        sent = time.monotonic()
        answer = await _post(stage, message, f"{stage.run}-api-{number}")
        checks.append(await _created(stage, answer["ticket_id"], f"{message['channel']} message → ticket", sent))
    return checks


async def _repeated(stage: Stage) -> list[Check]:
    """The same Idempotency-Key again: the same ids, no second ticket."""
    stage.say("the first one again, with the same Idempotency-Key")
    first = await _post(stage, API_MESSAGES[0], f"{stage.run}-api-0")
    again = await _post(stage, API_MESSAGES[0], f"{stage.run}-api-0")
    tickets = [event for event in stage.topics.of("ticket.created") if event["ticket_id"] == first["ticket_id"]]
    same = first["message_id"] == again["message_id"] and len(tickets) == 1
    return [Check(step="repeated request → same answer", outcome=f"{len(tickets)} ticket.created", passed=same)]


async def _batch(stage: Stage) -> list[Check]:
    """Many at once."""
    stage.say(f"{BATCH} messages in one request")
    messages = [
        {
            "channel": "api",
            "source_id": f"{stage.run}-batch-{number}",
            "sender": {"address": f"user{number}@batch.example"},
            "subject": f"Nightly import reported a warning ({number + 1} of {BATCH})",
            "text": "Imported by the integration.",
        }
        for number in range(BATCH)
    ]
    sent = time.monotonic()
    answer = await stage.client.post("/v1/messages", json={"messages": messages})
    answer.raise_for_status()
    wanted = {result["ticket_id"] for result in answer.json()["results"]}

    def all_there() -> Mapping[str, Any] | None:
        seen = [event for event in stage.topics.of("ticket.created") if event["ticket_id"] in wanted]
        return seen[-1] if len({event["ticket_id"] for event in seen}) == BATCH else None

    last = await _until(stage, all_there, "every ticket of the batch")
    took = (stage.topics.read_at(last) - sent) * 1000
    return [Check(step=f"batch of {BATCH} → {BATCH} tickets", outcome="each once", passed=True, milliseconds=took)]


async def _mails(stage: Stage) -> list[Check]:
    """Mail in five languages by SMTP."""
    stage.say("mail by SMTP in five languages")
    checks = []
    for name in MAILS:
        sent = time.monotonic()
        answer = await mail(stage.addresses, name, run=stage.run)
        if not answer.startswith("250"):
            checks.append(Check(step=f"mail {name}", outcome=answer, passed=False))
            continue
        message = await _by_external_id(stage, name)
        took = (stage.topics.read_at(message) - sent) * 1000
        ticket = message["ticket"]
        checks.append(
            Check(
                step=f"mail ({name.rsplit('-', 1)[1][:2]}) → ticket",
                outcome=f"{ticket['number']} {ticket['subject']}",
                passed=True,
                milliseconds=took,
            )
        )
        stage.show()
    return checks


async def _continued(stage: Stage) -> list[Check]:
    """A reply joins its ticket; the same mail twice is one; an automatic answer changes no state."""
    stage.say("a reply, the same mail again, an out-of-office answer")
    opened = await _by_external_id(stage, MAILS[0])
    sent = time.monotonic()
    await mail(stage.addresses, "06-follow-up-en.eml", run=stage.run)
    joined = await _added(stage, f"{stage.run}.login2@lumen-optics.example")
    took = (stage.topics.read_at(joined) - sent) * 1000
    await mail(stage.addresses, MAILS[0], run=stage.run)
    reports = await _by_external_id(stage, MAILS[2])
    await mail(stage.addresses, "07-away-en.eml", run=stage.run)
    away = await _added(stage, f"{stage.run}.away@viajes-aurora.example")
    twice = [
        event
        for event in stage.topics.of("ticket.created")
        if event["message"].get("external_id") == opened["message"].get("external_id")
    ]
    return [
        Check(
            step="reply by In-Reply-To → same ticket",
            outcome=joined["ticket"]["number"],
            passed=joined["ticket_id"] == opened["ticket_id"],
            milliseconds=took,
        ),
        Check(step="the same mail twice → one ticket", outcome=f"{len(twice)} ticket.created", passed=len(twice) == 1),
        Check(
            step="out of office → noted, state unchanged",
            outcome=f"{away['ticket']['number']} {away['ticket']['status']}",
            passed=away["ticket_id"] == reports["ticket_id"] and away["message"].get("automatic") is True,
        ),
    ]


async def _stranger(stage: Stage) -> list[Check]:
    """Who only knows a number does not get into the conversation."""
    stage.say("a stranger who quotes the ticket number")
    opened = await _by_external_id(stage, MAILS[0])
    await mail(stage.addresses, "08-stranger-en.eml", run=stage.run, number=opened["ticket"]["number"])
    own = await _by_external_id(stage, f"{stage.run}.stranger@elsewhere.example")
    return [
        Check(
            step="stranger quoting the number → own ticket",
            outcome=own["ticket"]["number"],
            passed=own["ticket_id"] != opened["ticket_id"],
        )
    ]


async def _solved(stage: Stage) -> list[Check]:
    """An agent answers and solves through the API; the requester's next mail reopens."""
    stage.say("an answer, solved, and the requester writes again")
    opened = await _by_external_id(stage, MAILS[0])
    path = f"/v1/tickets/{opened['ticket_id']}"
    if not (await _json(stage, "GET", path)).get("assignee_id"):
        return [Check(step="agent solves the ticket", outcome="nobody owns it", passed=False)]
    await _json(stage, "POST", f"{path}/messages", {"text": "We have renewed the sessions. Can you log in again?"})
    refused = await stage.client.post(f"{path}/transitions", json={"to": "solved"})
    await _json(stage, "POST", f"{path}/transitions", {"to": "solved", "resolution": "Sessions renewed."})
    solved = await _until(
        stage,
        lambda: stage.topics.find("ticket.status_changed", ticket_id=opened["ticket_id"], current="solved"),
        "ticket.status_changed to solved",
    )
    reply = (
        f"From: ana.duarte@lumen-optics.example\r\nTo: {stage.addresses.support}\r\n"
        f"Subject: Re: Cannot log in since this morning\r\nMessage-ID: <{stage.run}.login3@lumen-optics.example>\r\n"
        f"In-Reply-To: <{stage.run}.login@lumen-optics.example>\r\n\r\nStill the same on two machines.\r\n"
    )
    await raw_mail(stage.addresses, "ana.duarte@lumen-optics.example", reply.encode())
    reopened = await _until(
        stage,
        lambda: stage.topics.find("ticket.status_changed", ticket_id=opened["ticket_id"], previous="solved"),
        "ticket.status_changed from solved",
    )
    shown = await _json(stage, "GET", path)
    audit = await _json(stage, "GET", f"{path}/audit?verify=true")
    return [
        Check(
            step="solving without a resolution → refused",
            outcome=f"{refused.status_code} {refused.json().get('detail', '')}",
            passed=refused.status_code in {409, 422},
        ),
        Check(step="solved with a resolution", outcome=solved["ticket"]["number"], passed=True),
        Check(
            step="requester writes again → reopened, new cycle",
            outcome=f"{shown['status']}, cycle {shown['cycle']}",
            passed=reopened["cycle"] == 2 and shown["cycle"] == 2,
        ),
        Check(step="audit trail", outcome=_audit_outcome(audit), passed=audit["verified"]),
    ]


def _audit_outcome(audit: Mapping[str, Any]) -> str:
    return f"{len(audit['items'])} entries, chain {'verified' if audit['verified'] else 'broken'}"


# --- reading ---------------------------------------------------------------------------------------------------------


async def _post(stage: Stage, message: Mapping[str, Any], key: str) -> dict[str, Any]:
    answer = await stage.client.post("/v1/messages", json=dict(message), headers={"Idempotency-Key": key})
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _json(stage: Stage, method: str, path: str, body: Mapping[str, Any] | None = None) -> dict[str, Any]:
    answer = await stage.client.request(method, path, json=body)
    answer.raise_for_status()
    found: dict[str, Any] = answer.json()
    return found


async def _created(stage: Stage, ticket_id: str, step: str, sent: float) -> Check:
    event = await _until(stage, lambda: stage.topics.find("ticket.created", ticket_id=ticket_id), "ticket.created")
    ticket = event["ticket"]
    took = (stage.topics.read_at(event) - sent) * 1000
    return Check(step=step, outcome=f"{ticket['number']} {ticket['subject']}", passed=True, milliseconds=took)


async def _by_external_id(stage: Stage, name: str) -> Mapping[str, Any]:
    """The ticket.created of a sample or of a Message-ID."""
    wanted = name if "@" in name else _message_id(name, stage.run)
    return await _until(stage, lambda: _with_message(stage.topics.of("ticket.created"), wanted), f"a ticket for {name}")


async def _added(stage: Stage, external_id: str) -> Mapping[str, Any]:
    found = stage.topics.of
    return await _until(
        stage,
        lambda: _with_message(found("ticket.message_added"), external_id),
        f"ticket.message_added: {external_id}",
    )


def _with_message(events: Sequence[Mapping[str, Any]], external_id: str) -> Mapping[str, Any] | None:
    return next((event for event in events if event["message"].get("external_id") == external_id), None)


def _message_id(name: str, run: str) -> str:
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return text.split("Message-ID: <", 1)[1].split(">", 1)[0].replace("{run}", run)


async def _until(
    stage: Stage, find: Callable[[], Mapping[str, Any] | None], what: str, patience: float = PATIENCE
) -> Mapping[str, Any]:
    deadline = time.monotonic() + patience
    while True:
        found = find()
        if found is not None:
            return found
        left = deadline - time.monotonic()
        if left <= 0:
            raise MissingError(f"no {what} within {patience:.0f} s")
        await stage.topics.more(min(left, 1.0))
        stage.show()


def new_run() -> str:
    """A mark for one play."""
    return f"demo-{uuid4().hex[:8]}"
