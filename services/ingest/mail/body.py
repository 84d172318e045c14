"""Which parts of a mail are its text and which are attachments (RFC 2046, and what programs make of it)."""

from __future__ import annotations

import html as entities
from dataclasses import dataclass, field
from pathlib import Path

from services.ingest.mail import charset, files
from services.ingest.mail.html import Rendered, render
from services.ingest.mail.limits import Budget
from services.ingest.mail.structure import Part

_BODY_TYPES = {"text/plain", "text/html", "text/enriched", "text/x-markdown", "text/markdown"}


@dataclass(frozen=True, slots=True, kw_only=True)
class File:
    """One attachment, decoded."""

    name: str
    media_type: str
    data: bytes
    path: Path | None = None
    """Where the bytes are instead, when a child process decoded them; `data` is empty then."""
    inline: bool = False
    content_id: str | None = None


@dataclass(frozen=True, slots=True)
class Content:
    """What a mail says: always text; sanitised HTML where it had any that could be read; its attachments in order."""

    text: str
    html: str | None
    files: tuple[File, ...]


@dataclass(frozen=True, slots=True)
class _Segment:
    """A stretch of the body in one or both forms."""

    plain: str | None = None
    html: Rendered | None = None


@dataclass(slots=True)
class _Reader:
    budget: Budget
    found: list[tuple[Part, str, bytes]] = field(default_factory=list)
    """Attachments: the part, its declared type, its decoded bytes."""

    def segments(self, part: Part) -> list[_Segment]:
        self.budget.spend()
        if not part.children:
            return self._leaf(part)
        if part.media_type == "multipart/alternative":
            return self._alternative(part)
        return [segment for child in part.children for segment in self.segments(child)]

    def _leaf(self, part: Part) -> list[_Segment]:
        if _is_attachment(part):
            self.found.append((part, part.media_type, part.content()))
            return []
        data = part.content()
        if part.media_type.startswith("multipart/"):
            # A multipart without its boundary: what it holds can only be shown.
            return [_Segment(plain=charset.decode(data))]
        declared = part.content_type.parameters.get("charset")
        if part.media_type == "text/html":
            source = charset.decode(data, declared or _meta_charset(data))
            return [_Segment(html=render(source, self.budget.limits))]
        text = charset.decode(data, declared)
        if part.content_type.parameters.get("format", "").lower() == "flowed":
            text = unflow(text, delete_space=part.content_type.parameters.get("delsp", "").lower() == "yes")
        return [_Segment(plain=text)]

    def _alternative(self, part: Part) -> list[_Segment]:
        """Of several forms of one thing: the first that is plain text, and the last that has HTML."""
        plain: str | None = None
        rich: Rendered | None = None
        for child in part.children:
            form = self.segments(child)
            pages = [segment.html for segment in form if segment.html is not None]
            words = "\n".join(segment.plain for segment in form if segment.plain is not None)
            if pages:
                rich = _joined(pages) if not words.strip() or len(pages) == len(form) else _mixed(form)
            elif words.strip() and plain is None:
                plain = words
        return [_Segment(plain=plain, html=rich)] if plain is not None or rich is not None else []


def read(root: Part, budget: Budget) -> Content:
    """Text, HTML and attachments of a whole message. Raises BoundError."""
    reader = _Reader(budget)
    segments = reader.segments(root)
    texts = []
    for segment in segments:
        if segment.plain is not None and segment.plain.strip():
            texts.append(segment.plain.strip("\n"))
        elif segment.html is not None and segment.html.text.strip():
            texts.append(segment.html.text)
    pages = [segment.html for segment in segments if segment.html is not None]
    safe = _page(segments) if pages and all(page.safe is not None for page in pages) else None
    cids = frozenset(cid for page in pages for cid in page.content_ids)
    return Content(text="\n\n".join(texts).strip("\n"), html=safe, files=_files(reader, cids))


def _files(reader: _Reader, content_ids: frozenset[str]) -> tuple[File, ...]:
    taken: set[str] = set()
    out = []
    for number, (part, declared, data) in enumerate(reader.found, start=1):
        media_type = declared if declared.startswith("message/") else None
        name = part.disposition.parameters.get("filename") or part.content_type.parameters.get("name") or ""
        media_type = media_type or files.media_type(data[:4_096], declared, name)
        if not name and declared == "message/rfc822":
            name = _subject(data)
        safe = files.safe_name(name, files.fallback_name(number, media_type))
        content_id = part.content_id
        inline = part.disposition.value == "inline" or (content_id is not None and content_id in content_ids)
        out.append(
            File(
                name=files.unique(safe, taken),
                media_type=media_type,
                data=data,
                inline=inline and part.disposition.value != "attachment",
                content_id=content_id,
            )
        )
    return tuple(out)


def _is_attachment(part: Part) -> bool:
    kind = part.media_type
    if part.disposition.value.startswith("attachment"):
        return True
    if kind.startswith("multipart/"):
        return False
    if kind not in _BODY_TYPES:
        return True
    named = bool(part.disposition.parameters.get("filename") or part.content_type.parameters.get("name"))
    # Some programs name the body itself; a named text that stands inline and is not HTML or plain is a file.
    return named and (part.disposition.value != "inline" or kind not in {"text/plain", "text/html"})


def _subject(data: bytes) -> str:
    """A name for a forwarded mail: its subject."""
    for line in data[:20_000].splitlines()[:200]:
        if line.lower().startswith(b"subject:"):
            from services.ingest.mail.headers import decode_words, raw_text  # noqa: PLC0415 - rare path

            subject = charset.one_line(decode_words(raw_text(line[8:])), 80)
            return f"{subject.replace('/', '-')}.eml" if subject else ""
        if not line.strip():
            break
    return ""


def _joined(pages: list[Rendered]) -> Rendered:
    if len(pages) == 1:
        return pages[0]
    safe = None if any(page.safe is None for page in pages) else "\n".join(page.safe or "" for page in pages)
    return Rendered(
        text="\n\n".join(page.text for page in pages if page.text.strip()),
        safe=safe,
        content_ids=frozenset().union(*(page.content_ids for page in pages)),
    )


def _mixed(form: list[_Segment]) -> Rendered:
    """HTML with plain stretches between, as Apple Mail makes around attachments."""
    return _joined([s.html if s.html is not None else _as_page(s.plain or "") for s in form])


def _as_page(text: str) -> Rendered:
    return Rendered(text=text, safe=f"<pre>{entities.escape(text)}</pre>")


def _page(segments: list[_Segment]) -> str:
    pieces = []
    for segment in segments:
        if segment.html is not None:
            pieces.append(segment.html.safe or "")
        elif segment.plain is not None and segment.plain.strip():
            pieces.append(f"<pre>{entities.escape(segment.plain)}</pre>")
    return "\n".join(pieces)


def _meta_charset(data: bytes) -> str | None:
    """What an HTML part says of its own encoding when its header says nothing."""
    head = data[:2_048].lower()
    position = head.find(b"charset=")
    if position < 0:
        return None
    value = head[position + 8 : position + 60].lstrip(b"\"' ")
    return value.replace(b'"', b" ").replace(b"'", b" ").replace(b">", b" ").split(b" ")[0].decode("ascii", "ignore")


def unflow(text: str, *, delete_space: bool) -> str:
    """RFC 3676: lines that end in a space go on in the next one of the same quote depth; stuffing is undone."""
    out: list[str] = []
    open_depth: int | None = None
    for line in text.split("\n"):
        depth = len(line) - len(line.lstrip(">"))
        content = line[depth:]
        content = content.removeprefix(" ")
        flowed = content.endswith(" ") and content != "-- "
        if open_depth == depth and content != "-- ":
            out[-1] += content
        else:
            out.append((">" * depth + " " if depth else "") + content)
        if flowed and delete_space:
            out[-1] = out[-1][:-1]
        open_depth = depth if flowed else None
    return "\n".join(out)
