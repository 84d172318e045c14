"""Waiting for a condition instead of sleeping and hoping."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

T = TypeVar("T")


class NeverHappenedError(AssertionError):
    """The condition did not come true; says what was last seen."""


async def eventually(
    condition: Callable[[], Awaitable[T]], *, within: float = 20.0, every: float = 0.02, what: str = "the condition"
) -> T:
    """The first truthy answer of `condition`; an AssertionError inside it counts as not yet.

    `within` is seconds of patience, generous on purpose: it bounds a hanging test and measures nothing.
    """
    deadline = time.monotonic() + within
    last: object = None
    while True:
        try:
            answer = await condition()
            if answer:
                return answer
            last = answer
        except AssertionError as error:
            last = error
        if time.monotonic() > deadline:
            raise NeverHappenedError(f"{what} did not come true within {within:g} s; last seen: {last!r}")
        await asyncio.sleep(every)
