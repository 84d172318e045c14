"""Parsing off the event loop: small harmless mails at once, all others in a child process with a hard time limit."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

from services.ingest.mail import worker
from services.ingest.mail.limits import Bound
from services.ingest.mail.parse import Options, ParsedMail, parse, salvage
from services.ingest.measures import Measures
from services.ingest.spool import IN_MEMORY, Spool

AT_ONCE = IN_MEMORY
"""Bytes up to which a mail is parsed without a child, which takes about a millisecond."""
STARTING = 10.0
"""Seconds a new child may take to start, beside the limit of the mail itself."""
IDLE = 60.0
"""Seconds after which an unused child is let go."""
_ANSWER_LIMIT = 64 * 1024 * 1024

logger = logging.getLogger(__name__)


def is_suspicious(raw: bytes) -> bool:
    """Whether a small mail may still be slow: many parts, many encoded words, deep HTML."""
    return raw.count(b"=?") > 500 or raw.count(b"\n--") > 100 or raw.count(b"<") > 5_000


class Parser:
    """Parses mails with a bounded number of children, each reused until it is late, dies or idles."""

    def __init__(self, measures: Measures, *, children: int = 2) -> None:
        self._measures = measures
        self._slots = asyncio.Semaphore(children)
        self._idle: list[tuple[asyncio.subprocess.Process, float]] = []

    @contextlib.asynccontextmanager
    async def reading(self, spool: Spool, options: Options) -> AsyncIterator[ParsedMail]:
        """One mail, read. Never raises for what the mail is; ends soon after `options.limits.seconds`.

        The files of a large mail are on disk until the block ends; so is its slot held.
        """
        if spool.size <= AT_ONCE and not is_suspicious(raw := spool.content()):
            began = time.perf_counter()
            mail = parse(raw, replace_seconds(options, min(1.0, options.limits.seconds)))
            self._measures.parse_seconds.observe(time.perf_counter() - began)
            yield mail
            return
        async with self._slots:
            began = time.perf_counter()
            folder = Path(await asyncio.to_thread(tempfile.mkdtemp, prefix="deskwire-mail-"))
            try:
                mail = await self._in_child(spool, options, folder)
                self._measures.parse_seconds.observe(time.perf_counter() - began)
                yield mail
            finally:
                await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    async def reap(self) -> None:
        """Let children go that nobody has needed for a while."""
        now = time.monotonic()
        idle, self._idle = self._idle, []
        for child, since in idle:
            if now - since < IDLE and child.returncode is None:
                self._idle.append((child, since))
            else:
                await _end(child)

    async def close(self) -> None:
        """Let all children go."""
        idle, self._idle = self._idle, []
        for child, _ in idle:
            await _end(child)

    async def _in_child(self, spool: Spool, options: Options, folder: Path) -> ParsedMail:
        if spool.size > options.limits.raw_bytes:
            return await asyncio.to_thread(salvage, spool.content(), Bound.TOO_LARGE.value, options)
        try:
            path = spool.path
            if path is None:
                path = folder / "mail"
                path.write_bytes(spool.content())
            line = await self._ask(worker.ask(path, folder, options), options.limits.seconds)
            if line is None:
                return await asyncio.to_thread(salvage, spool.content(), Bound.TOO_SLOW.value, options)
            return await asyncio.to_thread(worker.result, line, folder)
        except (OSError, ValueError, KeyError, TypeError) as error:
            # The child died (memory, a crash in a parser written in C) or answered nonsense.
            logger.warning("mail could not be parsed", extra={"reason": type(error).__name__})
            return await asyncio.to_thread(salvage, spool.content(), Bound.UNREADABLE.value, options)

    async def _ask(self, line: bytes, seconds: float) -> bytes | None:
        """The child's answer; None when it came late. Raises ValueError when the child died."""
        child, started = await self._child()
        try:
            assert child.stdin is not None  # noqa: S101 - both are pipes
            assert child.stdout is not None  # noqa: S101
            child.stdin.write(line)
            await child.stdin.drain()
            # CPU time is limited inside; the wall may be twice that on a busy machine.
            async with asyncio.timeout(seconds * 2 + (STARTING if started else 0)):
                told = await child.stdout.readuntil(b"\n")
        except TimeoutError:
            await _end(child)
            return None
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError) as error:
            await _end(child)
            raise ValueError("the child died") from error
        except BaseException:
            await _end(child)
            raise
        self._idle.append((child, time.monotonic()))
        return told

    async def _child(self) -> tuple[asyncio.subprocess.Process, bool]:
        """An idle child or a new one; whether it is new."""
        while self._idle:
            child, since = self._idle.pop()
            if child.returncode is None and time.monotonic() - since < IDLE:
                return child, False
            await _end(child)
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "services.ingest.mail.worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            limit=_ANSWER_LIMIT,
            cwd=str(Path(__file__).parents[2]),
            env={"PATH": "/usr/bin:/bin", "PYTHONDONTWRITEBYTECODE": "1"},
        )
        return child, True


def replace_seconds(options: Options, seconds: float) -> Options:
    """The same options with another time limit."""
    return replace(options, limits=replace(options.limits, seconds=seconds))


async def _end(child: asyncio.subprocess.Process) -> None:
    if child.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            child.kill()
        await child.wait()
