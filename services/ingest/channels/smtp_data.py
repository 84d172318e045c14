"""The end of a mail and its dots (RFC 5321 §4.5.2), whatever the pieces it comes in and the length of its lines."""

from __future__ import annotations

_END = b"\r\n.\r\n"


class Data:
    """Reads the bytes after DATA piece by piece.

    Only CRLF.CRLF ends a mail: a bare CR or LF around a dot is content, since treating it as an end is how mails are
    smuggled past the servers before us.
    """

    def __init__(self) -> None:
        # The line before the first one has ended; the two bytes are not part of the mail.
        self._held = b"\r\n"
        self._begun = False
        self.rest: bytes | None = None
        """What follows the mail, once its end has come: the client's next commands."""

    def feed(self, piece: bytes) -> bytes:
        """The content in `piece`, and in what was held back, its dots undone."""
        whole = self._held + piece
        end = whole.find(_END)
        if end >= 0:
            self._held, self.rest = b"", whole[end + len(_END) :]
            return self._undone(whole[: end + 2])
        held = next((n for n in range(len(_END) - 1, 0, -1) if whole.endswith(_END[:n])), 0)
        self._held = whole[len(whole) - held :]
        return self._undone(whole[: len(whole) - held])

    def _undone(self, content: bytes) -> bytes:
        if not content:
            return b""
        content = content.replace(b"\r\n.", b"\r\n")
        if not self._begun:
            self._begun = True
            return content[2:]
        return content
