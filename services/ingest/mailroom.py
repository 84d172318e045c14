"""From the bytes of one mail to one stored message for each tenant it was sent to; the same for SMTP and mailboxes."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from contextlib import AbstractAsyncContextManager
from uuid import UUID

from services.ingest.archive import Archive
from services.ingest.domain import MAX_ATTACHMENTS, Draft, Outcome, participant, thread_key
from services.ingest.inbound import Destination, by_tenant, inbound_address, others
from services.ingest.intake import Intake
from services.ingest.mail.parse import Options, ParsedMail
from services.ingest.mail.references import MAX_ID
from services.ingest.parsing import Parser
from services.ingest.spool import Spool
from shared.contracts import ids
from shared.contracts.message import Channel

MAIL = "message/rfc822"


def source_of(mail: ParsedMail, receipt: str) -> str:
    """What makes two deliveries the same mail.

    Its Message-ID together with what it says: a copy to another address of ours is the same, another content under a
    copied Message-ID is not. Without a Message-ID its whole content; without a date as well nothing can be told apart
    from a repetition, and rather twice than never, each `receipt` is a mail of its own.
    """
    if mail.message_id is not None:
        return f"{mail.message_id}#{mail.fingerprint.hex()[:32]}"
    return mail.fingerprint.hex() if mail.dated else f"{mail.fingerprint.hex()}#{receipt}"


def text_of(mail: ParsedMail) -> str:
    """The text of the event: the mail's own, or a note when it could not be read."""
    if mail.quarantine is not None:
        return (
            f"This message could not be read within the bounds ({mail.quarantine}). "
            "Its original is kept; it can be opened or read again from the quarantine."
        )
    more = len(mail.files) - MAX_ATTACHMENTS
    return f"{mail.text}\n\n[{more} more attachments are in the original message.]" if more > 0 else mail.text


class Mailroom:
    """Takes whole mails."""

    def __init__(self, parser: Parser, archive: Archive, intake: Intake, options: Options) -> None:
        self._parser = parser
        self._archive = archive
        self._intake = intake
        self._options = options

    async def deliver(
        self, spool: Spool, *, return_path: str | None, destinations: Sequence[Destination], correlation: str
    ) -> list[Outcome]:
        """Store the mail for every tenant among `destinations`, all or none; after the commit.

        Raises what the database and the blob store raise; never for what the mail is. Calling it again with the same
        mail is safe.
        """
        options = self.options(return_path)
        async with self._parser.reading(spool, options) as mail:
            drafts = [
                await self.draft(tenant_id, mail, spool, mine, correlation)
                for tenant_id, mine in by_tenant(destinations).items()
            ]
        return await self._intake.accept(drafts)

    def reading(self, spool: Spool, options: Options) -> AbstractAsyncContextManager[ParsedMail]:
        """A mail, read; its files are there until the block ends."""
        return self._parser.reading(spool, options)

    def options(self, return_path: str | None) -> Options:
        """How to read a mail with this envelope sender (None: not known)."""
        given = self._options
        return Options(
            limits=given.limits,
            return_path=return_path,
            authserv_ids=given.authserv_ids,
            loop_token=given.loop_token,
        )

    async def draft(
        self,
        tenant_id: str,
        mail: ParsedMail,
        spool: Spool,
        destinations: Sequence[Destination],
        correlation: str,
        *,
        receipt: str | None = None,
    ) -> Draft:
        """One tenant's message; its bytes are in the blob store when this returns.

        `receipt` tells two receipts apart where the mail itself cannot; without it each is another.
        """
        original, body, attachments = await asyncio.gather(
            self._archive.original(tenant_id, spool.chunks(), MAIL),
            self._archive.body(tenant_id, text_of(mail), mail.html),
            self._archive.attachments(tenant_id, mail.files),
        )
        return Draft(
            tenant_id=tenant_id,
            message_id=ids.message_id(tenant_id, Channel.EMAIL, source_of(mail, receipt or uuid.uuid4().hex)),
            channel=Channel.EMAIL,
            sender=participant(tenant_id, mail.sender.address, mail.sender.name),
            recipients=tuple(
                participant(tenant_id, one.address, one.name) for one in others(destinations, mail.recipients)
            ),
            inbound_address=inbound_address(destinations, (one.address for one in mail.recipients)),
            fingerprint=mail.fingerprint,
            subject=mail.subject,
            body=body,
            attachments=attachments,
            original=original,
            external_id=mail.message_id[:MAX_ID] if mail.message_id is not None else None,
            keys=() if mail.message_id is None else (thread_key("mail", mail.message_id),),
            answers=tuple(thread_key("mail", one) for one in _answered(mail) if one != mail.message_id),
            report=mail.report,
            token_ticket_id=_token(destinations),
            ticket_number=mail.ticket_number,
            automatic=mail.automatic is not None,
            spoofed=mail.spoofed,
            accounts=tuple(dict.fromkeys(one.address for one in destinations)),
            quarantine=mail.quarantine,
            correlation=correlation,
        )


def _answered(mail: ParsedMail) -> tuple[str, ...]:
    """What it answers; a report also answers the mail it reports on."""
    reported = () if mail.report is None else mail.report.message_ids
    return tuple(dict.fromkeys((*mail.ancestors, *reported)))


def _token(destinations: Sequence[Destination]) -> UUID | None:
    return next((one.ticket_id for one in destinations if one.ticket_id is not None), None)
