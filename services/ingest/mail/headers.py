"""Header blocks without the standard library's surprises: RFC 5322 unfolding, RFC 2047 words, RFC 2231 parameters.

Python's `email` raises on common malformed headers; these functions answer with what can be read.
"""

from __future__ import annotations

import binascii
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote_to_bytes

from services.ingest.mail import charset
from services.ingest.mail.limits import Bound, BoundError, Budget

_FIELD = re.compile(rb"^([\x21-\x39\x3b-\x7e]{1,200})[ \t]*:[ \t]*(.*)$", re.DOTALL)
WORD = re.compile(r"=\?([^?\s]{1,80})\?([bBqQ])\?([^?]*)\?=")
"""An encoded word: charset, encoding, text."""
_PARAMETER = re.compile(r"""\s*;?\s*([^\s=;"]{1,100})\s*(?:=\s*("(?:[^"\\]|\\.)*"?|[^;]*))?""", re.DOTALL)
_Q_ESCAPE = re.compile(rb"=([0-9A-Fa-f]{2})")
_BEFORE = re.compile(rb"(?:\xef\xbb\xbf)?(?:[ \t]*\r?\n)*(?:>?From [^\n]*\n)?")
_SECTION = re.compile(r"^([^*]+)(?:\*(\d{1,3}))?(\*)?$")


@dataclass(frozen=True, slots=True)
class Headers:
    """One header block: raw values in order, names in lower case."""

    fields: tuple[tuple[str, bytes], ...] = ()
    _decoded: dict[str, str] = field(default_factory=dict, compare=False, repr=False)

    def all(self, name: str) -> Iterator[str]:
        """Every value of that name, unfolded and as text, encoded words still encoded."""
        for key, value in self.fields:
            if key == name:
                yield raw_text(value)

    def get(self, name: str) -> str:
        """The first value of that name, encoded words still encoded; empty when there is none."""
        if name not in self._decoded:
            self._decoded[name] = next(self.all(name), "")
        return self._decoded[name]

    def text(self, name: str, limit: int = 1_000) -> str:
        """The first value decoded for people: one line, at most `limit` characters."""
        return charset.one_line(decode_words(self.get(name)), limit)

    def has(self, name: str) -> bool:
        """Whether the header is there at all."""
        return any(key == name for key, _ in self.fields)


def split(data: bytes, start: int, end: int, budget: Budget) -> tuple[Headers, int]:
    """The header block of `data[start:end]` and where its body begins.

    A line that is no header ends the block and belongs to the body. What gateways put before a whole mail (blank
    lines, a byte order mark, an mbox line) is skipped. Raises BoundError for a block that is too large.
    """
    if start == 0:
        start = len(_BEFORE.match(data)[0])  # type: ignore[index]  # it matches nothing, too
    found: list[tuple[str, bytes]] = []
    name = ""
    pieces: list[bytes] = []
    position = start
    limit = start + budget.limits.header_bytes
    while position < end:
        stop = data.find(b"\n", position, end)
        after = end if stop < 0 else stop + 1
        line = data[position:after].rstrip(b"\r\n")
        if after > limit and (found or pieces or b":" in line[:200]):
            raise BoundError(Bound.HEADERS_TOO_LARGE)
        if not line.strip():
            position = after
            break
        if line[:1] in b" \t" and name:
            pieces.append(line)
        elif match := _FIELD.match(line):
            if name:
                found.append((name, b"".join(pieces)))
            name, pieces = match[1].decode("ascii").lower(), [match[2]]
        else:
            break
        position = after
    if name:
        found.append((name, b"".join(pieces)))
    return Headers(tuple(found)), position


def field_at(data: bytes, position: int, end: int) -> bool:
    """Whether a header field begins at `position`."""
    stop = data.find(b"\n", position, min(end, position + 1_000))
    return stop > 0 and _FIELD.match(data[position:stop]) is not None


def raw_text(value: bytes) -> str:
    """A raw header value as text: ASCII mostly, else UTF-8 (RFC 6532), else what detection says."""
    try:
        text = value.decode("ascii")
    except UnicodeDecodeError:
        return charset.decode(value)
    return text.replace("\x00", "").strip()


def decode_words(text: str) -> str:
    """RFC 2047 encoded words to text; what cannot be decoded stays as it is."""
    if "=?" not in text:
        return text
    out: list[str] = []
    pending: list[tuple[str, bytes]] = []
    position = 0
    for match in WORD.finditer(text):
        between = text[position : match.start()]
        if between.strip() or not pending:
            _flush(pending, out)
            out.append(between)
        payload = _word_bytes(match[2], match[3])
        if payload is None:
            _flush(pending, out)
            out.append(match[0])
        else:
            pending.append((match[1].partition("*")[0], payload))
        position = match.end()
    _flush(pending, out)
    out.append(text[position:])
    return "".join(out)


def _flush(pending: list[tuple[str, bytes]], out: list[str]) -> None:
    """Neighbours of one charset are joined before decoding: senders split characters between words."""
    index = 0
    while index < len(pending):
        name = pending[index][0].lower()
        payload = []
        while index < len(pending) and pending[index][0].lower() == name:
            payload.append(pending[index][1])
            index += 1
        out.append(charset.decode(b"".join(payload), name))
    pending.clear()


def _word_bytes(encoding: str, text: str) -> bytes | None:
    if encoding in "qQ":
        raw = text.replace("_", " ").encode("utf-8", "replace")
        return _Q_ESCAPE.sub(lambda m: bytes((int(m[1], 16),)), raw)
    return decode_base64(text.encode("ascii", "ignore"))


_NOT_BASE64 = re.compile(rb"[^A-Za-z0-9+/=]+")


def decode_base64(data: bytes) -> bytes:
    """Base64 as found: foreign characters skipped, padding repaired, several padded pieces joined."""
    data = _NOT_BASE64.sub(b"", data)
    if b"=" not in data:
        return _decode_base64_piece(data)
    return b"".join(_decode_base64_piece(piece) for piece in data.split(b"=") if piece)


def _decode_base64_piece(piece: bytes) -> bytes:
    if len(piece) % 4 == 1:
        piece = piece[:-1]
    try:
        return binascii.a2b_base64(piece + b"=" * (-len(piece) % 4))
    except (binascii.Error, ValueError):
        return b""


@dataclass(frozen=True, slots=True)
class Parameterised:
    """A structured value such as Content-Type: the value in lower case and its parameters decoded."""

    value: str
    parameters: dict[str, str]


def parameterised(text: str) -> Parameterised:
    """`text/plain; charset=x; name*0*=…` read leniently, RFC 2231 sections joined. Never raises."""
    value, _, rest = text.partition(";")
    plain: dict[str, str] = {}
    sections: dict[str, dict[int, tuple[str, bool]]] = {}
    position = 0
    rest = rest[:20_000]
    while position < len(rest) and len(plain) + len(sections) < 100:
        match = _PARAMETER.match(rest, position)
        if match is None or match.end() == position:
            position += 1
            continue
        position = match.end()
        name = match[1].lower()
        content = _unquote(match[2] or "")
        parts = _SECTION.match(name)
        if parts is None or (parts[2] is None and parts[3] is None):
            plain.setdefault(name, content)
        else:
            number = int(parts[2] or 0)
            sections.setdefault(parts[1], {}).setdefault(number, (content, parts[3] is not None))
    decoded = {name: charset.one_line(decode_words(content), 1_000) for name, content in plain.items()}
    for name, numbered in sections.items():
        joined = _join_sections(numbered)
        if joined or name not in decoded:
            decoded[name] = charset.one_line(joined, 1_000)
    return Parameterised(value.strip().lower()[:200], decoded)


def _unquote(content: str) -> str:
    content = content.strip()
    if content.startswith('"'):
        content = content[1:].removesuffix('"')
        return re.sub(r"\\(.)", r"\1", content) if '\\"' in content or "\\\\" in content else content
    return content


def _join_sections(numbered: dict[int, tuple[str, bool]]) -> str:
    """RFC 2231 §3 and §4.1: the charset is named in the first section; only starred sections are percent-encoded."""
    name: str | None = None
    payload: list[bytes] = []
    for number in sorted(numbered):
        content, encoded = numbered[number]
        if encoded:
            if number == min(numbered) and content.count("'") >= 2:
                name, _, content = content.split("'", 2)
            payload.append(unquote_to_bytes(content))
        else:
            payload.append(content.encode("utf-8", "replace"))
    return charset.decode(b"".join(payload), name or None)
