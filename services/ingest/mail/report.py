"""What a mail server says of a mail: delivery reports (RFC 3464 and what came before it) and complaints (RFC 5965).

Nothing in a report is proven. It names the mail it is about; whether that is one of ours is for the caller to see.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

from services.ingest.mail import addresses, references
from services.ingest.mail import headers as reading
from services.ingest.mail.headers import Headers
from services.ingest.mail.limits import Budget
from services.ingest.mail.structure import Part

MOST = 20
"""Recipients and Message-IDs kept of one report."""
_STATUS = re.compile(r"(?<![\d.])([245]\.\d{1,3}\.\d{1,3})(?![\d.])")
_REPLY = re.compile(r"(?<![\d.])([45])\d\d(?=[ -])")
_NAMED = re.compile(r"^message-id:\s*<([^<>\s]{1,998})>", re.IGNORECASE | re.MULTILINE)
_AT = re.compile(r"^\s*<?([^\s<>:;,]{1,64}@[^\s<>:;,]{1,255})>?:?\s*$", re.MULTILINE)
_DAEMON = re.compile(r"^(mailer-daemon|postmaster|mdaemon|mail-daemon)@", re.IGNORECASE)
_STATUSES = {"message/delivery-status", "message/global-delivery-status"}
_ORIGINALS = {
    "message/rfc822",
    "message/global",
    "message/rfc822-headers",
    "message/global-headers",
    "text/rfc822-headers",
}
_NO_COMPLAINT = {"not-spam", "auth-failure"}


class Kind(StrEnum):
    """What is reported."""

    BOUNCE = "bounce"
    """It will never arrive."""
    DELAY = "delay"
    """It has not arrived yet, or has arrived: nothing to do."""
    COMPLAINT = "complaint"
    """Its recipient calls it spam."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """What one report says."""

    kind: Kind
    status: str = ""
    """Of the worst failure (RFC 3463): `5.1.1`; `5.0.0` where it gives none."""
    addresses: tuple[str, ...] = ()
    """Recipients that failed for good."""
    message_ids: tuple[str, ...] = ()
    """What it calls the mail it is about, the most certain first."""


def read(root: Part, text: str, sender: str, budget: Budget) -> Report | None:
    """The report in a mail that was found to be automatic, else None. Raises BoundError."""
    parts = list(_leaves(root))[:500]
    named = _message_ids(root.headers, parts, text, budget)
    for part in parts:
        if part.media_type == "message/feedback-report":
            told, _ = reading.split(part.content(), 0, len(part.content()), budget)
            if told.get("feedback-type").strip().lower() in _NO_COMPLAINT:
                return Report(kind=Kind.DELAY, message_ids=named)
            return Report(kind=Kind.COMPLAINT, addresses=_rcpt(told, "original-rcpt-to"), message_ids=named)
    statuses = [part for part in parts if part.media_type in _STATUSES]
    if statuses:
        return _standard([one for part in statuses for one in _groups(part.content(), budget)], named)
    return _plain(root.headers, text, sender, named)


def _standard(groups: list[Headers], named: tuple[str, ...]) -> Report:
    status = ""
    failed: list[str] = []
    for group in groups:
        found = _failure(group)
        if found is not None:
            status = status or found
            failed += _rcpt(group, "original-recipient") + _rcpt(group, "final-recipient")
    if not status:
        return Report(kind=Kind.DELAY, message_ids=named)
    return Report(kind=Kind.BOUNCE, status=status, addresses=tuple(dict.fromkeys(failed))[:MOST], message_ids=named)


def _failure(group: Headers) -> str | None:
    """The status of a recipient that failed for good; None for any other."""
    action = group.get("action").split("(")[0].strip().lower()
    if action and action != "failed":
        return None
    if not action and not group.has("status"):
        return None
    told = _STATUS.search(group.get("status"))
    diagnostic = group.get("diagnostic-code")
    if told is None or told[1] in {"5.0.0", "4.0.0"}:
        # Gateways say the least here and the most in what the other server answered.
        told = _STATUS.search(diagnostic) or told
    if told is not None:
        return told[1] if told[1].startswith("5") else None
    reply = _REPLY.search(diagnostic + " ")
    return "5.0.0" if reply is not None and reply[1] == "5" else None


def _plain(top: Headers, text: str, sender: str, named: tuple[str, ...]) -> Report | None:
    """Reports in words: Exim and Google name the failed in a header, qmail in the text."""
    failed = [box.address for value in top.all("x-failed-recipients") for box in addresses.parse(value, MOST)]
    if not failed and not _DAEMON.match(sender):
        return None
    head = text[:5_000]
    failed = failed or [match[1] for match in _AT.finditer(head)][:MOST]
    told, reply = _STATUS.search(head), _REPLY.search(head)
    status = told[1] if told is not None else f"{reply[1]}.0.0" if reply is not None else ""
    if not failed or not status.startswith("5"):
        return Report(kind=Kind.DELAY, message_ids=named) if failed or status else None
    return Report(kind=Kind.BOUNCE, status=status, addresses=tuple(failed), message_ids=named)


def _message_ids(top: Headers, parts: list[Part], text: str, budget: Budget) -> tuple[str, ...]:
    """The original's own Message-ID; else what the report answers; else what its text quotes."""
    found: dict[str, None] = {}
    for part in parts:
        if part.media_type in _ORIGINALS:
            content = part.content()
            original, _ = reading.split(content, 0, len(content), budget)
            own = references.message_id(original)
            if own is not None:
                found[own] = None
    found.update(dict.fromkeys(references.ancestors(top, MOST)))
    found.update(dict.fromkeys(match[1] for match in _NAMED.finditer(text[:20_000])))
    return tuple(found)[:MOST]


def _groups(content: bytes, budget: Budget) -> Iterator[Headers]:
    """The blocks of a delivery status: one about the mail, then one for each recipient."""
    position, count = 0, 0
    while position < len(content) and count < 200:
        block, after = reading.split(content, position, len(content), budget)
        if after <= position:
            # A line that is no field: step over it.
            after = content.find(b"\n", position) + 1 or len(content)
        if block.fields:
            yield block
        position, count = after, count + 1


def _rcpt(group: Headers, name: str) -> tuple[str, ...]:
    """`rfc822; ann@customer.example` as an address."""
    value = group.get(name)
    _, separator, rest = value.partition(";")
    return tuple(box.address for box in addresses.parse(rest if separator else value, 1))


def _leaves(part: Part) -> Iterator[Part]:
    if not part.children:
        yield part
    for child in part.children:
        yield from _leaves(child)
