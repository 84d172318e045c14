"""Memory that was freed goes back to the system."""

from __future__ import annotations

import ctypes

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8
"""Of glibc's mallopt(3)."""
LARGE = 128 * 1024
"""Bytes from which a block is mapped by itself, and unmapped when it is freed."""
ARENAS = 2


def give_back() -> None:
    """Have the C library return what is freed; elsewhere than with glibc nothing happens.

    Left alone it raises the bound for large blocks with the first request of some megabytes, keeps those of all later
    ones in its heap, and makes a heap for every thread: after a burst a process stays half as large again.
    """
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return
    mallopt(_M_MMAP_THRESHOLD, LARGE)
    mallopt(_M_ARENA_MAX, ARENAS)
