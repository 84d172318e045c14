"""Mailboxes of From, To, Cc: one linear pass over what is really sent, no grammar that can refuse it."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from services.ingest.mail import charset
from services.ingest.mail.headers import WORD, Headers, decode_words

MAX_ADDRESS = 320
"""RFC 5321: 64 for the local part, one @, 255 for the domain."""
MAX_NAME = 256
_QUOTED_LOCAL = re.compile(r'"[^"\r\n]{1,64}"@[^\s@"]{1,255}')


@dataclass(frozen=True, slots=True)
class Mailbox:
    """A person as a header names them; `address` is as written, without white space."""

    address: str
    name: str = ""


def of(headers: Headers, names: Iterable[str], limit: int) -> tuple[Mailbox, ...]:
    """Everybody named in these headers, without repeats, at most `limit`."""
    found: dict[str, Mailbox] = {}
    for name in names:
        for value in headers.all(name):
            for mailbox in parse(value, limit - len(found)):
                found.setdefault(mailbox.address.casefold(), mailbox)
            if len(found) >= limit:
                return tuple(found.values())
    return tuple(found.values())


def parse(text: str, limit: int = 200) -> tuple[Mailbox, ...]:
    """`"A" <a@x>, b@y (B); Group: c@z;` as mailboxes that have an @. Never raises; reads at most `limit`."""
    found: list[Mailbox] = []
    for words, angle, comment in _split(text):
        if len(found) >= limit:
            break
        mailbox = _mailbox(words, angle, comment)
        if mailbox is not None:
            found.append(mailbox)
    return tuple(found)


def first(text: str) -> Mailbox | None:
    """The first mailbox, or failing that a bare word such as `root`, which some machines send as From."""
    if mailboxes := parse(text, 1):
        return mailboxes[0]
    word = charset.one_line(decode_words(text), MAX_ADDRESS).strip("<>\"' ,;")
    return Mailbox(address=word.split()[-1].strip("<>"), name=word) if word else None


def _mailbox(words: str, angle: str | None, comment: str) -> Mailbox | None:
    if angle is not None:
        # A route (RFC 822) stands before the last colon: <@relay:user@host>.
        address = angle.rpartition(":")[2] if angle.startswith("@") else angle
        name = words or comment
    else:
        address, name = words, comment
        if _QUOTED_LOCAL.fullmatch(address):
            return Mailbox(address=charset.one_line(address, MAX_ADDRESS), name=charset.one_line(comment, MAX_NAME))
        if " " in address.strip():
            # "Somebody somebody@example.org": the word with the @ is the address, the others the name.
            parts = address.split()
            holders = [part for part in parts if "@" in part]
            if not holders:
                return None
            address = holders[-1]
            name = " ".join(part for part in parts if part is not address) or comment
    address = "".join(charset.clean(decode_words(address)).split()).strip("<>\"',;")
    if "@" not in address.strip("@") or len(address) > MAX_ADDRESS:
        return None
    address = address.removeprefix("mailto:")
    shown = charset.one_line(decode_words(name), MAX_NAME).strip("\"'")
    return Mailbox(address=address, name="" if shown.casefold() == address.casefold() else shown)


def _split(text: str) -> Iterable[tuple[str, str | None, str]]:
    """Triples of words, what stood in angle brackets, and comments; split at commas and semicolons."""
    words: list[str] = []
    comment: list[str] = []
    angle: str | None = None
    position, length = 0, len(text)
    last_close = text.rfind(">")
    has_at = False
    while position < length:
        character = text[position]
        if character == "=" and (word := WORD.match(text, position)):
            words.append(word[0])
            position = word.end()
        elif character == '"':
            quoted, position = _until(text, position + 1, '"')
            words.append(quoted)
            # A quoted local part is an address: "john doe"@example.org.
            if angle is None and position < length and text[position] == "@":
                words[-1] = f'"{quoted}"'
        elif character == "(":
            inner, position = _comment(text, position + 1)
            comment.append(inner)
        elif character == "<":
            close = text.find(">", position) if position < last_close else text.find(",", position)
            if close < 0:
                close = length
            angle = text[position + 1 : close]
            position = close + 1
        elif character in ",;":
            yield "".join(words).strip(), angle, " ".join(comment)
            words, comment, angle, has_at = [], [], None, False
            position += 1
        elif character == ":" and angle is None and not has_at:
            words.clear()  # a group's name
            position += 1
        elif character == "\\" and position + 1 < length:
            words.append(text[position + 1])
            position += 2
        else:
            has_at = has_at or character == "@"
            words.append(character)
            position += 1
    if words or angle is not None:
        yield "".join(words).strip(), angle, " ".join(comment)


def _until(text: str, position: int, end: str) -> tuple[str, int]:
    out: list[str] = []
    while position < len(text):
        if text[position] == "\\" and position + 1 < len(text):
            out.append(text[position + 1])
            position += 2
            continue
        if text[position] == end:
            return "".join(out), position + 1
        out.append(text[position])
        position += 1
    return "".join(out), position


def _comment(text: str, position: int) -> tuple[str, int]:
    depth, start = 1, position
    while position < len(text):
        if text[position] == "\\":
            position += 1
        elif text[position] == "(":
            depth += 1
        elif text[position] == ")":
            depth -= 1
            if not depth:
                return text[start:position], position + 1
        position += 1
    return text[start:], len(text)
