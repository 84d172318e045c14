"""One mail as bytes: RFC 5322 headers, MIME, what RFC 3834 asks of a machine. Pure; injects nothing.

Every text that comes from people passes `one_line` before it stands in a header. Long identifiers are never folded
inside, which `email.policy` does to References.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from email import policy
from email.charset import QP, Charset
from email.encoders import encode_base64
from email.generator import BytesGenerator
from email.header import Header
from email.message import Message
from email.mime.base import MIMEBase
from email.mime.multipart import MIMEMultipart
from email.mime.nonmultipart import MIMENonMultipart
from email.utils import format_datetime
from io import BytesIO
from uuid import UUID

LOOP = "deskwire"
"""What `X-Loop` says of a machine's mail: ingest takes one that comes back for automatic."""
MAX_REFERENCES = 20
MAX_SUBJECT, MAX_NAME = 250, 100
MAX_IDENTIFIER = 400
_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]+")
_SPACES = re.compile(r"\s+")
_IDENTIFIER = re.compile(r"[^\s<>@\x00-\x20\x7f-\U0010ffff]+@[^\s<>@\x00-\x20\x7f-\U0010ffff]+")
_SPECIAL = r"\s<>@,;:\"()\[\]\\\x00-\x20\x7f-\x9f"
_ADDRESS = re.compile(rf"[^{_SPECIAL}\u00a0-\U0010ffff]{{1,64}}@[^{_SPECIAL}]{{1,255}}")
"""Local parts in ASCII: others would need SMTPUTF8 all the way."""
_TYPE = re.compile(r"(application|image|audio|video|text|font)/([A-Za-z0-9][A-Za-z0-9.+-]{0,99})")
_ATOM = re.compile(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~ -]*")
_REPLIES = re.compile(r"^(?:re:\s*)+(?=re:)", re.IGNORECASE)

_UTF8 = Charset("utf-8")
_UTF8.body_encoding = QP
_POLICY = policy.compat32.clone(linesep="\r\n", max_line_length=None)
"""Folds nothing: that is done here, where the first word stays on the header's first line."""
_FILE_NAME = 70
"""Characters: in RFC 2231 each takes up to twelve, and a line at most 998."""


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """Something attached."""

    name: str
    media_type: str
    data: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Letter:
    """What a mail says, before it is one."""

    message_id: str
    """Without angle brackets, as `references`."""
    date: datetime
    sender_name: str
    sender: str
    recipient_name: str
    recipient: str
    subject: str
    number: str
    """The ticket's; stands in the subject in brackets."""
    text: str
    html: str | None = None
    reply_to: str | None = None
    submitted: str = "no"
    """`auto-replied`, `auto-generated`, or `no` for what a person wrote."""
    references: Sequence[str] = ()
    """The conversation before, oldest first; the last is what this answers."""
    delivery_id: UUID
    files: Sequence[File] = ()


class BadAddressError(ValueError):
    """It is no address that a mail can be sent to."""


def one_line(text: str, limit: int = MAX_SUBJECT) -> str:
    """A text as one line without control characters, at most `limit` long."""
    flat = _SPACES.sub(" ", _CONTROL.sub(" ", text)).strip()
    return flat if len(flat) <= limit else flat[: limit - 1].rstrip() + "…"


def is_identifier(text: str | None) -> bool:
    """Whether it can stand in References as it is."""
    return text is not None and len(text) <= MAX_IDENTIFIER and _IDENTIFIER.fullmatch(text) is not None


def address_of(text: str) -> str:
    """An address for the envelope, its domain in ASCII. Raises BadAddressError, which does not quote it."""
    if not _ADDRESS.fullmatch(text):
        raise BadAddressError("not an address")
    local, _, domain = text.rpartition("@")
    try:
        return f"{local}@{domain.encode('idna').decode('ascii')}"
    except UnicodeError as error:
        raise BadAddressError("not a domain") from error


def message_id(delivery_id: UUID, domain: str) -> str:
    """What a delivery's mail is called, whenever and however often it is sent."""
    return f"delivery.{delivery_id.hex}@{domain}"


def subject_of(subject: str, number: str) -> str:
    """The subject in one line with `[<number>]` in it, once, and one `Re:`."""
    line = _REPLIES.sub("", one_line(subject, MAX_SUBJECT - len(number) - 3))
    tag = f"[{number}]"
    if tag in line:
        return line
    return line.replace(number, tag, 1) if number in line else f"{line} {tag}".strip()


def compose(letter: Letter) -> bytes:
    """The mail, with CRLF line ends, ready for DATA. Raises BadAddressError."""
    mail = _body(letter)
    _set(mail, "From", _mailbox(letter.sender_name, letter.sender))
    _set(mail, "To", _mailbox(letter.recipient_name, letter.recipient))
    _set(mail, "Subject", _words(subject_of(letter.subject, letter.number)))
    _set(mail, "Date", format_datetime(letter.date))
    _set(mail, "Message-ID", f"<{letter.message_id}>")
    if letter.reply_to:
        _set(mail, "Reply-To", f"<{address_of(letter.reply_to)}>")
    known = list(dict.fromkeys(one for one in letter.references if is_identifier(one)))
    if len(known) > MAX_REFERENCES:
        known = [known[0], *known[1 - MAX_REFERENCES :]]
    if known:
        _set(mail, "In-Reply-To", f"<{known[-1]}>")
        _set(mail, "References", " ".join(f"<{one}>" for one in known))
    if letter.submitted != "no":
        _set(mail, "Auto-Submitted", letter.submitted)
        _set(mail, "X-Auto-Response-Suppress", "All")
        _set(mail, "X-Loop", LOOP)
    if letter.submitted == "auto-replied":
        # What vacation(1) and its heirs look at, which know nothing of RFC 3834.
        _set(mail, "Precedence", "bulk")
    _set(mail, "X-Deskwire-Delivery", str(letter.delivery_id))
    out = BytesIO()
    BytesGenerator(out, mangle_from_=False, policy=_POLICY).flatten(mail)
    return out.getvalue()


def _set(mail: Message, name: str, value: str) -> None:
    """Fold at spaces, as near to 76 characters as words allow."""
    lines, width = [""], len(name) + 2
    for word in value.split(" "):
        if lines[-1] and width + len(word) + 1 > 76:
            lines.append(word)
            width = len(word) + 1
        else:
            lines[-1] += f" {word}" if lines[-1] else word
            width += len(word) + 1
    mail[name] = "\n ".join(lines)


def _body(letter: Letter) -> Message:
    words: Message = _text("plain", letter.text)
    if letter.html:
        both = MIMEMultipart("alternative", policy=_POLICY)
        both.attach(words)
        both.attach(_text("html", letter.html))
        words = both
    if not letter.files:
        return words
    whole = MIMEMultipart("mixed", policy=_POLICY)
    whole.attach(words)
    for file in letter.files:
        whole.attach(_file(file))
    return whole


def _text(kind: str, text: str) -> MIMENonMultipart:
    part = MIMENonMultipart("text", kind, policy=_POLICY)
    clean = text.encode("utf-8", "replace").decode().replace("\r\n", "\n").replace("\r", "\n").replace("\x00", "")
    part.set_payload(clean if clean.endswith("\n") else clean + "\n", _UTF8)
    return part


def _file(file: File) -> MIMEBase:
    found = _TYPE.fullmatch(file.media_type)
    part = MIMEBase(*(found.groups() if found else ("application", "octet-stream")), policy=_POLICY)
    part.set_payload(file.data)
    encode_base64(part)
    name = one_line(file.name, _FILE_NAME).replace("/", "_").replace("\\", "_") or "file"
    part.add_header("Content-Disposition", "attachment", filename=name if name.isascii() else ("utf-8", "", name))
    return part


def _mailbox(name: str, address: str) -> str:
    shown = one_line(name, MAX_NAME)
    if not shown:
        return f"<{address_of(address)}>"
    if _ATOM.fullmatch(shown):
        phrase = shown if not shown.startswith("=?") else f'"{shown}"'
    elif shown.isascii():
        phrase = '"' + shown.replace("\\", "\\\\").replace('"', '\\"') + '"'
    else:
        phrase = _words(shown)
    return f"{phrase} <{address_of(address)}>"


def _words(text: str) -> str:
    """Encoded words of at most 75 characters (RFC 2047) where there is more than ASCII in it."""
    if text.isascii() and "=?" not in text:
        return text
    # The longest name of a header it stands in is Subject's.
    words = Header(text, "utf-8", maxlinelen=75, header_name="Subject").encode(linesep="\n")
    return " ".join(words.split())
