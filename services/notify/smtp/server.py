"""Connections to the mail server: kept, bounded by the workers that use them, given up when the server is away.

What came of a mail is one of four: taken (an answer), refused for good, refused for now, or in doubt: the server fell
silent when the text had gone out, and may have it. Before that nothing was sent, and the server counts as away.
"""

from __future__ import annotations

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import structlog
from aiosmtplib import SMTP, SMTPException, SMTPResponseException

from services.notify.smtp.address import Server
from shared.explain import explain

IDLE = 20.0
"""Seconds after which a kept connection is made anew: servers end silent ones without a word."""
MOST = 100
"""Mails over one connection; some servers take no more."""
FIRST_PAUSE, LONGEST_PAUSE = 1.0, 60.0
_ADDRESS = re.compile(r"\S*@\S*")
_SPACES = re.compile(r"[\x00-\x20\x7f-\x9f]+")
_CLOSING = 421
_CONFIGURATION = {530, 534, 535, 538}
"""The server wants to know us better: nothing is wrong with the mail."""

logger = structlog.get_logger(__name__)


class Refused(Exception):  # noqa: N818 - an answer, told as one
    """The server answered 4xx or 5xx to this mail; the text has no addresses."""

    def __init__(self, code: int, text: str) -> None:
        super().__init__(text)
        self.code = code

    @property
    def for_good(self) -> bool:
        """Whether trying again is of no use."""
        return self.code >= 500


class AwayError(Exception):
    """The server cannot be talked to; nothing was sent. `pause` seconds are a good time to wait."""

    def __init__(self, reason: str, pause: float) -> None:
        super().__init__(reason)
        self.pause = pause


class DoubtError(Exception):
    """The connection broke after the text had gone out: the server may have taken the mail."""


@dataclass(slots=True)
class _Kept:
    smtp: SMTP
    since: float
    sent: int = 0


class Session:
    """One connection in one worker's hands."""

    def __init__(self, kept: _Kept, seconds: float) -> None:
        self._kept = kept
        self._seconds = seconds
        self.usable = True

    async def send(self, sender: str, recipient: str, data: bytes) -> str:
        """Hand one mail over; the server's answer, without addresses. An empty sender is the null return path.

        Raises Refused, DoubtError, or AwayError when nothing was sent.
        """
        smtp = self._kept.smtp
        self.usable = False
        try:
            await smtp.mail(sender)
            await smtp.rcpt(recipient)
        except SMTPResponseException as error:
            await self._reset()
            raise _verdict(error) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise AwayError(type(error).__name__, FIRST_PAUSE) from error
        try:
            answer = await smtp.data(data, timeout=2 * self._seconds)
        except SMTPResponseException as error:
            await self._reset()
            raise _verdict(error) from error
        except (SMTPException, OSError, TimeoutError) as error:
            raise DoubtError(type(error).__name__) from error
        self._kept.sent += 1
        self.usable = True
        return plain(answer.code, answer.message)

    async def _reset(self) -> None:
        with suppress(SMTPException, OSError, TimeoutError):
            await self._kept.smtp.rset()
            self.usable = True


class MailServer:
    """The one server mails are handed to."""

    def __init__(self, server: Server, seconds: float) -> None:
        """`seconds` are waited for a connection and each answer, twice that for the answer to a text."""
        self._server = server
        self._seconds = seconds
        self._idle: list[_Kept] = []
        self._away_until = 0.0
        self._pause = FIRST_PAUSE

    @property
    def seconds(self) -> float:
        """How long the longest exchange takes: connection, greeting, TLS, login, envelope, text."""
        return 5 * self._seconds

    def check(self) -> None:
        """Raise AwayError while the server is known to be away."""
        left = self._away_until - time.monotonic()
        if left > 0:
            raise AwayError("the mail server is away", left)

    @asynccontextmanager
    async def session(self) -> AsyncIterator[Session]:
        """A connection that has just answered. Raises AwayError; then for a while at once, without trying."""
        kept = await self._connection()
        session = Session(kept, self._seconds)
        try:
            yield session
        except AwayError as error:
            raise self._failed(str(error)) from error
        finally:
            if session.usable and kept.sent < MOST:
                kept.since = time.monotonic()
                self._idle.append(kept)
            else:
                kept.smtp.close()

    async def close(self) -> None:
        """Say goodbye on every idle connection."""
        while self._idle:
            smtp = self._idle.pop().smtp
            with suppress(SMTPException, OSError, TimeoutError):
                async with asyncio.timeout(1):
                    await smtp.quit()
            smtp.close()

    async def _connection(self) -> _Kept:
        self.check()
        while self._idle:
            kept = self._idle.pop()
            if kept.smtp.is_connected and time.monotonic() - kept.since < IDLE:
                try:
                    await kept.smtp.noop(timeout=min(5.0, self._seconds))
                except (SMTPException, OSError, TimeoutError):
                    kept.smtp.close()
                else:
                    return kept
            else:
                kept.smtp.close()
        smtp = SMTP(
            hostname=self._server.host,
            port=self._server.port,
            use_tls=self._server.tls,
            start_tls=self._server.starttls,
            username=self._server.username,
            password=self._server.password,
            local_hostname=_own_name(),
            timeout=self._seconds,
        )
        try:
            await smtp.connect()
        except (SMTPException, OSError, TimeoutError, ValueError) as error:
            smtp.close()
            raise self._failed(explain(error)) from error
        except BaseException:
            smtp.close()
            raise
        self._pause = FIRST_PAUSE
        self._away_until = 0.0
        return _Kept(smtp, time.monotonic())

    def _failed(self, reason: str) -> AwayError:
        """Leave the server alone for a while, each time for twice as long."""
        pause = self._pause
        if time.monotonic() >= self._away_until:
            self._away_until = time.monotonic() + pause
            self._pause = min(2 * pause, LONGEST_PAUSE)
            logger.warning("mail server is away", reason=reason, seconds=pause)
        return AwayError(reason, pause)


def plain(code: int, text: str) -> str:
    """An answer in one line, without anything that may be an address."""
    return f"{code} {_SPACES.sub(' ', _ADDRESS.sub('…', text)).strip()}"[:200]


def _verdict(error: SMTPResponseException) -> Refused | AwayError:
    if error.code == _CLOSING or error.code in _CONFIGURATION:
        return AwayError(plain(error.code, error.message), FIRST_PAUSE)
    return Refused(error.code, plain(error.code, error.message))


def _own_name() -> str:
    """What we call ourselves; not asked of DNS, which may take its time."""
    name = socket.gethostname()
    return name if re.fullmatch(r"[A-Za-z0-9.-]{1,253}", name) else "localhost"
