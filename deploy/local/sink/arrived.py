"""What arrived at the sink: kept in the state folder, so that it can be read after a restart too."""

from __future__ import annotations

import json
import re
import time
from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path

KEPT = 5_000
"""Newest mails and newest calls that are listed unless told otherwise; the files of older ones are deleted."""
_LINK = re.compile(r"https?://[^\s<>\"')\]]+")


@dataclass(frozen=True, kw_only=True)
class Mail:
    """One mail as its recipient would see it."""

    n: int
    at: float
    """Unix seconds."""
    sender: str
    """Of the envelope; empty for the null sender."""
    recipients: tuple[str, ...]
    """Of the envelope."""
    subject: str
    message_id: str
    headers: dict[str, str]
    text: str
    links: tuple[str, ...]


@dataclass(frozen=True, kw_only=True)
class Call:
    """One webhook call."""

    n: int
    at: float
    name: str
    """The last part of the path it was sent to."""
    headers: dict[str, str]
    body: str
    status: int
    """What we answered."""


class Arrived:
    """Mails and calls, newest last, numbered from 1."""

    def __init__(self, folder: Path, kept: int = KEPT) -> None:
        self._kept = kept
        self._mail = folder / "mail"
        self._calls = folder / "webhooks"
        for place in (self._mail, self._calls):
            place.mkdir(parents=True, exist_ok=True)
        self.mails: deque[Mail] = deque((_mail(path) for path in _files(self._mail, "*.eml", kept)), maxlen=kept)
        self.calls: deque[Call] = deque((_call(path) for path in _files(self._calls, "*.json", kept)), maxlen=kept)

    def add_mail(self, sender: str, recipients: tuple[str, ...], raw: bytes) -> Mail:
        """Keep a mail; its envelope goes before it, as mail stores do."""
        n = self.mails[-1].n + 1 if self.mails else 1
        envelope = f"X-Envelope: {json.dumps([time.time(), sender, recipients])}\r\n".encode()
        path = self._mail / f"{n:08}.eml"
        path.write_bytes(envelope + raw)
        if len(self.mails) == self._kept:
            (self._mail / f"{self.mails[0].n:08}.eml").unlink(missing_ok=True)
        self.mails.append(_mail(path))
        return self.mails[-1]

    def add_call(self, name: str, headers: Mapping[str, str], body: bytes, status: int) -> Call:
        """Keep a webhook call."""
        n = self.calls[-1].n + 1 if self.calls else 1
        text = body.decode(errors="replace")
        call = Call(n=n, at=time.time(), name=name, headers=dict(headers), body=text, status=status)
        (self._calls / f"{n:08}.json").write_text(json.dumps(asdict(call)), encoding="utf-8")
        if len(self.calls) == self._kept:
            (self._calls / f"{self.calls[0].n:08}.json").unlink(missing_ok=True)
        self.calls.append(call)
        return call

    def raw_mail(self, n: int) -> bytes | None:
        """A mail's bytes without our own line; None when there is none of that number."""
        path = self._mail / f"{n:08}.eml"
        return path.read_bytes().split(b"\r\n", 1)[1] if path.is_file() else None


def _files(folder: Path, pattern: str, kept: int) -> Iterator[Path]:
    return iter(sorted(folder.glob(pattern))[-kept:])


def _mail(path: Path) -> Mail:
    first, raw = path.read_bytes().split(b"\r\n", 1)
    at, sender, recipients = json.loads(first.split(b":", 1)[1])
    message = message_from_bytes(raw, policy=policy.default)
    text = _text(message) if isinstance(message, EmailMessage) else ""
    headers: dict[str, str] = {}
    for name, value in message.items():
        headers.setdefault(name.lower(), str(value))
    return Mail(
        n=int(path.stem),
        at=at,
        sender=sender,
        recipients=tuple(recipients),
        subject=headers.get("subject", ""),
        message_id=headers.get("message-id", "").strip("<> "),
        headers=headers,
        text=text,
        links=tuple(dict.fromkeys(link.rstrip(".,;:!?") for link in _LINK.findall(text))),
    )


def _text(message: EmailMessage) -> str:
    part = message.get_body(("plain", "html"))
    return str(part.get_content()) if part is not None else ""


def _call(path: Path) -> Call:
    return Call(**json.loads(path.read_text(encoding="utf-8")))
