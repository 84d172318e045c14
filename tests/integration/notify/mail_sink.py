"""A mail server that keeps what it gets, and answers what it is told to."""

from __future__ import annotations

import asyncio
import contextlib
import email
import email.policy
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from email.message import EmailMessage

from aiosmtpd.smtp import SMTP, Envelope, Session


@dataclass
class Sink:
    """Takes every mail, unless told otherwise."""

    port: int = 0
    got: list[tuple[str, str, EmailMessage]] = field(default_factory=list)
    """Envelope sender, recipient, mail."""
    at_rcpt: list[str] = field(default_factory=list)
    """Answers to RCPT, one after the other; then 250."""
    at_data: list[str] = field(default_factory=list)
    """Answers to the text; `silent` never answers and keeps the mail, as a server may."""
    connections: int = 0

    async def handle_EHLO(  # noqa: N802 - aiosmtpd's protocol
        self, server: SMTP, session: Session, envelope: Envelope, hostname: str, responses: list[str]
    ) -> list[str]:
        del server, envelope
        session.host_name = hostname
        self.connections += 1
        return responses

    async def handle_RCPT(  # noqa: N802 - as above
        self, server: SMTP, session: Session, envelope: Envelope, address: str, options: list[str]
    ) -> str:
        del server, session, options
        said = self.at_rcpt.pop(0) if self.at_rcpt else "250 2.1.5 Ok"
        if said.startswith("2"):
            envelope.rcpt_tos.append(address)
        return said

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - as above
        del server, session
        said = self.at_data.pop(0) if self.at_data else f"250 2.0.0 Ok: queued as {len(self.got) + 1:X}"
        if said.startswith("2") or said == "silent":
            assert isinstance(envelope.content, bytes)
            mail = email.message_from_bytes(envelope.content, policy=email.policy.default)
            assert isinstance(mail, EmailMessage)
            self.got += [(envelope.mail_from or "", one, mail) for one in envelope.rcpt_tos]
        if said == "silent":
            await asyncio.sleep(3600)
        return said

    def to(self, address: str) -> list[EmailMessage]:
        """What came for an address."""
        return [mail for _, recipient, mail in self.got if recipient == address]


@asynccontextmanager
async def listening(sink: Sink, port: int = 0) -> AsyncIterator[Sink]:
    """The sink on a free port of this machine, or on `port`."""
    made: list[SMTP] = []

    def protocol() -> SMTP:
        made.append(SMTP(sink, enable_SMTPUTF8=False, hostname="sink.example", loop=asyncio.get_running_loop()))
        return made[-1]

    server = await asyncio.get_running_loop().create_server(protocol, "127.0.0.1", port)
    sink.port = server.sockets[0].getsockname()[1]
    try:
        yield sink
    finally:
        server.close()
        for one in made:
            if isinstance(one.transport, asyncio.Transport):
                one.transport.abort()
        for one in made:
            handler = one._handler_coroutine
            if handler is not None:
                handler.cancel()
                with contextlib.suppress(BaseException):
                    await handler
        await server.wait_closed()
