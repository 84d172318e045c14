"""One mail, read defensively: `parse` never raises, never drops anything, and ends within its bounds.

Whatever cannot be read is still answered with sender and subject as far as they can be told and the reason in
`quarantine`; the original bytes are the caller's to keep.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from services.ingest.mail import addresses, automatic, body, charset, headers, references, report, structure
from services.ingest.mail.addresses import Mailbox
from services.ingest.mail.body import File
from services.ingest.mail.headers import Headers, Parameterised
from services.ingest.mail.limits import DEFAULT, Bound, BoundError, Budget, Limits
from services.ingest.mail.report import Report

MAX_SUBJECT = 500
UNKNOWN_SENDER = "unknown-sender@invalid"
"""Where a mail names nobody; `.invalid` is reserved (RFC 2606)."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What the channel knows beyond the bytes."""

    limits: Limits = DEFAULT
    return_path: str | None = None
    """The envelope's sender: None unknown, empty the null return path."""
    authserv_ids: frozenset[str] = frozenset()
    """Names under which our own mail servers write Authentication-Results, in lower case."""
    loop_token: str = "deskwire"  # noqa: S105 - a header's value, no secret
    """What our own mail carries in X-Loop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ParsedMail:
    """What a mail says. Texts are free of control characters; nothing in it is verified."""

    sender: Mailbox
    recipients: tuple[Mailbox, ...] = ()
    subject: str = ""
    text: str = ""
    html: str | None = None
    """Sanitised, without anything remote."""
    files: tuple[File, ...] = ()
    message_id: str | None = None
    ancestors: tuple[str, ...] = ()
    """Message-IDs it answers, the nearest first."""
    ticket_number: str | None = None
    automatic: str | None = None
    """Why it counts as automatic; None when a person wrote it."""
    own_loop: bool = False
    spoofed: bool = False
    dated: bool = False
    """Whether it has a Date header, which makes two equal mails one mail."""
    fingerprint: bytes = b""
    delivered_to: tuple[str, ...] = ()
    """Addresses that mail servers on the way say it came to."""
    report: Report | None = None
    """What a mail server says in it of another mail."""
    quarantine: str | None = None
    """Why it could not be read within the bounds; then text, HTML and files are empty."""


_DEFAULT_OPTIONS = Options()


def parse(raw: bytes, options: Options = _DEFAULT_OPTIONS) -> ParsedMail:
    """Read a whole mail. Never raises."""
    try:
        return _parse(raw, options)
    except BoundError as error:
        return salvage(raw, error.bound.value, options)
    except Exception:  # noqa: BLE001 - whatever is wrong with a mail, it is kept, not lost
        return salvage(raw, Bound.UNREADABLE.value, options)


def _parse(raw: bytes, options: Options) -> ParsedMail:
    if len(raw) > options.limits.raw_bytes:
        raise BoundError(Bound.TOO_LARGE)
    budget = Budget(options.limits)
    root = structure.read(raw, budget)
    content = body.read(root, budget)
    top = root.headers
    sender = _sender(top, options.return_path)
    subject = top.text("subject", MAX_SUBJECT)
    machine = _automatic(top, root.content_type, sender, options)
    return ParsedMail(
        sender=sender,
        recipients=addresses.of(top, ("to", "cc"), options.limits.recipients),
        delivered_to=_delivered_to(top),
        report=report.read(root, content.text, sender.address, budget) if machine is not None else None,
        subject=subject,
        text=content.text,
        html=content.html,
        files=content.files,
        message_id=references.message_id(top),
        ancestors=references.ancestors(top, options.limits.references),
        ticket_number=references.ticket_number(subject),
        automatic=machine,
        own_loop=automatic.is_own_loop(top, options.loop_token),
        spoofed=automatic.is_spoofed(top, options.authserv_ids),
        dated=bool(top.get("date").strip()),
        fingerprint=references.fingerprint(
            top, content.text, sender.address, subject, (file.data for file in content.files)
        ),
    )


def salvage(raw: bytes, reason: str, options: Options = _DEFAULT_OPTIONS) -> ParsedMail:
    """Sender, subject and ids of a mail whose body is not read: the first 100 kB of its headers. Never raises."""
    try:
        top = _first_headers(raw, options.limits)
        sender = _sender(top, options.return_path)
        subject = top.text("subject", MAX_SUBJECT)
        return ParsedMail(
            sender=sender,
            recipients=addresses.of(top, ("to", "cc"), options.limits.recipients),
            delivered_to=_delivered_to(top),
            subject=subject,
            message_id=references.message_id(top),
            ancestors=references.ancestors(top, options.limits.references),
            ticket_number=references.ticket_number(subject),
            automatic=_automatic(top, headers.parameterised(top.get("content-type")), sender, options),
            own_loop=automatic.is_own_loop(top, options.loop_token),
            spoofed=automatic.is_spoofed(top, options.authserv_ids),
            dated=bool(top.get("date").strip()),
            fingerprint=references.raw_fingerprint(raw),
            quarantine=reason,
        )
    except Exception:  # noqa: BLE001 - the last line: an empty answer with the reason
        return ParsedMail(
            sender=Mailbox(options.return_path or UNKNOWN_SENDER),
            fingerprint=references.raw_fingerprint(raw),
            quarantine=reason,
        )


_LINE = re.compile(
    rb"^([A-Za-z][A-Za-z0-9-]{0,60}):[ \t]*([^\r\n]{0,2000}(?:\r?\n[ \t][^\r\n]{0,1000}){0,20})", re.MULTILINE
)


def _first_headers(raw: bytes, limits: Limits) -> Headers:
    """Headers by their look within the first block, each cut to 20 kB; no bound can be passed."""
    head = raw[: limits.header_bytes]
    end = re.search(rb"\r?\n\r?\n", head)
    if end:
        head = head[: end.start()]
    found = [
        (match[1].decode().lower(), match[2].replace(b"\r\n", b"").replace(b"\n", b""))
        for match in _LINE.finditer(head)
    ]
    return Headers(tuple(found[:500]))


def _sender(top: Headers, return_path: str | None) -> Mailbox:
    """From, else Sender, Reply-To, the envelope, Return-Path; always somebody."""
    for name in ("from", "sender", "reply-to"):
        for value in top.all(name):
            if mailboxes := addresses.parse(value, 1):
                return mailboxes[0]
    if return_path and "@" in return_path:
        return Mailbox(charset.one_line(return_path, addresses.MAX_ADDRESS))
    if mailboxes := addresses.parse(top.get("return-path"), 1):
        return mailboxes[0]
    for name in ("from", "sender", "reply-to"):
        if (found := addresses.first(top.get(name))) is not None and found.address:
            return found
    return Mailbox(UNKNOWN_SENDER)


def _delivered_to(top: Headers) -> tuple[str, ...]:
    return tuple(box.address for box in addresses.of(top, ("delivered-to", "x-original-to", "envelope-to"), 20))


def _automatic(top: Headers, content_type: Parameterised, sender: Mailbox, options: Options) -> str | None:
    return automatic.reason(
        top,
        content_type,
        sender=sender.address,
        return_path=options.return_path,
        loop_token=options.loop_token,
    )
