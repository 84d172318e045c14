"""HTML of mails: readable text and a version safe to show. Bounded, because HTML parsers are not."""

from __future__ import annotations

import html as entities
import re
from dataclasses import dataclass

import nh3
from selectolax.lexbor import LexborHTMLParser, LexborNode

from services.ingest.mail.charset import clean
from services.ingest.mail.limits import Limits

_TAG = re.compile(r"<(/?)([a-zA-Z][a-zA-Z0-9]*)")
_DROP = re.compile(
    r"<(script|style|head|title|template)\b.*?(?:</\1\s*>|\Z)|<!--.*?(?:-->|\Z)", re.IGNORECASE | re.DOTALL
)
_ANY_TAG = re.compile(r"<[^>]{0,2000}>?")
_BREAKS = re.compile(r"<(?:br|/p|/div|/tr|/li|/h[1-6]|hr)\b[^>]{0,200}>", re.IGNORECASE)
_SPACES = re.compile(r"[ \t\r\n\f\xa0]+")
_BLANK_LINES = re.compile(r"\n{3,}")
_HIDDEN = re.compile(r"display\s*:\s*none", re.IGNORECASE)

_NO_DEPTH = frozenset(
    [
        "area",
        "base",
        "br",
        "col",
        "embed",
        "hr",
        "img",
        "input",
        "link",
        "meta",
        "param",
        "source",
        "track",
        "wbr",
        "p",
        "li",
        "dt",
        "dd",
        "td",
        "th",
        "tr",
        "option",
        "tbody",
        "thead",
    ]
)
"""Void elements, and those that close themselves when the next one opens: they do not nest."""
_SKIPPED = frozenset(
    [
        "script",
        "style",
        "head",
        "title",
        "template",
        "noscript",
        "object",
        "svg",
        "math",
        "select",
        "textarea",
        "iframe",
    ]
)
_BLOCKS = frozenset(
    [
        "address",
        "article",
        "aside",
        "blockquote",
        "center",
        "dd",
        "details",
        "dialog",
        "div",
        "dl",
        "dt",
        "fieldset",
        "figcaption",
        "figure",
        "footer",
        "form",
        "h1",
        "h2",
        "h3",
        "h4",
        "h5",
        "h6",
        "header",
        "hr",
        "li",
        "main",
        "nav",
        "ol",
        "p",
        "pre",
        "section",
        "summary",
        "table",
        "tr",
        "ul",
        "body",
        "html",
    ]
)
_SPACED = frozenset(["p", "h1", "h2", "h3", "h4", "h5", "h6", "ul", "ol", "dl", "blockquote", "table", "pre"])
_TAGS = set(nh3.ALLOWED_TAGS) | {"font", "tfoot"}
_ATTRIBUTES = {tag: set(names) for tag, names in nh3.ALLOWED_ATTRIBUTES.items()}
_ATTRIBUTES["img"] = {"src", "alt", "width", "height"}
_ATTRIBUTES["font"] = {"color", "face", "size"}
_SCHEMES = {"http", "https", "mailto", "tel", "cid"}


@dataclass(frozen=True, slots=True)
class Rendered:
    """One HTML part for people: its text, and HTML safe to show (None when it passes the bounds)."""

    text: str
    safe: str | None
    content_ids: frozenset[str] = frozenset()
    """Content-IDs its images refer to."""


def render(source: str, limits: Limits) -> Rendered:
    """Text and safe HTML of one part. Never raises for any string within `limits`' time."""
    if len(source) > limits.html_bytes or nesting(source) > limits.html_depth:
        return Rendered(text=_strip(source), safe=None)
    try:
        text = to_text(source)
    except (RuntimeError, ValueError, UnicodeError, AttributeError, MemoryError):
        return Rendered(text=_strip(source), safe=None)
    cids = frozenset(found.strip("<>") for found in re.findall(r"""["'(]\s*cid:([^"'()\s>]{1,250})""", source))
    return Rendered(text=text, safe=sanitise(source), content_ids=cids)


def nesting(source: str) -> int:
    """How deep elements may nest at most: opening tags less closing ones, void elements aside."""
    depth = deepest = 0
    for match in _TAG.finditer(source):
        if match[2].lower() in _NO_DEPTH:
            continue
        if match[1]:
            depth = max(0, depth - 1)
        else:
            depth += 1
            deepest = max(deepest, depth)
    return deepest


def sanitise(source: str) -> str:
    """HTML without scripts, styles, forms and anything loaded from elsewhere; `cid:` images stay."""
    return nh3.clean(
        source,
        tags=_TAGS,
        attributes=_ATTRIBUTES,
        url_schemes=_SCHEMES,
        attribute_filter=_without_remote,
        link_rel="noopener noreferrer nofollow",
    )


def _without_remote(tag: str, name: str, value: str) -> str | None:
    if name in {"src", "background", "srcset", "poster"}:
        return value if tag == "img" and value.strip().lower().startswith("cid:") else None
    if name == "cite":
        return None
    return value


def to_text(source: str) -> str:
    """What a reader sees: a line per block, lists with a dash, quotes with `>`, links with their address."""
    root = LexborHTMLParser(source).root
    if root is None:
        return ""
    writer = _Writer()
    node: LexborNode | None = root
    while node is not None:
        entered = writer.enter(node)
        child = node.first_child if entered else None
        if child is not None:
            node = child
            continue
        # Down is done: close this node and every parent that has no further sibling.
        current: LexborNode | None = node
        node = None
        while current is not None:
            writer.leave(current)
            if current.next is not None:
                node = current.next
                break
            current = current.parent
    return writer.finish()


class _Writer:
    """Collects lines while the tree is walked; iterative, since mails nest deeper than Python recurses."""

    def __init__(self) -> None:
        self._lines: list[str] = []
        self._line: list[str] = []
        self._quotes = 0
        self._pre = 0
        self._links: list[tuple[str, int]] = []
        self._pending_blank = False
        self._skipped = False

    def enter(self, node: LexborNode) -> bool:
        """Write what comes before or instead of the children; whether to go down."""
        tag = node.tag or ""
        self._skipped = False
        if tag == "-text":
            self._text(node.text_content or "")
            return False
        if tag in _SKIPPED or tag.startswith(("!", "-c")):
            self._skipped = True
            return False
        style = node.attributes.get("style") if tag in {"div", "span", "p", "td", "tr", "table"} else None
        if style and _HIDDEN.search(style):
            self._skipped = True
            return False
        if tag == "br":
            self._break()
        elif tag in _BLOCKS:
            self._block(tag, node)
        elif tag in {"td", "th"} and self._line:
            self._line.append("\t" if not self._line[-1].endswith((" ", "\t")) else "")
        elif tag == "a":
            self._links.append(((node.attributes.get("href") or "").strip(), len(self._line)))
        elif tag == "img" and (alt := (node.attributes.get("alt") or "").strip()):
            self._line.append(f"[{_SPACES.sub(' ', alt)[:200]}]")
        return True

    def leave(self, node: LexborNode) -> None:
        """Write what comes after the children."""
        tag = node.tag or ""
        if self._skipped:
            self._skipped = False
            return
        if tag == "a" and self._links:
            self._link(*self._links.pop())
        elif tag in _BLOCKS:
            self._end_line()
            if tag == "blockquote":
                self._quotes = max(0, self._quotes - 1)
            elif tag == "pre":
                self._pre = max(0, self._pre - 1)
            if tag in _SPACED:
                self._pending_blank = True

    def finish(self) -> str:
        """The text, without blank lines at its ends."""
        self._end_line()
        return _BLANK_LINES.sub("\n\n", "\n".join(self._lines)).strip("\n")

    def _text(self, text: str) -> None:
        if self._pre:
            pieces = text.replace("\r\n", "\n").split("\n")
            for piece in pieces[:-1]:
                self._line.append(piece)
                self._break()
            self._line.append(pieces[-1])
            return
        text = _SPACES.sub(" ", text)
        if not self._line or self._line[-1].endswith((" ", "\t")):
            text = text.removeprefix(" ")
        if text:
            self._line.append(text)

    def _block(self, tag: str, node: LexborNode) -> None:
        self._end_line()
        if tag in _SPACED and self._lines:
            self._pending_blank = True
        if tag == "blockquote":
            self._quotes += 1
        elif tag == "pre":
            self._pre += 1
        elif tag == "li":
            self._line.append("- ")
        elif tag == "hr":
            self._line.append("---")
            self._end_line()
        del node

    def _link(self, href: str, start: int) -> None:
        if not href.lower().startswith(("http://", "https://", "ftp://")):
            return
        shown = "".join(self._line[start:]).strip()
        if shown.rstrip("/").removeprefix("https://").removeprefix("http://") != href.rstrip("/").split("://", 1)[1]:
            self._line.append(f" <{href[:2000]}>" if shown else f"<{href[:2000]}>")

    def _break(self) -> None:
        """A line end even where nothing is written."""
        if self._pending_blank and self._line:
            self._end_line()
            return
        self._emit("".join(self._line).rstrip())
        self._line.clear()
        self._rebase()

    def _end_line(self) -> None:
        """A line end where something is written."""
        line = "".join(self._line).rstrip()
        self._line.clear()
        self._rebase()
        if line:
            if self._pending_blank and self._lines:
                self._emit("")
            self._pending_blank = False
            self._emit(line)

    def _rebase(self) -> None:
        """A link that began on an earlier line shows from the start of this one."""
        if self._links:
            self._links = [(href, 0) for href, _ in self._links]

    def _emit(self, line: str) -> None:
        prefix = "> " * min(self._quotes, 20)
        self._lines.append((prefix + line).rstrip())


def _strip(source: str) -> str:
    """Text of HTML too large or too deep to parse: its tags dropped in one pass."""
    text = _ANY_TAG.sub(" ", _BREAKS.sub("\n", _DROP.sub(" ", source)))
    lines = (" ".join(line.split()) for line in clean(entities.unescape(text)).split("\n"))
    return _BLANK_LINES.sub("\n\n", "\n".join(lines)).strip()
