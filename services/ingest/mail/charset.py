"""Bytes to text: the declared charset first, then detection, and always an answer."""

from __future__ import annotations

import codecs
import re
from functools import lru_cache

import charset_normalizer

_ALIASES = {
    "ascii": "utf-8",
    "us-ascii": "utf-8",
    "ansi_x3.4-1968": "utf-8",
    "utf8": "utf-8",
    "utf-8//translit": "utf-8",
    "unicode-1-1-utf-8": "utf-8",
    "unicode-1-1-utf-7": "utf-7",
    # What the world labels Latin-1 is Windows' extension of it (WHATWG Encoding).
    "iso-8859-1": "cp1252",
    "iso8859-1": "cp1252",
    "latin1": "cp1252",
    "latin-1": "cp1252",
    "ansi": "cp1252",
    "x-ansi": "cp1252",
    "windows-1252": "cp1252",
    "iso-8859-8-i": "cp1255",
    "iso-8859-8-e": "cp1255",
    "iso-8859-9": "cp1254",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "x-gbk": "gb18030",
    "gb_2312-80": "gb18030",
    "ks_c_5601-1987": "cp949",
    "ks_c_5601": "cp949",
    "euc-kr": "cp949",
    "shift_jis": "cp932",
    "shift-jis": "cp932",
    "x-sjis": "cp932",
    "windows-31j": "cp932",
    "iso-2022-jp": "iso2022_jp_ext",
    "cp50220": "iso2022_jp_ext",
    "x-mac-roman": "mac_roman",
    "macintosh": "mac_roman",
    "x-mac-cyrillic": "mac_cyrillic",
    "windows-874": "cp874",
    "tis-620": "cp874",
    "big5": "big5hkscs",
}
# Python codecs that are no charset of a mail; some of them take quadratic time.
_REFUSED = {"idna", "punycode", "unicode_escape", "raw_unicode_escape", "undefined", "mbcs", "oem", "palmos"}

_SAMPLE = 4_096
"""Bytes looked at by detection, which costs milliseconds per kilobyte."""
_CONTROL = re.compile(r"[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
_LINE_END = re.compile(r"\r\n?|\x85|\u2028|\u2029")


@lru_cache(maxsize=256)
def codec(declared: str) -> str | None:
    """Python's name for a charset as mails declare it; None for one that does not exist."""
    name = declared.strip().strip("\"'").lower()
    name = _ALIASES.get(name, name)
    if not name or len(name) > 64:
        return None
    try:
        found = codecs.lookup(name)
    except (LookupError, ValueError, UnicodeError):
        return None
    if found.name.replace("-", "_") in _REFUSED or not getattr(found, "_is_text_encoding", True):
        return None
    return name


def decode(data: bytes, declared: str | None = None) -> str:
    """`data` as text without NULs and other control characters, line ends as LF. Never raises."""
    return clean(_decode(data, declared))


def clean(text: str) -> str:
    """Text that PostgreSQL, JSON and every reader accept: no control characters, no lone surrogates."""
    text = _CONTROL.sub("", _LINE_END.sub("\n", text))
    try:
        text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-8", "replace").decode()
    return text


def one_line(text: str, limit: int) -> str:
    """Text for a header or a name: no line ends, runs of white space as one space, at most `limit` characters."""
    return " ".join(clean(text).split())[:limit]


def _decode(data: bytes, declared: str | None) -> str:
    if data.startswith(codecs.BOM_UTF8):
        return data[3:].decode("utf-8", "replace")
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)) and len(data) % 2 == 0:
        return data.decode("utf-16", "replace")
    name = codec(declared) if declared else None
    if name is None or name == "utf-8":
        if b"\x1b$" in data or b"\x1b(J" in data:
            name = "iso2022_jp_ext"
        else:
            try:
                return data.decode("utf-8")
            except UnicodeDecodeError:
                return _detect(data) or data.decode("cp1252", "replace")
    try:
        return data.decode(name)
    except (UnicodeError, ValueError, LookupError):
        pass
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        pass
    if name == "cp1252":
        # Five of its bytes mean nothing; more often than another charset they are stray.
        return data.decode("cp1252", "replace")
    detected = _detect(data)
    if detected is not None:
        return detected
    try:
        return data.decode(name, "replace")
    except (UnicodeError, ValueError, LookupError):
        return data.decode("cp1252", "replace")


def _detect(data: bytes) -> str | None:
    """What the bytes look like, or None. Detection looks at the part around the first byte that is not ASCII."""
    match = re.search(rb"[\x80-\xff]", data)
    start = max(0, (match.start() if match else 0) - 256)
    sample = data[start : start + _SAMPLE]
    if len(sample) < 16 or not match:
        return None
    if _mostly_utf8(data):
        return data.decode("utf-8", "replace")
    try:
        best = charset_normalizer.from_bytes(sample).best()
    except Exception:  # noqa: BLE001 - a detector that fails is one that found nothing
        return None
    if best is None or codec(best.encoding) is None:
        return None
    try:
        return data.decode(best.encoding, "replace")
    except (UnicodeError, LookupError, ValueError):
        return None


def _mostly_utf8(data: bytes) -> bool:
    """Whether valid UTF-8 was cut or damaged in a few places, rather than being something else."""
    text = data.decode("utf-8", "replace")
    damaged = text.count("\ufffd")
    if not damaged:
        return True
    foreign = sum(1 for character in text[:_SAMPLE] if character > "\x7f" and character != "\ufffd")
    return foreign > 8 * damaged
