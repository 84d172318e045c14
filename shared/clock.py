"""The clock of the whole desk: real time plus an offset that is zero outside tests.

Every service's database has one offset row, which `desk_now()` adds; the services themselves may only read it. Moving
it moves due instants, not leases, tokens or TLS.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

import asyncpg

from shared import tasks, timers

_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}
_PART = re.compile(r"(\d+(?:\.\d+)?)(ms|[smhdw])")

TIMEOUT = 10.0
"""Seconds for any one statement."""


class ClockError(ValueError):
    """A duration that cannot be read, or databases whose clocks differ."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What one database believes."""

    database: str
    now: datetime
    offset: timedelta


def duration(text: str) -> timedelta:
    """`30m`, `1h30m`, `2d`, `-5m` as a span. Raises ClockError with what is understood."""
    sign, body = (-1, text[1:]) if text.startswith("-") else (1, text)
    parts = _PART.findall(body)
    if not parts or "".join(number + unit for number, unit in parts) != body:
        raise ClockError(f"{text!r}: a duration is written like 30m, 1h30m, 2d or 45s")
    return sign * timedelta(seconds=sum(float(number) * _UNITS[unit] for number, unit in parts))


async def forward(addresses: Mapping[str, str], delta: timedelta) -> list[Reading]:
    """Move the clocks of all databases (name → administrator's address) by `delta`; what they say afterwards.

    Each is set to the same offset, the largest there was plus `delta`, so that one that was left behind catches up.
    """
    offsets = [reading.offset for reading in await read(addresses)]
    return await _set(addresses, max(offsets, default=timedelta()) + delta)


async def reset(addresses: Mapping[str, str]) -> list[Reading]:
    """Put all clocks back to real time."""
    return await _set(addresses, timedelta())


async def read(addresses: Mapping[str, str]) -> list[Reading]:
    """What every database believes, in the order given."""
    readings = []
    for name, address in addresses.items():
        connection = await asyncpg.connect(address, timeout=5, command_timeout=TIMEOUT)
        try:
            row = await connection.fetchrow("SELECT desk_now() AS now, shift FROM clock_offset")
        finally:
            await connection.close()
        if row is None:
            raise ClockError(f"{name}: the database has no clock")
        readings.append(Reading(database=name, now=row["now"], offset=row["shift"]))
    return readings


async def _set(addresses: Mapping[str, str], offset: timedelta) -> list[Reading]:
    for address in addresses.values():
        connection = await asyncpg.connect(address, timeout=5, command_timeout=TIMEOUT)
        try:
            async with connection.transaction():
                await connection.execute("UPDATE clock_offset SET shift = $1", offset)
                # What the clock has passed is due now: nobody needs to sleep until the cap.
                for channel in _CHANNELS:
                    await connection.execute("SELECT pg_notify($1, '')", channel)
        finally:
            await connection.close()
    return await read(addresses)


_CHANNELS: Sequence[str] = (timers.CHANNEL, tasks.CHANNEL)
