"""People who write to a desk while something is done to what it runs on, and the journal of what they were promised."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tests.containers.composed import Composed
from tests.scenarios.senders import Senders
from tests.support.desk import Desk
from tests.support.invariants import Finding, Places, Told, check, look
from tests.support.waiting import eventually

ROUND = 60
AT_ONCE = 6
PACE = 0.1
BEFORE, AFTER = 60, 60
"""Messages accepted before something is done, and after it."""
PATIENCE = 300.0
"""Seconds for that many messages; a service may be away meanwhile."""
DOUBLES = frozenset({"I2", "I4"})
"""Invariants that say that nothing has its effect twice."""
NOT_HERE = frozenset({"canaries", "left", "aside"})
"""What may be empty at rest, or is not looked at."""


@dataclass(frozen=True, kw_only=True)
class Verdict:
    """What became of everything that was ever accepted."""

    accepted: int
    lost: list[str]
    doubled: list[str]
    findings: list[Finding]
    unseen: set[str]
    """What nothing was seen of, so that nothing was judged."""

    @property
    def passed(self) -> bool:
        """Whether everything is where it must be, once, and nothing else is wrong."""
        return bool(self.accepted) and not (self.lost or self.doubled or self.findings or self.unseen)

    def told(self) -> str:
        """The numbers in a line."""
        more = f", not judged: {', '.join(sorted(self.unseen))}" if self.unseen else ""
        numbers = f"{len(self.lost)} lost, {len(self.doubled)} doubled"
        return f"{numbers} of {self.accepted} accepted; {len(self.findings)} findings of I1-I11{more}"


class Load:
    """The senders of one desk, who number their messages on from one flow to the next."""

    def __init__(self, desk: Desk, seed: int) -> None:
        self.desk = desk
        self.senders = Senders(desk, seed=seed)
        self.rate = 0.0
        """Messages accepted per second in the last flow, all that was done to it included."""
        self._number = 0

    async def subscribe(self, hooks: str) -> None:
        """Have another team called about every new ticket, so that what is sent out is judged too."""
        wanted = {"url": f"{hooks}/hooks/{self.desk.tenant}", "event_types": ["ticket.created"]}
        await self.desk.post("/v1/webhooks", wanted, as_="admin")

    @asynccontextmanager
    async def flowing(self) -> AsyncIterator[None]:
        """Messages from before what is done here until after it."""
        ended = asyncio.Event()
        before, began = len(self.senders.accepted), time.monotonic()
        async with asyncio.TaskGroup() as group:
            group.create_task(self._flow(ended))
            await self.more(BEFORE)
            yield
            await self.more(AFTER)
            ended.set()
        self.rate = (len(self.senders.accepted) - before) / (time.monotonic() - began)

    async def _flow(self, ended: asyncio.Event) -> None:
        while not ended.is_set():
            await self.senders.flow(ROUND, first=self._number, at_once=AT_ONCE, pace=PACE)
            self._number += ROUND

    async def more(self, count: int) -> None:
        wanted = len(self.senders.accepted) + count

        async def there() -> bool:
            return len(self.senders.accepted) >= wanted

        await eventually(there, within=PATIENCE, every=0.1, what=f"{count} more messages accepted")

    async def judged(self, installation: Composed) -> Verdict:
        """Wait until all is at rest; the journal against topics, databases, index and sink."""
        await installation.ready()
        await installation.quiet(within=PATIENCE)
        accepted = self.senders.accepted
        told = Told(accepted=accepted, tenants={self.desk.tenant})
        world = await look(Places.of(installation), told, tap=self.desk.tap)
        findings = check(world)
        places = Counter(message for _, _, message in world.members)
        twice = [message for message, count in places.items() if count > 1]
        return Verdict(
            accepted=len(accepted),
            lost=[message for message in accepted if not places[message]],
            doubled=twice + [finding.id for finding in findings if finding.invariant in DOUBLES],
            findings=findings,
            unseen={name for name, seen in vars(world).items() if not seen} - NOT_HERE,
        )
