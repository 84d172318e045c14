"""What others see: search finds the ticket, and another team's endpoint was called with signed events."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Mapping
from typing import Any

from cli.demo.entries import message_id
from cli.demo.stage import Stage
from cli.demo.story.intake import MAILS, opened_by

ENDPOINT = "other-team"
WORDS = "session expired login"


async def found(stage: Stage) -> None:
    """The ticket is found by its words, and by what its state is."""
    stage.say("search")
    opened = await opened_by(stage, message_id(MAILS[0], stage.run))
    sent = time.monotonic()

    async def search() -> Mapping[str, Any] | None:
        items = (await stage.ask("GET", f"/v1/search?q={WORDS.replace(' ', '+')}&limit=10"))["items"]
        return next((item for item in items if item["ticket_id"] == opened["ticket_id"]), None)

    hit = await stage.eventually(search, "the ticket among the results")
    took = (time.monotonic() - sent) * 1000
    stage.check("search finds the ticket", f"{hit['number']} {hit['subject']}", True, took)


async def called(stage: Stage) -> None:
    """Every webhook call carries a signature that holds (Standard Webhooks)."""
    stage.say("webhooks")
    name = f"{ENDPOINT}-{stage.run}"
    secret = stage.secrets[name]
    first = message_id(MAILS[0], stage.run)
    opened = await opened_by(stage, first)

    async def there() -> list[Mapping[str, Any]] | None:
        calls = await stage.sink.calls(name)
        told = [json.loads(call["body"]) for call in calls]
        mine = [
            one
            for one in told
            if one["type"].startswith("ticket.created") and one["data"]["ticket_id"] == opened["ticket_id"]
        ]
        return calls if mine else None

    calls = await stage.eventually(there, "a webhook call about the first mail")
    valid = [call for call in calls if _signed(call, secret)]
    kinds = {json.loads(call["body"])["type"] for call in calls}
    told = f"{len(calls)} calls, {len(kinds)} types, {len(valid)} signatures hold"
    stage.check("signed webhooks arrive", told, passed=len(valid) == len(calls) and len(calls) > 0)
    ids = [call["headers"]["webhook-id"] for call in calls]
    stage.check("each event once", f"{len(set(ids))} ids of {len(ids)} calls", passed=len(set(ids)) == len(ids))


def _signed(call: Mapping[str, Any], secret: str) -> bool:
    """Whether one of the signatures in the header is right."""
    headers = call["headers"]
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{headers['webhook-id']}.{headers['webhook-timestamp']}.{call['body']}".encode()
    right = "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()
    return any(hmac.compare_digest(right, given) for given in headers["webhook-signature"].split())
