"""The one way in which a start says no: a plain line naming what is wrong, and what to do about it."""

from __future__ import annotations

import errno
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable


class Refusal(Exception):  # noqa: N818  (it is an answer to the person at the terminal, not a fault of ours)
    """Something about this machine, or what was asked, stands in the way."""

    def __init__(self, what: str, remedy: str, *, detail: str = "") -> None:
        """Keep `detail` (the tail of a log, say) apart: it is shown above the one line that matters."""
        super().__init__(what)
        self.what = what
        self.remedy = remedy
        self.detail = detail

    def line(self) -> str:
        """Return the one line shown last."""
        return f"deskwire: {self.what} {self.remedy}"


def from_os_error(error: OSError) -> Refusal | None:
    """Turn the system errors that a person can do something about into a refusal."""
    where = f" ({error.filename})" if error.filename else ""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return Refusal(
            f"The disk is full{where}.",
            "Free some space (the whole needs about 4 GiB), or set DESKWIRE_CACHE and DESKWIRE_STATE elsewhere.",
        )
    if error.errno == errno.EROFS:
        return Refusal(
            f"The file system is read-only{where}.",
            "Point DESKWIRE_CACHE and DESKWIRE_STATE at folders that can be written.",
        )
    if error.errno in {errno.EACCES, errno.EPERM}:
        return Refusal(
            f"Access is denied{where}.",
            "Correct the folder's owner or mode, or point DESKWIRE_CACHE and DESKWIRE_STATE elsewhere.",
        )
    if error.errno in {errno.ENOMEM, errno.EAGAIN}:
        return Refusal(
            "The machine has no memory or no processes left.", "Stop something, then run the same command again."
        )
    return None


def guarded(act: Callable[[], int]) -> int:
    """Run a command; whatever a person can mend ends in one line on stderr and exit code 1 instead of a traceback."""
    try:
        return act()
    except Refusal as refusal:
        shown = refusal
    except OSError as error:
        mended = from_os_error(error)
        if mended is None:
            raise
        shown = mended
    except KeyboardInterrupt:
        print("deskwire: interrupted; `make down` ends what was started", file=sys.stderr)
        return 130
    if shown.detail:
        print(shown.detail.rstrip(), file=sys.stderr)
    print(shown.line(), file=sys.stderr)
    return 1
