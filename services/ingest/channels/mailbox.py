"""Mailboxes polled over IMAP: every mail is stored once, and the cursor moves in the transaction that stores it.

One instance reads a mailbox at a time, under a lease that every batch renews and checks. A crash anywhere between
fetch and commit repeats the batch; a server that numbers its mails anew (UIDVALIDITY) has the folder read again. In
both cases mails known already are told by their Message-ID and content.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TypeVar
from uuid import UUID

from services.ingest.channels.imap import Account, Connection, Item, MailboxError
from services.ingest.domain import Draft
from services.ingest.inbound import account, answered_tickets
from services.ingest.intake import Intake
from services.ingest.mail.limits import Bound
from services.ingest.mail.parse import salvage
from services.ingest.mailroom import Mailroom
from services.ingest.settings import Settings
from services.ingest.spool import Spool
from services.ingest.store import mailboxes as store
from services.ingest.store.mailboxes import Cursor
from shared.auth import SecretError, mail_token, unwrap, wrap
from shared.db import Database, Record, Tx, is_connection_failure
from shared.egress.rules import networks

AT_ONCE = 4
"""Mailboxes read at the same time by one instance."""
BATCH, BATCH_BYTES = 50, 8 * 1024 * 1024
"""Mails, and bytes of them, that one transaction stores."""
LOOK = 200
"""Mails whose size is asked for at once."""
LOOK_EVERY = 0.5
CALL_SECONDS = 120.0
"""How long one call to a server may take in all; a lease is longer."""
_SECRET = "mailbox"  # noqa: S105 - what the key is for

T = TypeVar("T")

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Checked:
    """What a mailbox said when it was tried."""

    problem: str | None
    detail: str
    mails: int | None = None


class Mailboxes:
    """Reads the mailboxes of all tenants."""

    def __init__(
        self, settings: Settings, database: Database, mailroom: Mailroom, intake: Intake, master: bytes
    ) -> None:
        self._settings = settings
        self._database = database
        self._mailroom = mailroom
        self._intake = intake
        self._master = master
        self._token_key = mail_token.key_of(master)
        self._threads = ThreadPoolExecutor(AT_ONCE + 1, thread_name_prefix="imap")

    def wrapped(self, password: str) -> bytes:
        """A password as it is stored."""
        return wrap(self._master, password.encode(), _SECRET)

    async def check(self, row: Record) -> Checked:
        """Open a mailbox and close it again; what is wrong, if anything."""
        try:
            connection = await self._call(Connection.open, self._account(row))
        except MailboxError as error:
            return Checked(error.problem, error.detail)
        await self._call(connection.close)
        return Checked(None, "It can be read.", connection.folder.exists)

    async def run(self) -> None:
        """Read what is due until cancelled; a batch in hand is then finished or repeated later."""
        token = uuid.uuid4()
        reading: set[asyncio.Task[None]] = set()
        try:
            while True:
                reading = {task for task in reading if not task.done()}
                if len(reading) < AT_ONCE:
                    for row in await self._due(token, AT_ONCE - len(reading)):
                        reading.add(asyncio.create_task(self.read(row, token), name="mailbox"))
                await asyncio.wait({*reading, asyncio.create_task(asyncio.sleep(LOOK_EVERY))}, timeout=LOOK_EVERY * 2)
        finally:
            for task in reading:
                task.cancel()
            if reading:
                await asyncio.wait(reading)
            self._threads.shutdown(wait=False, cancel_futures=True)

    async def _due(self, token: UUID, most: int) -> list[Record]:
        try:
            return await store.claim(self._database, token, most)
        except Exception as error:
            if not is_connection_failure(error):
                raise
            return []

    async def read(self, row: Record, token: UUID) -> None:
        """Read one mailbox that we have the lease of, and write down how it went. Raises nothing but cancellation."""
        mailbox_id = row["mailbox_id"]
        try:
            await self._read(row, token)
            await store.succeeded(self._database, mailbox_id, token)
        except MailboxError as error:
            logger.warning("mailbox not read", extra={"mailbox": str(mailbox_id), "reason": error.problem})
            await self._note(row, token, error.problem, error.detail)
        except store.LeaseLostError:
            logger.info("mailbox went elsewhere", extra={"mailbox": str(mailbox_id)})
        except Exception as error:
            logger.warning("mailbox not stored", extra={"mailbox": str(mailbox_id)}, exc_info=error)
            await self._note(row, token, "storage", type(error).__name__)
        except asyncio.CancelledError:
            try:
                await store.released(self._database, mailbox_id, token)
            except Exception as error:  # noqa: BLE001 - it runs out by itself
                logger.info("lease left to run out", extra={"reason": type(error).__name__})
            raise

    async def _note(self, row: Record, token: UUID, problem: str, detail: str) -> None:
        pause = pause_after(problem, row["failures"], row["interval_seconds"])
        try:
            await store.failed(self._database, row["mailbox_id"], token, problem=problem, detail=detail, pause=pause)
        except Exception as error:
            if not is_connection_failure(error):
                raise

    async def _read(self, row: Record, token: UUID) -> None:
        connection = await self._call(Connection.open, self._account(row))
        try:
            cursor = await self._begin(connection, row, token)
            uids = await self._call(connection.after, cursor.last_uid)
            for start in range(0, len(uids), LOOK):
                for batch in batches(await self._call(connection.look, uids[start : start + LOOK])):
                    cursor = replace(cursor, last_uid=batch[-1].uid)
                    await self._store(connection, row, token, batch, cursor)
        finally:
            await self._end(connection)

    async def _begin(self, connection: Connection, row: Record, token: UUID) -> Cursor:
        """Where to go on."""
        uidvalidity = connection.folder.uidvalidity
        if row["uidvalidity"] == uidvalidity:
            return Cursor(
                uidvalidity=uidvalidity,
                last_uid=row["last_uid"],
                not_before=row["not_before"],
                anew_to=row["anew_to"],
            )
        if row["uidvalidity"] is not None:
            logger.warning("mailbox is numbered anew", extra={"mailbox": str(row["mailbox_id"])})
            last = await self._call(connection.last_uid)
            return Cursor(uidvalidity=uidvalidity, last_uid=0, not_before=row["not_before"], anew_to=last)
        if row["begin_with"] == "all":
            return Cursor(uidvalidity=uidvalidity, last_uid=0, not_before=None)
        last = await self._call(connection.last_uid)
        async with self._database.begin() as tx:
            cursor = Cursor(uidvalidity=uidvalidity, last_uid=last, not_before=tx.instant)
            await store.advance(tx, row["mailbox_id"], token, cursor, stored=0)
        return cursor

    async def _store(
        self,
        connection: Connection,
        row: Record,
        token: UUID,
        batch: Sequence[Item],
        cursor: Cursor,
    ) -> None:
        """Fetch a batch, and store it with the cursor."""
        drafts: list[Draft] = []
        fetched: list[int] = []
        for item in batch:
            if cursor.skips(item.uid, item.received_at):
                continue
            too_large = item.size > self._settings.mail_bytes
            raw = await self._call(connection.fetch, item.uid, head_only=too_large)
            if raw is not None:
                drafts.append(await self._draft(row, item, raw, too_large=too_large))
                fetched.append(item.uid)

        async def advance(tx: Tx) -> None:
            await store.advance(tx, row["mailbox_id"], token, cursor, stored=len(drafts))

        await self._intake.accept_with(drafts, advance)
        if fetched and row["after_import"] != "keep":
            await self._call(connection.mark, fetched, row["move_to"] if row["after_import"] == "move" else None)

    async def _draft(self, row: Record, item: Item, raw: bytes, *, too_large: bool) -> Draft:
        spool = Spool.of(raw)
        # The same mail under another number, after the server counts anew, is still the same.
        receipt = f"{row['mailbox_id']}:{item.received_at.isoformat()}"
        options = self._mailroom.options(None)
        tenant_id = row["tenant_id"]
        try:
            if too_large:
                mail = await asyncio.to_thread(salvage, raw, Bound.TOO_LARGE.value, options)
                places = [account(tenant_id, row["address"])]
                draft = await self._mailroom.draft(tenant_id, mail, spool, places, uuid.uuid4().hex, receipt=receipt)
            else:
                async with self._mailroom.reading(spool, options) as mail:
                    told = (*mail.delivered_to, *(one.address for one in mail.recipients))
                    places = [
                        account(tenant_id, row["address"]),
                        *answered_tickets(tenant_id, told, self._token_key),
                    ]
                    draft = await self._mailroom.draft(
                        tenant_id, mail, spool, places, uuid.uuid4().hex, receipt=receipt
                    )
        finally:
            spool.close()
        return replace(draft, received_at=item.received_at)

    def _account(self, row: Record) -> Account:
        try:
            password = unwrap(self._master, row["password"], _SECRET).decode()
        except SecretError as error:
            raise MailboxError("auth", "the password was stored under another master key; set it again") from error
        return Account(
            host=row["host"],
            port=row["port"],
            tls=row["tls"],
            username=row["username"],
            password=password,
            folder=row["folder"],
            writable=row["after_import"] != "keep",
            ca_file=self._settings.imap_ca_file,
            allowed_networks=networks(self._settings.imap_allowed_networks),
        )

    async def _call(self, function: Callable[..., T], *arguments: object, **named: object) -> T:
        """Run a blocking call in a thread of our own. Raises MailboxError."""
        loop = asyncio.get_running_loop()
        try:
            async with asyncio.timeout(CALL_SECONDS):
                return await loop.run_in_executor(self._threads, lambda: function(*arguments, **named))
        except TimeoutError as error:
            raise MailboxError("timeout", "the server took too long") from error

    async def _end(self, connection: Connection) -> None:
        try:
            await self._call(connection.close)
        except MailboxError:
            connection.cut()


def batches(items: Sequence[Item]) -> list[list[Item]]:
    """Mails in slices that one transaction stores."""
    found: list[list[Item]] = []
    size = 0
    for item in items:
        if not found or len(found[-1]) >= BATCH or size + item.size > BATCH_BYTES:
            found.append([])
            size = 0
        found[-1].append(item)
        size += item.size
    return found


def pause_after(problem: str, failures: int, interval: float) -> timedelta:
    """How long to leave a mailbox alone after that many failures in a row and this one.

    A refused password is tried more rarely: servers lock accounts that are tried too often.
    """
    first, most = (max(interval, 60.0), 3600.0) if problem == "auth" else (max(interval, 1.0), 900.0)
    return timedelta(seconds=min(first * 2 ** min(failures, 12), max(most, interval)))
