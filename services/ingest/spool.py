"""A mail while it is received: small ones in memory, larger ones in a file, never both and never twice."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import IO, Self

IN_MEMORY = 65_536
"""Bytes up to which a mail stays in memory."""
_CHUNK = 256 * 1024


class Spool:
    """Bytes written once, read any number of times; close it when done."""

    def __init__(self) -> None:
        self.size = 0
        self._buffer = bytearray()
        self._file: IO[bytes] | None = None

    @classmethod
    def of(cls, data: bytes) -> Self:
        """A spool that holds `data`."""
        spool = cls()
        spool.write(data)
        return spool

    def write(self, data: bytes) -> None:
        """Append. Raises OSError when the disk is full."""
        self.size += len(data)
        if self._file is not None:
            self._file.write(data)
            return
        self._buffer += data
        if len(self._buffer) > IN_MEMORY:
            self._file = tempfile.NamedTemporaryFile(prefix="deskwire-mail-")  # noqa: SIM115 - closed by close()
            self._file.write(self._buffer)
            self._buffer = bytearray()

    @property
    def path(self) -> Path | None:
        """The file that holds the bytes; None while they are in memory."""
        if self._file is None:
            return None
        self._file.flush()
        return Path(self._file.name)

    def content(self) -> bytes:
        """All bytes at once."""
        if self._file is None:
            return bytes(self._buffer)
        self._file.flush()
        return Path(self._file.name).read_bytes()

    async def chunks(self) -> AsyncIterator[bytes]:
        """The bytes in pieces, so that a large mail is not held in memory."""
        path = self.path
        if path is None:
            yield bytes(self._buffer)
            return
        async for piece in pieces(path):
            yield piece

    def close(self) -> None:
        """Give up the bytes."""
        self._buffer = bytearray()
        if self._file is not None:
            self._file.close()
            self._file = None


async def pieces(path: Path) -> AsyncIterator[bytes]:
    """A file a quarter of a megabyte at a time."""
    with path.open("rb") as source:
        while piece := source.read(_CHUNK):
            yield piece
