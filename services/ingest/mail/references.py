"""What a mail is and answers: Message-IDs, ticket numbers, and a fingerprint that tells copies from forgeries."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable

from services.ingest.mail import charset
from services.ingest.mail.headers import Headers, decode_words

_ID = re.compile(r"<([^<>]{1,998})>")
_NUMBER = re.compile(r"(?<![\w-])([A-Z][A-Z0-9]{1,9}-\d{4}-\d{3,9})(?![\w-])")
_FOREIGN_NUMBERS = {"CVE", "RFC", "ISO", "GHSA", "CWE"}
_TRACE = re.compile(
    rb"^(received|return-path|delivered-to|x-original-to|envelope-to|x-received|arc-|authentication-results|dkim-"
    rb"|received-spf|x-spam|x-virus|x-google|x-gm|x-ms|x-forwarded|resent-)"
)

MAX_ID = 250
"""Characters of a Message-ID that are told to others; the index holds a hash of the whole."""


def message_id(headers: Headers) -> str | None:
    """The mail's own Message-ID without brackets; None when it has none."""
    for value in headers.all("message-id"):
        found = ids(value)
        if found:
            return found[0]
        bare = charset.clean("".join(decode_words(value).split())).strip("<>")
        if bare:
            return bare[:998]
    return None


def ancestors(headers: Headers, limit: int) -> tuple[str, ...]:
    """Ids this mail answers, the nearest first: In-Reply-To, then References from their end; at most `limit`.

    The first of References, the thread's root, is always among them.
    """
    found: dict[str, None] = {}
    for value in headers.all("in-reply-to"):
        found.update(dict.fromkeys(ids(value)))
    chain = [one for value in headers.all("references") for one in ids(value)]
    found.update(dict.fromkeys(reversed(chain)))
    kept = list(found)[:limit]
    if chain and len(found) > limit and chain[0] not in kept:
        kept[-1] = chain[0]
    return tuple(kept)


def ids(value: str) -> list[str]:
    """Every `<id>` in a value, white space from folding removed."""
    return [one for one in (charset.clean("".join(raw.split())) for raw in _ID.findall(value)) if one]


def ticket_number(subject: str) -> str | None:
    """The first ticket number in a subject, such as `INC-2026-000123`; unverified."""
    for number in _NUMBER.findall(subject[:1_000]):
        if str(number).partition("-")[0] not in _FOREIGN_NUMBERS:
            return str(number)
    return None


def fingerprint(headers: Headers, text: str, sender: str, subject: str, files: Iterable[bytes] = ()) -> bytes:
    """One value for all copies of a mail: what the sender wrote, not what servers on the way added.

    Two copies, one to support@ and one to sales@, agree. A different mail under a copied Message-ID does not.
    """
    digest = hashlib.sha256()
    for piece in (sender.casefold(), headers.get("date").strip(), subject, " ".join(text.split())):
        encoded = piece.encode("utf-8", "replace")
        digest.update(len(encoded).to_bytes(8, "big"))
        digest.update(encoded)
    for data in files:
        digest.update(hashlib.sha256(data).digest())
    return digest.digest()


def raw_fingerprint(data: bytes) -> bytes:
    """The same for a mail that could not be parsed: its bytes less the trace headers at their start."""
    digest = hashlib.sha256()
    position = 0
    skipping = False
    window = data[:200_000]
    while position < len(window):
        stop = window.find(b"\n", position)
        after = len(window) if stop < 0 else stop + 1
        line = window[position:after]
        if not line.strip():
            break
        if line[:1] not in b" \t":
            skipping = _TRACE.match(line[:40].lower()) is not None
        if not skipping:
            digest.update(line.rstrip())
        position = after
    digest.update(data[position:])
    return digest.digest()
