"""Who is sent what next: a lane per endpoint, in order within it, bounded per endpoint, per tenant and altogether.

No input or output here. A lane takes from the table only what it can hand off within about a second, so that a slow
endpoint holds few leases and nobody else's turn.
"""

from __future__ import annotations

from collections import Counter, OrderedDict, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from uuid import UUID

from services.notify.domain.webhook_endpoint import OPEN_AFTER
from services.notify.store.webhook_queue import Head, Leased

PATIENCE = 0.5
"""Seconds of an endpoint's work that a lane takes beforehand."""
MOST_WAITING = 120
UNKNOWN_PACE = 0.5
"""Seconds per attempt supposed of an endpoint that has not answered yet."""
LEARNING = 0.2


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """How much may be under way at once in this process."""

    endpoint: int = 8
    tenant: int = 64
    process: int = 256
    taken: int = 4000
    """Leased, whether begun or not."""


@dataclass(slots=True, kw_only=True)
class Lane:
    """One endpoint's deliveries in this process."""

    head: Head
    waiting: deque[tuple[Leased, float]] = field(default_factory=deque)
    """With the instant (monotonic seconds) before which it must be begun."""
    under_way: int = 0
    unsettled: int = 0
    """Attempts that ended and are not written yet."""
    streak: int = 0
    """Failures in a row seen here since the last success."""
    more: bool = False
    """Whether there was more due than was taken: somebody should look again when there is room."""
    probing: bool = False
    """The circuit is open, its pause is over, and one delivery was taken to see."""
    pace: float = UNKNOWN_PACE
    """Seconds per attempt, smoothed."""

    @property
    def is_idle(self) -> bool:
        """Whether nothing of this lane is in this process."""
        return not (self.waiting or self.under_way or self.unsettled)

    @property
    def is_open(self) -> bool:
        """Whether the circuit is open, by what is written or by what was seen since."""
        return max(self.head.failures, self.streak) >= OPEN_AFTER

    def capacity(self, bounds: Bounds) -> int:
        """How many may be taken at once."""
        ahead = int(bounds.endpoint * PATIENCE / max(self.pace, 0.001))
        return bounds.endpoint + min(ahead, MOST_WAITING)

    def room(self, bounds: Bounds) -> int:
        """How many more to take: none for a little, one at a time to see whether an open circuit may close."""
        if self.is_open:
            return 1 if self.is_idle else 0
        capacity = self.capacity(bounds)
        free = capacity - len(self.waiting) - self.under_way
        return free if free * 2 >= capacity else 0

    def ended(self, *, success: bool, seconds: float) -> None:
        """An attempt has ended."""
        self.under_way -= 1
        self.unsettled += 1
        self.probing = False
        self.streak = 0 if success else self.streak + 1
        self.pace += LEARNING * (seconds - self.pace)


class Lanes:
    """All lanes of one process."""

    def __init__(self, bounds: Bounds) -> None:
        self.bounds = bounds
        self._lanes: dict[UUID, Lane] = {}
        self._hungry: OrderedDict[UUID, None] = OrderedDict()
        """Lanes with something waiting, in the order of their turns."""
        self._tenants: Counter[str] = Counter()
        self._under_way = 0
        self._taken = 0

    def __getitem__(self, endpoint_id: UUID) -> Lane:
        return self._lanes[endpoint_id]

    def __contains__(self, endpoint_id: object) -> bool:
        return endpoint_id in self._lanes

    @property
    def under_way(self) -> int:
        """Attempts begun and not ended."""
        return self._under_way

    def rooms(self, heads: Iterable[Head]) -> dict[UUID, int]:
        """How many deliveries to take of each endpoint that has some due; knows the endpoints anew."""
        rooms: dict[UUID, int] = {}
        left = self.bounds.taken - self._taken
        for head in sorted(heads, key=lambda one: self._tenants[one.tenant_id]):
            lane = self._lanes.get(head.endpoint_id)
            if lane is None:
                lane = self._lanes[head.endpoint_id] = Lane(head=head)
            lane.head = head
            if head.due_in > 0 or not head.active:
                continue
            lane.more = True
            room = min(lane.room(self.bounds), left)
            if room > 0:
                lane.probing = lane.is_open
                rooms[head.endpoint_id] = room
                left -= room
        return rooms

    def take(self, rooms: Mapping[UUID, int], leased: Sequence[Leased], begin_before: float) -> None:
        """Deliveries that are ours now, in the order they are to be begun, as far as there was room for each lane."""
        counts = Counter(one.endpoint_id for one in leased)
        for endpoint_id, room in rooms.items():
            self._lanes[endpoint_id].more = counts[endpoint_id] == room
        for one in leased:
            self._lanes[one.endpoint_id].waiting.append((one, begin_before))
            self._hungry[one.endpoint_id] = None
        self._taken += len(leased)

    def next(self, now: float) -> Iterator[tuple[Lane, Leased]]:
        """What to begin now, a turn per lane; the caller has begun each it is given."""
        while self._under_way < self.bounds.process:
            for endpoint_id in list(self._hungry):
                lane = self._lanes[endpoint_id]
                if self._may_begin(lane, now):
                    leased, _ = lane.waiting.popleft()
                    self._begun(lane)
                    if not lane.waiting:
                        del self._hungry[endpoint_id]
                    yield lane, leased
                    if self._under_way >= self.bounds.process:
                        return
            if not any(self._may_begin(self._lanes[one], now) for one in self._hungry):
                return

    def _may_begin(self, lane: Lane, now: float) -> bool:
        return (
            bool(lane.waiting)
            and lane.under_way < self.bounds.endpoint
            and (lane.probing or not lane.is_open)
            and self._tenants[lane.head.tenant_id] < self.bounds.tenant
            and lane.waiting[0][1] > now
        )

    def _begun(self, lane: Lane) -> None:
        lane.under_way += 1
        self._under_way += 1
        self._tenants[lane.head.tenant_id] += 1

    def ended(self, lane: Lane, *, success: bool, seconds: float) -> None:
        """An attempt has ended; its result is still to be written."""
        lane.ended(success=success, seconds=seconds)
        self._under_way -= 1
        self._taken -= 1
        self._tenants[lane.head.tenant_id] -= 1
        if not self._tenants[lane.head.tenant_id]:
            del self._tenants[lane.head.tenant_id]

    def stale(self, now: float) -> list[Leased]:
        """What to give back: too late to be begun under its lease, or behind a circuit that has opened."""
        given: list[Leased] = []
        for endpoint_id in list(self._hungry):
            lane = self._lanes[endpoint_id]
            blocked = lane.is_open and not lane.probing
            while lane.waiting and (blocked or lane.waiting[0][1] <= now):
                given.append(lane.waiting.popleft()[0])
            if not lane.waiting:
                del self._hungry[endpoint_id]
        self._taken -= len(given)
        return given

    def drain(self) -> list[Leased]:
        """Everything not begun."""
        given = [leased for lane in self._lanes.values() for leased, _ in lane.waiting]
        for lane in self._lanes.values():
            lane.waiting.clear()
        self._hungry.clear()
        self._taken -= len(given)
        return given

    def forget_idle(self, known: Iterable[UUID]) -> None:
        """Drop lanes with nothing in them whose endpoints have nothing due."""
        kept = set(known)
        for endpoint_id in [one for one, lane in self._lanes.items() if lane.is_idle and one not in kept]:
            del self._lanes[endpoint_id]
