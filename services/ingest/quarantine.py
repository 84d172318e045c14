"""Reading a quarantined mail again, with wider bounds and on somebody's request."""

from __future__ import annotations

from dataclasses import replace
from uuid import UUID

from services.ingest.archive import Blobs
from services.ingest.domain import Outcome
from services.ingest.inbound import account
from services.ingest.intake import Intake
from services.ingest.mail.limits import Limits
from services.ingest.mailroom import Mailroom
from services.ingest.parsing import Parser
from services.ingest.spool import Spool
from services.ingest.store import messages as store
from shared.contracts import ids
from shared.contracts.message import Channel
from shared.db import Database

WIDER = Limits(parts=20_000, depth=200, header_bytes=2_000_000, seconds=30.0, raw_bytes=100 * 1024 * 1024)


class StillUnreadableError(Exception):
    """The wider bounds were passed too, or the mail is broken beyond them."""

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason


class Quarantine:
    """Messages that could not be read."""

    def __init__(self, database: Database, blobs: Blobs, parser: Parser, mailroom: Mailroom, intake: Intake) -> None:
        self._database = database
        self._blobs = blobs
        self._parser = parser
        self._mailroom = mailroom
        self._intake = intake

    async def replay(self, tenant_id: str, message_id: UUID, correlation: str) -> Outcome:
        """Read the original again and store what it says as an answer to the note that stands for it.

        Doing it twice gives the same message. Raises LookupError for what is not in this tenant's quarantine, and
        StillUnreadableError.
        """
        row = await store.message(self._database, tenant_id, message_id)
        if row is None or row["reason"] is None or row["original_sha256"] is None:
            raise LookupError(message_id)
        spool = Spool.of(await self._blobs.get(tenant_id, row["original_sha256"].hex()))
        try:
            options = replace(self._mailroom.options(None), limits=WIDER)
            async with self._parser.reading(spool, options) as mail:
                if mail.quarantine is not None:
                    raise StillUnreadableError(mail.quarantine)
                places = [account(tenant_id, one) for one in row["accounts"] or []]
                draft = await self._mailroom.draft(tenant_id, mail, spool, places, correlation)
        finally:
            spool.close()
        again = replace(
            draft,
            message_id=ids.message_id(tenant_id, Channel.EMAIL, f"replay:{message_id}"),
            keys=(),
            answers=(),
            answers_ids=(message_id,),
            token_ticket_id=None,
        )
        (outcome,) = await self._intake.accept([again])
        await store.mark_replayed(self._database, tenant_id, message_id, outcome.message_id)
        return outcome
