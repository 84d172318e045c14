"""Names looked up by ourselves and judged before anything connects; what was judged is what is connected to.

A name is looked up again at every use that is a few seconds after the last one, so that a name which changes its mind
(DNS rebinding) is judged by its new addresses. If one address of a name is refused, the whole name is: a name that is
public and private at once is an attack or a mistake.
"""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import Awaitable, Callable, Sequence
from ipaddress import ip_address

from shared.egress.rules import RefusedError, Rules, Target

Lookup = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a name; raises OSError when it has none."""

HELD_SECONDS = 3.0
"""How long a judgement holds: a burst to one name is one look-up."""
LOOKUP_SECONDS = 5.0
MOST_ADDRESSES = 16
MOST_NAMES = 4096


async def system_lookup(host: str, port: int) -> Sequence[str]:
    """What this machine's resolver says."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(info[4][0]) for info in found))


class Vetting:
    """Judges targets by the operator's rules."""

    def __init__(self, rules: Rules, lookup: Lookup = system_lookup) -> None:
        self.rules = rules
        self._lookup = lookup
        self._held: dict[Target, tuple[float, tuple[str, ...]]] = {}

    async def addresses(self, target: Target) -> tuple[str, ...]:
        """The addresses to connect to.

        Raises RefusedError when one of them is not allowed, OSError or TimeoutError when the name has none.
        """
        now = time.monotonic()
        held = self._held.get(target)
        if held is not None and held[0] > now:
            return held[1]
        self._held.pop(target, None)
        addresses = await self._addresses(target)
        if len(self._held) >= MOST_NAMES:
            self._held.clear()
        self._held[target] = (now + HELD_SECONDS, addresses)
        return addresses

    async def _addresses(self, target: Target) -> tuple[str, ...]:
        if target.address is not None:
            found: Sequence[str] = [target.host]
        else:
            async with asyncio.timeout(LOOKUP_SECONDS):
                found = (await self._lookup(target.host, target.port))[:MOST_ADDRESSES]
        if not found:
            raise OSError("the name has no address")
        for text in found:
            reason = self.rules.refuses(target, ip_address(text))
            if reason is not None:
                raise RefusedError(reason)
        return tuple(found)
