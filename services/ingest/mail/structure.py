"""The tree of a MIME message: one forward pass per level over slices of the original, bounded in parts and depth.

Unlike the standard library's parser it neither recurses once per nesting of a hostile mail nor copies what it skips.
Missing end boundaries, parts without headers and boundaries that never occur are readable (RFC 2046 §5.1).
"""

from __future__ import annotations

import binascii
import quopri
import re
from dataclasses import dataclass
from functools import cached_property

from services.ingest.mail import headers as reading
from services.ingest.mail.headers import Headers, Parameterised
from services.ingest.mail.limits import Budget

_DEFAULT_TYPE = re.compile(r"^[a-z0-9!#$&^_.+-]+/[a-z0-9!#$&^_.+-]+$")
_GUESS_BOUNDARY = re.compile(rb"^--([^\s\r\n][^\r\n]{0,200}?)[ \t]*\r?$", re.MULTILINE)


@dataclass(frozen=True)
class Part:
    """One node: a leaf has a body, a multipart has children. The body is a slice of `data`, still encoded."""

    headers: Headers
    data: bytes
    start: int
    end: int
    children: tuple[Part, ...] = ()
    default_type: str = "text/plain"

    @cached_property
    def content_type(self) -> Parameterised:
        """Content-Type, or the default of where the part stands when missing or unreadable."""
        found = reading.parameterised(self.headers.get("content-type"))
        if not _DEFAULT_TYPE.match(found.value):
            value = found.value if found.value in {"text", "html"} else ""
            fallback = {"text": "text/plain", "html": "text/html"}.get(value, self.default_type)
            return Parameterised(fallback, found.parameters)
        return found

    @property
    def media_type(self) -> str:
        """`text/html`, in lower case."""
        return self.content_type.value

    @cached_property
    def disposition(self) -> Parameterised:
        """Content-Disposition: `inline`, `attachment` or empty."""
        return reading.parameterised(self.headers.get("content-disposition"))

    @property
    def content_id(self) -> str | None:
        """Content-ID without its brackets."""
        found = self.headers.text("content-id", 250).strip().strip("<>").strip()
        return found or None

    @property
    def raw(self) -> bytes:
        """The body as it was sent, without the line end that belongs to the boundary."""
        return self.data[self.start : self.end]

    def content(self) -> bytes:
        """The body with its transfer encoding undone; as it was sent where that cannot be. Never raises."""
        encoding = self.headers.get("content-transfer-encoding").split(";")[0].strip().strip("\"'").lower()
        raw = self.raw
        if encoding == "base64":
            return reading.decode_base64(raw)
        if encoding in {"quoted-printable", "quoted_printable", "qp"}:
            return quopri.decodestring(raw)
        if encoding in {"x-uuencode", "uuencode", "x-uue", "uue"}:
            return _uudecode(raw)
        return raw


def read(data: bytes, budget: Budget) -> Part:
    """The tree of a whole message. Raises BoundError."""
    return _part(data, 0, len(data), 0, default="text/plain", budget=budget)


def _part(data: bytes, start: int, end: int, depth: int, *, default: str, budget: Budget) -> Part:
    budget.part(depth)
    headers, body = reading.split(data, start, end, budget)
    leaf = Part(headers=headers, data=data, start=body, end=end, default_type=default)
    if not leaf.media_type.startswith("multipart/"):
        return leaf
    boundary = _boundary(leaf, data, body, end)
    if boundary is None:
        return leaf
    child_default = "message/rfc822" if leaf.media_type == "multipart/digest" else "text/plain"
    children = tuple(
        _part(data, first, last, depth + 1, default=child_default, budget=budget)
        for first, last in _slices(data, body, end, boundary, budget)
    )
    return Part(headers=headers, data=data, start=body, end=end, children=children, default_type=default)


def _boundary(part: Part, data: bytes, start: int, end: int) -> bytes | None:
    """The boundary that is declared, if it occurs; else the first line that looks like one."""
    declared = part.content_type.parameters.get("boundary", "").rstrip()
    if declared and len(declared) <= 250:
        found = declared.encode("utf-8", "replace")
        if data.find(b"--" + found, start, end) >= 0:
            return found
    guess = _GUESS_BOUNDARY.search(data, start, min(end, start + 10_000))
    if guess and reading.field_at(data, guess.end() + 1, end):
        return guess[1]
    return None


def _slices(data: bytes, start: int, end: int, boundary: bytes, budget: Budget) -> list[tuple[int, int]]:
    """Where each child begins and ends."""
    line = rb"--" + re.escape(boundary) + rb"(--)?[ \t]*(?:\r?(?:\n|\Z))"
    # A delimiter at the very start has no line before it; the others share the line end before them.
    first, delimiter = re.compile(line), re.compile(rb"\n" + line)
    found: list[tuple[int, int]] = []
    opened: int | None = None
    position = start
    while True:
        match = first.match(data, position, end) if position == start else None
        match = match or delimiter.search(data, max(start, position - 1), end)
        if match is None:
            break
        if opened is not None:
            stop = match.start()
            if stop > opened and data[stop - 1 : stop] == b"\r":
                stop -= 1
            found.append((opened, max(opened, stop)))
        if match[1]:
            opened = None
            break
        opened = match.end()
        position = match.end()
        if len(found) > budget.limits.parts:
            break
    if opened is not None:
        found.append((opened, end))
    return found


def _uudecode(raw: bytes) -> bytes:
    out: list[bytes] = []
    begun = False
    for line in raw.splitlines():
        if not begun:
            begun = line.startswith(b"begin ")
        elif line.rstrip() in {b"end", b"`", b""}:
            if line.rstrip() == b"end":
                break
        else:
            try:
                out.append(binascii.a2b_uu(line))
            except binascii.Error:
                # Some encoders count wrongly or append a character; decode what the length says.
                size = (((line[0] - 32) & 63) * 4 + 5) // 3
                try:
                    out.append(binascii.a2b_uu(line[:size]))
                except binascii.Error:
                    continue
    return b"".join(out) if begun else raw
