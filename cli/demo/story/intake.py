"""Messages come in by HTTP and by mail, and become tickets."""

from __future__ import annotations

import time
from typing import Any

from cli.demo.entries import message_id, sample
from cli.demo.stage import Stage
from cli.demo.story import decided
from cli.demo.topics import Event

MAILS = (
    "01-login-en.eml",
    "02-rechnung-de.eml",
    "03-factura-es.eml",
    "04-shared-drive-fr.eml",
    "05-outage-ja.eml",
)
QUEUES = {"es": "spanish", "fr": "french"}
"""Languages with people of their own (seed 000 §3.2)."""
MESSAGES: tuple[dict[str, Any], ...] = (
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
    },
    {
        "channel": "partner",
        "sender": {"address": "desk@nordlicht-it.example", "name": "Nordlicht IT"},
        "subject": "Single sign-on loop for one of our customers",
        "text": "After the certificate change on Friday, users of one tenant are sent in circles between both pages.",
        "hints": {"affected_customers": 120},
    },
)
MANY = 20


async def by_http(stage: Stage) -> None:
    """One message each from a web form, the phone desk, a partner: a ticket for each."""
    stage.say("messages by HTTP: web form, phone desk, partner")
    for number, message in enumerate(MESSAGES):
        sent = time.monotonic()
        answer = await stage.submit(message, f"api-{number}")
        created = await stage.fact("ticket.created", ticket_id=answer["ticket_id"])
        took = stage.since(sent, created)
        state = await decided.settled(stage, answer["ticket_id"])
        outcome = decided.told(state["ticket"])
        stage.check(f"{message['channel']} message → ticket, triaged", outcome, passed=True, milliseconds=took)


async def repeated(stage: Stage) -> None:
    """The same Idempotency-Key again: the same answer, no second ticket."""
    stage.say("the first one again, with the same Idempotency-Key")
    first = await stage.submit(MESSAGES[0], "api-0")
    again = await stage.submit(MESSAGES[0], "api-0")
    tickets = stage.topics.of("ticket.created", ticket_id=first["ticket_id"])
    same = first["message_id"] == again["message_id"] and len(tickets) == 1
    stage.check("repeated request → same answer", f"{len(tickets)} ticket.created", passed=same)


async def by_mail(stage: Stage) -> None:
    """Mail in five languages: each finds its language, queue, priority and owner."""
    stage.say("mail by SMTP in five languages")
    for name in MAILS:
        sent = time.monotonic()
        answer = await sample(stage.addresses, name, run=stage.run)
        if not answer.startswith("250"):
            stage.check(f"mail {name}", answer, passed=False)
            continue
        created = await opened_by(stage, message_id(name, stage.run))
        took = stage.since(sent, created)
        ticket = (await decided.settled(stage, created["ticket_id"]))["ticket"]
        language = name.rsplit("-", 1)[1][:2]
        outcome = decided.told(ticket)
        right = ticket.get("language", "").startswith(language)
        right = right and ticket["queue"] == QUEUES.get(language, ticket["queue"])
        stage.check(f"mail ({language}) → ticket, language and queue", outcome, passed=right, milliseconds=took)


async def continued(stage: Stage) -> None:
    """A reply joins its ticket; the same mail twice is one; an automatic answer changes no state."""
    stage.say("a reply, the same mail again, an out-of-office answer")
    opened = await opened_by(stage, message_id(MAILS[0], stage.run))
    sent = time.monotonic()
    await sample(stage.addresses, "06-follow-up-en.eml", run=stage.run)
    joined = await added_by(stage, f"{stage.run}.login2@lumen-optics.example")
    stage.check(
        "reply by In-Reply-To → same ticket",
        joined["ticket"]["number"],
        passed=joined["ticket_id"] == opened["ticket_id"],
        milliseconds=stage.since(sent, joined),
    )
    await sample(stage.addresses, MAILS[0], run=stage.run)
    invoice = await opened_by(stage, message_id(MAILS[2], stage.run))
    await sample(stage.addresses, "07-away-en.eml", run=stage.run)
    away = await added_by(stage, f"{stage.run}.away@viajes-aurora.example")
    external = opened["message"].get("external_id")
    twice = [one for one in stage.topics.of("ticket.created") if one["message"].get("external_id") == external]
    stage.check("the same mail twice → one ticket", f"{len(twice)} ticket.created", passed=len(twice) == 1)
    stage.check(
        "out of office → noted, state unchanged",
        f"{away['ticket']['number']} {away['ticket']['status']}",
        passed=away["ticket_id"] == invoice["ticket_id"] and away["message"].get("automatic") is True,
    )


async def stranger(stage: Stage) -> None:
    """Who only knows a number does not get into the conversation."""
    stage.say("a stranger who quotes the ticket number")
    opened = await opened_by(stage, message_id(MAILS[0], stage.run))
    await sample(stage.addresses, "08-stranger-en.eml", run=stage.run, number=opened["ticket"]["number"])
    own = await opened_by(stage, f"{stage.run}.stranger@elsewhere.example")
    apart = own["ticket_id"] != opened["ticket_id"]
    stage.check("stranger quoting the number → his own", own["ticket"]["number"], passed=apart)


async def many_at_once(stage: Stage) -> None:
    """A batch in one request."""
    stage.say(f"{MANY} messages in one request")
    messages = [
        {
            "channel": "api",
            "source_id": f"{stage.run}-batch-{number}",
            "sender": {"address": f"user{number}@batch.example"},
            "subject": f"Nightly import reported a warning ({number + 1} of {MANY})",
            "text": "Imported by the integration.",
        }
        for number in range(MANY)
    ]
    sent = time.monotonic()
    answer = await stage.ask("POST", "/v1/messages", {"messages": messages})
    wanted = {result["ticket_id"] for result in answer["results"]}

    def all_there() -> Event | None:
        seen = [event for event in stage.topics.of("ticket.created") if event["ticket_id"] in wanted]
        return seen[-1] if len({event["ticket_id"] for event in seen}) == MANY else None

    last = await stage.until(all_there, "every ticket of the batch")
    stage.check(f"batch of {MANY} → {MANY} tickets", "each once", passed=True, milliseconds=stage.since(sent, last))


async def opened_by(stage: Stage, external_id: str) -> Event:
    """The `ticket.created` of a Message-ID. Raises MissingError."""
    return await stage.until(lambda: _with(stage, "ticket.created", external_id), f"ticket for {external_id}")


async def added_by(stage: Stage, external_id: str) -> Event:
    """The `ticket.message_added` of a Message-ID. Raises MissingError."""
    return await stage.until(lambda: _with(stage, "ticket.message_added", external_id), f"message {external_id}")


def _with(stage: Stage, topic: str, external_id: str) -> Event | None:
    found = (event for event in stage.topics.of(topic) if event["message"].get("external_id") == external_id)
    return next(found, None)
