"""`make demo MAIL=…`: any mails there are, sent to the demo's desk, and what became of each."""

from __future__ import annotations

import contextlib
import mailbox
import time
from collections.abc import Iterator
from dataclasses import dataclass
from email import message_from_bytes, policy
from email.utils import parseaddr
from pathlib import Path

from cli.demo.entries import raw_mail
from cli.demo.stage import Check, MissingError, Stage
from cli.demo.topics import Event

MOST = 500
"""Mails played at most: every one is waited for."""
PATIENCE = 15.0


@dataclass(frozen=True, slots=True)
class Letter:
    """One mail of the folder."""

    name: str
    raw: bytes

    @property
    def sender(self) -> str:
        """The envelope's sender, by its From line; a mail without one has the null sender."""
        try:
            return parseaddr(str(message_from_bytes(self.raw, policy=policy.compat32).get("From", "")))[1]
        except (ValueError, UnicodeError):
            return ""


def letters(path: Path) -> Iterator[Letter]:
    """The mails of an mbox file, or of every .eml and .mbox file below a folder."""
    if path.is_dir():
        for found in sorted(path.rglob("*")):
            if found.suffix in {".eml", ".mbox", ".msg"}:
                yield from letters(found)
    elif path.suffix == ".mbox" or path.read_bytes()[:5] == b"From ":
        with contextlib.closing(mailbox.mbox(path, create=False)) as box:
            for number, message in enumerate(box, 1):
                yield Letter(f"{path.name} {number}", message.as_bytes())
    else:
        yield Letter(path.name, path.read_bytes())


async def play(stage: Stage, path: Path) -> list[Check]:
    """Send each; a check for each: it became a ticket, joined one, or is kept for a person to look at."""
    for number, letter in enumerate(letters(path)):
        if number == MOST:
            stage.say(f"only the first {MOST} are played")
            break
        stage.say(letter.name)
        await _one(stage, letter)
    if not stage.checks:
        stage.check("mails", f"no .eml or mbox in {path}", passed=False)
    return stage.checks


async def _one(stage: Stage, letter: Letter) -> None:
    sender = letter.sender if letter.sender.isascii() and "@" in letter.sender else ""
    sent = time.monotonic()
    said = await raw_mail(stage.addresses, sender, letter.raw)
    if not said.startswith("250"):
        stage.check(letter.name, said, passed=False)
        return
    message_id = said.rsplit(maxsplit=1)[-1]
    try:
        fact = await stage.until(lambda: _became(stage, message_id), "event about it", PATIENCE)
    except MissingError as error:
        stage.check(letter.name, str(error), passed=False)
        return
    stage.check(letter.name, _told(fact), passed=True, milliseconds=stage.since(sent, fact))


def _became(stage: Stage, message_id: str) -> Event | None:
    for topic in ("ticket.created", "ticket.message_added"):
        for event in stage.topics.of(topic):
            if event["message"]["message_id"] == message_id:
                return event
    return stage.topics.find("message.quarantined", message_id=message_id)


def _told(fact: Event) -> str:
    if "ticket" not in fact:
        return f"kept for a person: {fact['reason']}"
    return f"{fact['ticket']['number']} {fact['ticket']['subject']}"
