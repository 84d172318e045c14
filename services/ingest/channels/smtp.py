"""The SMTP listener (RFC 5321): `250` after the commit and never before it.

While the database or the blob store is away every mail is answered `451`, so that its sender keeps it and comes
again. Several tenants' recipients in one transaction become one message for each; the answer covers all of them.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import ssl
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from aiosmtpd.smtp import SMTP, Envelope, Session
from typing_extensions import override

from services.ingest import inbound
from services.ingest.channels.smtp_data import Data
from services.ingest.inbound import Destination
from services.ingest.intake import BusyError
from services.ingest.mailroom import Mailroom
from services.ingest.measures import Measures
from services.ingest.settings import Settings
from services.ingest.spool import Spool
from services.ingest.store import messages as store
from shared.db import Database, is_connection_failure

RECIPIENTS = 1_000
"""Recipients of one transaction; RFC 5321 §4.5.3.1.8 asks for at least 100."""
LINE = 65_536
"""Bytes read at a time. Lines of any length are taken: senders break the limit of RFC 5321, and nothing is dropped."""
COMMAND_SECONDS = 300.0
"""RFC 5321 §4.5.3.2: how long a client may be silent."""
DATA_SECONDS = 600.0
"""How long one mail may take to come."""
SLOT_SECONDS = 10.0
"""How long a client waits for its turn before it is asked to come again."""

logger = logging.getLogger(__name__)
# aiosmtpd logs every command, addresses included.
logging.getLogger("mail.log").setLevel(logging.WARNING)


class _Letter(Envelope):
    """One transaction: also whose its recipients are."""

    def __init__(self) -> None:
        super().__init__()
        self.destinations: list[Destination] = []


class _Full(asyncio.Protocol):
    """What a connection gets when there are too many."""

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        if isinstance(transport, asyncio.WriteTransport):
            transport.write(b"421 4.3.2 Too many connections, come again later\r\n")
        transport.close()


class _Protocol(SMTP):
    """aiosmtpd's protocol with DATA written to a spool as it comes, whatever the length of its lines."""

    line_length_limit = LINE

    def __init__(self, desk: Reception, **options: Any) -> None:
        self.desk = desk
        super().__init__(desk, **options)

    @override
    def _create_envelope(self) -> Envelope:
        return _Letter()

    @override
    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.desk.connections.add(self)
        super().connection_made(transport)

    @override
    def connection_lost(self, error: Exception | None) -> None:
        self.desk.connections.discard(self)
        super().connection_lost(error)

    @override
    async def smtp_DATA(self, arg: str) -> None:
        if await self.check_helo_needed():
            return
        letter = self.envelope
        if not isinstance(letter, _Letter) or not letter.destinations:
            await self.push("503 5.5.1 Error: need RCPT command")
        elif arg:
            await self.push("501 5.5.4 Syntax: DATA")
        else:
            async with self.desk.slot() as free:
                if free:
                    await self._take(letter)
                else:
                    self.desk.measures.refused("busy")
                    await self.push("452 4.3.1 Too busy, come again later")

    async def _take(self, letter: _Letter) -> None:
        spool = Spool()
        try:
            await self.push("354 End data with <CR><LF>.<CR><LF>")
            self._reset_timeout(DATA_SECONDS)
            status = await self._receive(spool)
            if status is None:
                status = await self.desk.deliver(letter, spool)
        finally:
            spool.close()
        self._reset_timeout()
        self._set_post_data_state()  # type: ignore[no-untyped-call]
        await self.push(status)

    async def _receive(self, spool: Spool) -> str | None:
        """Write the mail to `spool`; what to answer when it cannot be taken. It is read to its end either way."""
        data = Data()
        failed: str | None = None
        while data.rest is None:
            piece = await self._reader.read(LINE)
            if not piece:
                raise ConnectionResetError("the client left within DATA")
            content = data.feed(piece)
            if failed is None:
                failed = self._write(spool, content)
        # Commands sent along with the end of the data wait for their turn.
        self._reader._buffer[:0] = data.rest  # type: ignore[attr-defined]  # noqa: SLF001 - as aiosmtpd does itself
        return failed

    def _write(self, spool: Spool, piece: bytes) -> str | None:
        """Append; what to answer at the end when that is impossible."""
        if spool.size + len(piece) > self.desk.most_bytes:
            spool.close()
            self.desk.measures.refused("size")
            return "552 5.3.4 Error: message exceeds the maximum size"
        try:
            spool.write(piece)
        except OSError as error:
            logger.error("mail cannot be spooled", extra={"reason": error.strerror})
            spool.close()
            self.desk.measures.refused("disk")
            return "452 4.3.1 Insufficient storage, come again later"
        return None


class Reception:
    """What the protocol asks while a mail comes in; also the listener's loop."""

    def __init__(
        self, settings: Settings, database: Database, mailroom: Mailroom, measures: Measures, *, token_key: bytes
    ) -> None:
        self.connections: set[_Protocol] = set()
        self.most_connections = settings.smtp_connections
        self.most_bytes = settings.mail_bytes
        self.measures = measures
        self.port = 0
        """The port listened on; 0 before and after."""
        self._settings = settings
        self._database = database
        self._mailroom = mailroom
        self._token_key = token_key
        self._slots = asyncio.Semaphore(settings.smtp_mails)
        self._delivering: set[asyncio.Task[list[Any]]] = set()

    async def run(self) -> None:
        """Listen until cancelled; mails whose data has come are then still stored and answered."""
        loop = asyncio.get_running_loop()
        server = await loop.create_server(self._protocol, self._settings.smtp_host, self._settings.smtp_port)
        self.port = server.sockets[0].getsockname()[1]
        logger.info("listening for mail", extra={"host": self._settings.smtp_host, "port": self.port})
        try:
            await server.serve_forever()
        finally:
            self.port = 0
            server.close()
            if self._delivering:
                await asyncio.wait(self._delivering, timeout=self._settings.drain_seconds)
            for connection in list(self.connections):
                if connection.transport is not None:
                    connection.transport.close()

    async def ready(self) -> None:
        """Readiness: the port is open."""
        if not self.port:
            raise ConnectionError("not listening")

    def _protocol(self) -> asyncio.Protocol:
        if len(self.connections) >= self.most_connections:
            self.measures.refused("connections")
            return _Full()
        return _Protocol(
            self,
            data_size_limit=self._settings.mail_bytes,
            enable_SMTPUTF8=True,
            hostname=self._settings.smtp_name,
            ident="Deskwire",
            tls_context=_tls(self._settings),
            timeout=COMMAND_SECONDS,
            auth_exclude_mechanism=["LOGIN", "PLAIN"],
            loop=asyncio.get_running_loop(),
        )

    @contextlib.asynccontextmanager
    async def slot(self) -> AsyncIterator[bool]:
        """A place for one mail in hand; False when there was none in time."""
        try:
            async with asyncio.timeout(SLOT_SECONDS):
                await self._slots.acquire()
        except TimeoutError:
            yield False
            return
        try:
            yield True
        finally:
            self._slots.release()

    async def handle_RCPT(  # noqa: N802 - aiosmtpd's name and order
        self, server: SMTP, session: Session, envelope: _Letter, address: str, options: list[str]
    ) -> str:
        """Whether somebody here has this address."""
        del server, session, options
        if len(envelope.rcpt_tos) >= RECIPIENTS:
            self.measures.refused("recipients")
            return "452 4.5.3 Too many recipients"
        address = address.encode("utf-8", "replace").decode()
        try:
            found = await store.claims(self._database, inbound.places(address))
        except Exception as error:  # noqa: BLE001 - whatever is wrong here, the sender comes again
            return self._refusal(error)
        mine = inbound.destination(address, found, self._token_key)
        if mine is None:
            self.measures.refused("unknown")
            return "550 5.1.1 No such recipient here"
        envelope.rcpt_tos.append(address)
        envelope.destinations.append(mine)
        return "250 2.1.5 OK"

    async def deliver(self, letter: _Letter, spool: Spool) -> str:
        """Store a mail; the answer to its sender."""
        sender = "" if letter.mail_from in (None, "", "<>") else str(letter.mail_from)
        storing = asyncio.create_task(
            self._mailroom.deliver(
                spool,
                return_path=sender.encode("utf-8", "replace").decode(),
                destinations=letter.destinations,
                correlation=uuid.uuid4().hex,
            )
        )
        self._delivering.add(storing)
        try:
            # Shielded: a sender that hangs up does not undo what is half done, nor is a drain to cut it.
            outcomes = await asyncio.shield(storing)
        except Exception as error:  # noqa: BLE001 - as in handle_RCPT
            return self._refusal(error)
        finally:
            storing.add_done_callback(self._delivered)
            if not storing.done():
                await asyncio.wait([storing])
        return f"250 2.0.0 OK {outcomes[0].message_id}"

    def _delivered(self, task: asyncio.Task[list[Any]]) -> None:
        self._delivering.discard(task)
        if not task.cancelled():
            task.exception()

    async def handle_exception(self, error: Exception) -> str:
        """What aiosmtpd answers when something of ours fails: come again."""
        return self._refusal(error)

    def _refusal(self, error: Exception) -> str:
        if isinstance(error, BusyError):
            self.measures.refused("busy")
            return "452 4.3.1 Too busy, come again later"
        if is_connection_failure(error) or isinstance(error, OSError):
            logger.warning("mail not taken: an engine is away", extra={"reason": type(error).__name__})
            self.measures.refused("engine")
        else:
            logger.error("mail not taken", exc_info=error)
            self.measures.refused("error")
        return "451 4.3.0 Not stored, come again later"


def _tls(settings: Settings) -> ssl.SSLContext | None:
    if not settings.smtp_cert_file:
        return None
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(Path(settings.smtp_cert_file), Path(settings.smtp_key_file or settings.smtp_cert_file))
    return context
