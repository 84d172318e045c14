"""Attachments: names that are safe on every disk and screen, types told by content rather than by the sender."""

from __future__ import annotations

import re
import unicodedata

from services.ingest.mail.charset import clean

MAX_NAME = 120
"""Characters kept of a name, its extension included."""

_BIDI = re.compile("[\u061c\u200b-\u200f\u202a-\u202e\u2060-\u2069\ufeff\ufff9-\ufffb]")
"""Invisible characters that reorder or hide parts of a name: `gpj.exe` shown as `exe.jpg`."""
_UNSAFE = re.compile(r'[<>:"|?*\x00-\x1f\x7f-\x9f]')
_RESERVED = re.compile(r"^(con|prn|aux|nul|com[0-9]|lpt[0-9])(\.|$)", re.IGNORECASE)

_MAGIC: tuple[tuple[int, bytes, str], ...] = (
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (4, b"ftypheic", "image/heic"),
    (4, b"ftypmif1", "image/heif"),
    (4, b"ftypavif", "image/avif"),
    (4, b"ftyp", "video/mp4"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "application/x-ole-storage"),
    (0, b"PK\x03\x04", "application/zip"),
    (0, b"PK\x05\x06", "application/zip"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"BZh", "application/x-bzip2"),
    (0, b"\xfd7zXZ\x00", "application/x-xz"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
    (0, b"Rar!\x1a\x07", "application/vnd.rar"),
    (0, b"\x28\xb5\x2f\xfd", "application/zstd"),
    (0, b"MZ", "application/vnd.microsoft.portable-executable"),
    (0, b"\x7fELF", "application/x-executable"),
    (0, b"\xca\xfe\xba\xbe", "application/java-vm"),
    (0, b"#!", "text/x-script"),
    (0, b"{\\rtf", "application/rtf"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"OggS", "audio/ogg"),
    (8, b"WAVE", "audio/wav"),
    (0, b"\x1aE\xdf\xa3", "video/webm"),
    (0, b"\x78\x9f\x3e\x22", "application/vnd.ms-tnef"),
    (0, b"BEGIN:VCALENDAR", "text/calendar"),
    (0, b"BEGIN:VCARD", "text/vcard"),
    (0, b"-----BEGIN PGP", "application/pgp-encrypted"),
)
_IN_ZIP = {
    "docx": "application/vnd.openxmlformats-officedocument.wordprocessingml.document",
    "xlsx": "application/vnd.openxmlformats-officedocument.spreadsheetml.sheet",
    "pptx": "application/vnd.openxmlformats-officedocument.presentationml.presentation",
    "odt": "application/vnd.oasis.opendocument.text",
    "ods": "application/vnd.oasis.opendocument.spreadsheet",
    "jar": "application/java-archive",
    "apk": "application/vnd.android.package-archive",
}
_IN_OLE = {
    "doc": "application/msword",
    "xls": "application/vnd.ms-excel",
    "ppt": "application/vnd.ms-powerpoint",
    "msg": "application/vnd.ms-outlook",
    "msi": "application/x-msi",
}
_EXTENSIONS = {
    "image/png": "png",
    "image/jpeg": "jpg",
    "image/gif": "gif",
    "image/webp": "webp",
    "application/pdf": "pdf",
    "application/zip": "zip",
    "text/html": "html",
    "text/plain": "txt",
    "text/calendar": "ics",
    "text/vcard": "vcf",
    "text/csv": "csv",
    "message/rfc822": "eml",
    "message/delivery-status": "txt",
    "application/vnd.ms-tnef": "dat",
    "application/pgp-signature": "asc",
    "application/pkcs7-signature": "p7s",
}
_MARKUP = re.compile(
    rb"<(?:!doctype\s+html|html|head|body|script|iframe|style|title|table|div|a\s|br|p[\s>])", re.IGNORECASE
)
_SVG = re.compile(rb"<svg[\s>]", re.IGNORECASE)
_TOKEN = re.compile(r"^[a-z0-9][a-z0-9!#$&^_.+-]{0,80}/[a-z0-9][a-z0-9!#$&^_.+-]{0,80}$")
_NEEDS_MAGIC = ("image/", "audio/", "video/", "font/", "multipart/")


def safe_name(name: str, fallback: str) -> str:
    """A single path component, printable in one direction, at most MAX_NAME characters with its extension kept."""
    name = _BIDI.sub("", clean(unicodedata.normalize("NFC", name[:4_000])))
    name = re.split(r"[/\\]", name.rstrip("/\\ "))[-1]
    name = " ".join(_UNSAFE.sub("_", name).split()).strip(". ")
    if not name:
        return fallback
    if _RESERVED.match(name):
        name = f"_{name}"
    if len(name) > MAX_NAME:
        stem, dot, extension = name.rpartition(".")
        if dot and 0 < len(extension) <= 12:
            name = f"{stem[: MAX_NAME - len(extension) - 1]}.{extension}"
        else:
            name = name[:MAX_NAME]
    return name


def unique(name: str, taken: set[str]) -> str:
    """`name`, numbered when another attachment of the message has it; remembered in `taken`."""
    candidate, number = name, 2
    stem, dot, extension = name.rpartition(".")
    while candidate.casefold() in taken:
        candidate = f"{stem} ({number}).{extension}" if dot and stem else f"{name} ({number})"
        number += 1
    taken.add(candidate.casefold())
    return candidate


def fallback_name(number: int, media_type: str) -> str:
    """A name for a part that has none: `attachment-2.png`."""
    extension = _EXTENSIONS.get(media_type)
    return f"attachment-{number}.{extension}" if extension else f"attachment-{number}"


def media_type(head: bytes, declared: str, name: str) -> str:
    """The type by content (its first 4 kB are enough); `declared` counts only where content says nothing.

    Markup is called what it is whatever it claims to be, so that nobody is shown a page as an image.
    """
    extension = name.rpartition(".")[2].lower() if "." in name else ""
    for offset, magic, found in _MAGIC:
        if head.startswith(magic, offset):
            if found == "application/zip":
                return _IN_ZIP.get(extension, found)
            if found == "application/x-ole-storage":
                return _IN_OLE.get(extension, found)
            return found
    start = head[:1_024].removeprefix(b"\xef\xbb\xbf").lstrip()
    if _SVG.search(start):
        return "image/svg+xml"
    if _MARKUP.match(start):
        return "text/html"
    if start.startswith(b"<?xml"):
        return "text/html" if _MARKUP.search(start) else "application/xml"
    declared = declared.lower()
    if not _TOKEN.match(declared) or declared.startswith(_NEEDS_MAGIC):
        declared = "application/octet-stream"
    if declared == "application/octet-stream" and head and _is_text(head):
        return "text/csv" if extension == "csv" else "text/plain"
    return declared


def _is_text(head: bytes) -> bool:
    if b"\x00" in head:
        return False
    try:
        head[:2_048].decode("utf-8")
    except UnicodeDecodeError as error:
        return error.start > len(head[:2_048]) - 4 and len(head) > 2_048
    return True
