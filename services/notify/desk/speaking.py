"""The language of what answers a message: triage finds it a moment after the ticket exists, and so long it is waited.

Whichever of the two is heard first: a language heard before its ticket is kept, and a mail that waits is handed over as
soon as triage has spoken, with or without a language.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import timedelta

from services.notify.desk.known import Notices
from services.notify.domain.planning import Planned, State
from services.notify.store import deliveries, languages
from services.notify.store.languages import TicketLanguage
from shared import tasks
from shared.contracts import cloudevents
from shared.contracts.decision import TicketDecisionApplied, TicketTriaged
from shared.contracts.event import Event
from shared.contracts.pack.notifications import Occasion
from shared.db import Tx
from shared.envelope import Received

TRIAGED = cloudevents.topic_name(TicketTriaged.TYPE)
"""What tickets calls triage's decisions."""


class Speaking:
    """Knows what waits for a language."""

    def __init__(self, patience: timedelta) -> None:
        """`patience`: how long after the ticket's creation triage is waited for."""
        self._patience = patience

    async def hear(self, tx: Tx, batch: Sequence[Received[Event]], sections: Mapping[str, Notices]) -> None:
        """Keep what triage says of languages, and hand over now what waited for it.

        `sections` has every tenant of a decision in the batch.
        """
        found = [
            TicketLanguage(ticket_id=e.ticket_id, tenant_id=e.tenant_id, language=e.ticket.language, at=one.time)
            for one in batch
            if isinstance(e := one.event, TicketDecisionApplied) and e.decision == TRIAGED
        ]
        if not found:
            return
        await languages.learn(tx, found)
        answering = {
            name
            for tenant in {one.tenant_id for one in found}
            for name, template in sections[tenant].section.templates.items()
            if template.submitted == "auto-replied"
        }
        waiting = await deliveries.waiting_answers(tx, {(one.tenant_id, one.ticket_id) for one in found}, answering)
        await tasks.hasten(tx, deliveries.MAIL, sorted(map(str, waiting)), self._patience)

    async def until_heard(self, tx: Tx, planned: Sequence[Planned]) -> list[Planned]:
        """Put off what answers a message in a language that nobody has named yet."""
        waiting = {one.id for one in planned if _speechless(one) and one.fact.at + self._patience > tx.instant}
        if not waiting:
            return list(planned)
        heard = await languages.known(tx, {one.fact.ticket_id for one in planned if one.id in waiting})
        return [
            replace(one, due_at=one.fact.at + self._patience)
            if one.id in waiting and one.fact.ticket_id not in heard
            else one
            for one in planned
        ]


def _speechless(one: Planned) -> bool:
    fact = one.fact
    return (
        one.answering
        and one.channel == "email"
        and one.state is State.WAITING
        and one.due_at is None
        and fact.occasion is Occasion.TICKET_CREATED
        and fact.ticket is not None
        and fact.ticket.language is None
    )
