"""Progress that reads well on a terminal and in a file: a live line only where there is a terminal to redraw it on."""

from __future__ import annotations

import shutil
import sys
import threading
import time
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from typing import TextIO

MEGABYTE: Final = 1_000_000
REDRAW_SECONDS: Final = 0.1
REPORT_SECONDS: Final = 5.0


def megabytes(size: float) -> str:
    """Show a size the way package indexes do."""
    return f"{size / MEGABYTE:.1f} MB"


def summary(*, received: int, expected: int, done: int, files: int, seconds: float, current: str) -> str:
    """One line on downloads under way."""
    share = 100 * received // expected if expected else 100
    speed = megabytes(received / seconds) if seconds > 0 else "0.0 MB"
    amount = f"{received / MEGABYTE:.1f} of {megabytes(expected)} ({share} %), {speed}/s"
    return f"  fetching {done}/{files} files, {amount}  {current}".rstrip()


class Progress:
    """Says what happens, line by line, from several threads at once."""

    def __init__(self, stream: TextIO | None = None, *, live: bool | None = None) -> None:
        """Write to `stream` (stdout), redrawing one line in place when it is a terminal."""
        self._stream = stream or sys.stdout
        self._live = self._stream.isatty() if live is None else live
        self._lock = threading.RLock()
        self._shown = ""
        # The first report in a file is due after the usual wait, not at once.
        self._drawn = 0.0 if self._live else time.monotonic()

    def say(self, text: str) -> None:
        """Print a line that stays."""
        with self._lock:
            self._wipe()
            print(text, file=self._stream, flush=True)

    def show(self, text: str, *, now: float | None = None) -> None:
        """Replace the live line; in a file, add a line every few seconds at most."""
        instant = time.monotonic() if now is None else now
        with self._lock:
            if instant - self._drawn < (REDRAW_SECONDS if self._live else REPORT_SECONDS):
                return
            self._drawn = instant
            if not self._live:
                print(text, file=self._stream, flush=True)
                return
            self._wipe()
            self._shown = text[: shutil.get_terminal_size().columns - 1]
            self._stream.write(self._shown)
            self._stream.flush()

    def end(self) -> None:
        """Take the live line away."""
        with self._lock:
            self._wipe()
            self._stream.flush()

    def _wipe(self) -> None:
        if self._shown:
            self._stream.write("\r" + " " * len(self._shown) + "\r")
            self._shown = ""


class Transfer:
    """A set of downloads counted together."""

    def __init__(self, progress: Progress, *, files: int, expected: int) -> None:
        """Count `files` files of `expected` bytes in all."""
        self._progress = progress
        self._files = files
        self._expected = expected
        self._received = 0
        self._done = 0
        self._began = time.monotonic()
        self._lock = threading.Lock()

    def add(self, name: str, size: int) -> None:
        """Count bytes of one file as they come (negative when they are thrown away)."""
        with self._lock:
            self._received += size
            text = summary(
                received=self._received,
                expected=self._expected,
                done=self._done,
                files=self._files,
                seconds=time.monotonic() - self._began,
                current=name,
            )
        self._progress.show(text)

    def finish(self, name: str, size: int, seconds: float) -> None:
        """Report one file as fetched and verified."""
        with self._lock:
            self._done += 1
            count = self._done
        self._progress.say(f"  fetched {count}/{self._files} {name} {megabytes(size)} in {seconds:.1f} s")
