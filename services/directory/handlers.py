"""What directory makes of messages: people whom nobody knew yet, and names of those who had none."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from services.directory.domain.people import sightings
from services.directory.domain.tenancy import TENANT
from services.directory.store import people, tenants
from shared.contracts.message import MessageReceived
from shared.db import Tx
from shared.envelope import Answer, Emit, NotYet, Received


async def on_message_received(tx: Tx, batch: Sequence[Received[MessageReceived]]) -> list[Answer]:
    """Make requesters of the people in a batch of messages; tell only of those who changed."""
    known = await tenants.known(tx, {received.event.tenant_id for received in batch})
    waiting: list[Received[Any]] = [received for received in batch if received.event.tenant_id not in known]
    if waiting:
        return [NotYet(received, TENANT, received.event.tenant_id) for received in waiting]
    seen = sightings(batch)
    changed = await people.see(tx, seen)
    if not changed:
        return []
    first = {(sighting.tenant_id, sighting.address): sighting.cause for sighting in seen}
    answers: list[Answer] = []
    for person in await people.load(tx, changed):
        causes = (first.get((person.tenant_id, address)) for address in person.addresses)
        answers.append(Emit(person.event(), cause=next(filter(None, causes), None)))
    return answers
