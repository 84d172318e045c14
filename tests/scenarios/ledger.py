"""What must hold of a whole installation at rest: the checker of crash and replay scenarios."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Collection
from typing import Any

from tests.support.desk import Desk


async def conversations(desk: Desk) -> dict[str, list[str]]:
    """Ticket id → ids of its messages in their order, out of the bulk export."""
    found: dict[str, list[str]] = {}
    for line in await exported(desk):
        if line["kind"] == "ticket":
            found[line["state"]["ticket_id"]] = []
        else:
            found[line["ticket_id"]].append(line["message"]["message_id"])
    return found


async def exported(desk: Desk) -> list[dict[str, Any]]:
    """The lines of the bulk export."""
    answer = await desk.call("GET", "/v1/tickets/export", as_="manager")
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


async def digest(desk: Desk) -> str:
    """A fingerprint of every ticket, message, ledger and audit entry of the tenant."""
    rows = [json.dumps(line, sort_keys=True) for line in await exported(desk)]
    chain = await desk.installation.rows(
        "tickets",
        "SELECT ticket_id, number, encode(hash, 'hex') AS hash FROM audit WHERE tenant_id = $1 ORDER BY 1, 2",
        desk.tenant,
    )
    rows += [f"{row['ticket_id']} {row['number']} {row['hash']}" for row in chain]
    return hashlib.sha256("\n".join(sorted(rows)).encode()).hexdigest()


async def assert_each_in_exactly_one_ticket(desk: Desk, accepted: Collection[str]) -> None:
    """Every accepted message is in one conversation, once; nothing else is anywhere."""
    places = Counter(message for messages in (await conversations(desk)).values() for message in messages)
    missing = [message for message in accepted if places[message] == 0]
    twice = [message for message, count in places.items() if count > 1]
    assert not missing, f"{len(missing)} accepted messages are in no ticket: {missing[:5]}"
    assert not twice, f"{len(twice)} messages are in several places: {twice[:5]}"


async def assert_topic_equals_database(desk: Desk) -> None:
    """The newest `ticket.state` of each ticket is what the database says; numbers are unique; chains verify."""
    newest: dict[str, dict[str, Any]] = {}
    for fact in await desk.events("ticket.state"):
        assert fact.data is not None
        known = newest.get(fact.key)
        if known is None or known["revision"] <= fact.data["revision"]:
            newest[fact.key] = fact.data
    stored = {line["state"]["ticket_id"]: line["state"] for line in await exported(desk) if line["kind"] == "ticket"}
    assert newest.keys() == stored.keys()
    for ticket_id, state in stored.items():
        told = {name: value for name, value in newest[ticket_id].items() if name != "messages"}
        kept = {name: value for name, value in state.items() if name != "messages"}
        assert told == kept, f"ticket.state of {ticket_id} is not what the database says"
    numbers = Counter(state["ticket"]["number"] for state in stored.values())
    assert max(numbers.values(), default=1) == 1, [number for number, count in numbers.items() if count > 1]


async def assert_chains_verify(desk: Desk, tickets: Collection[str]) -> None:
    """The audit chains of these tickets are whole."""
    for ticket in tickets:
        chain = await desk.get(f"/v1/tickets/{ticket}/audit", as_="manager", params={"verify": "true", "limit": 1})
        assert chain["verified"] is True, (ticket, chain["flaws"])


async def assert_facts_once(desk: Desk) -> None:
    """One `ticket.created` per ticket; a fact that stands twice has the same id both times."""
    created = await desk.events("ticket.created")
    by_ticket: dict[str, set[str]] = {}
    for fact in created:
        by_ticket.setdefault(fact.key, set()).add(fact.id)
    assert [ticket for ticket, ids in by_ticket.items() if len(ids) > 1] == []
