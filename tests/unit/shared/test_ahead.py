"""How much may go out before its reader has come after: bounded while that is known, and never for ever."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

from aiokafka.errors import KafkaConnectionError

from shared import ahead
from shared.ahead import Ahead, Window
from tests.support.waiting import eventually


class Told:
    """A reader that says what a test wants; the last answer again and again."""

    def __init__(self, answers: Sequence[int | Exception | None]) -> None:
        self.answers = list(answers)
        self.asked = 0
        self.closed = 0

    async def lag(self) -> int | None:
        self.asked += 1
        answer = self.answers[0] if len(self.answers) == 1 else self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def close(self) -> None:
        self.closed += 1


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


async def looked(held: Ahead, reader: Told, times: int) -> None:
    """Run until the reader was asked so often."""
    task = asyncio.create_task(held.run(lambda: None))

    async def asked() -> bool:
        return reader.asked >= times

    await eventually(asked, every=0.002)
    await asyncio.sleep(0.005)
    task.cancel()
    await asyncio.wait({task})


def made(*answers: int | Exception | None, events: int = 100) -> tuple[Ahead, Told, Clock]:
    reader, clock = Told(answers), Clock()
    return Ahead(Window("t", "r", events), reader, clock), reader, clock


async def test_nothing_goes_out_before_the_first_look_unless_nobody_answers() -> None:
    held, _, clock = made(0)
    assert held.room() == 0
    clock.now += ahead.BLIND_FOR + 1
    assert held.room() is None


async def test_there_is_room_for_what_the_reader_is_not_behind() -> None:
    held, reader, _ = made(30)
    await looked(held, reader, 1)
    assert held.room() == 70
    held.released(50)
    assert held.room() == 20
    held.released(50)
    assert held.room() == 0


async def test_a_reader_that_is_away_holds_the_rest_for_as_long_as_it_is_looked_at() -> None:
    held, reader, clock = made(100)
    await looked(held, reader, 1)
    assert held.room() == 0
    clock.now += ahead.BLIND_FOR / 2
    assert held.room() == 0


async def test_where_nobody_reads_nothing_is_held() -> None:
    held, reader, _ = made(None)
    await looked(held, reader, 1)
    held.released(10_000)
    assert held.room() is None


async def test_a_broker_that_does_not_tell_holds_nothing_for_long() -> None:
    held, reader, clock = made(100, KafkaConnectionError())
    await looked(held, reader, 2)
    assert held.room() == 0
    clock.now += ahead.BLIND_FOR + 1
    assert held.room() is None
    assert reader.closed >= 1


async def test_far_from_the_bound_nobody_is_asked() -> None:
    held, reader, clock = made(0)
    task = asyncio.create_task(held.run(lambda: None))
    await asyncio.sleep(ahead.EVERY * 2.5)
    assert reader.asked == 1
    clock.now += 3600
    assert held.room() == 100
    held.released(30)
    await asyncio.sleep(ahead.EVERY * 1.5)
    assert reader.asked > 1
    task.cancel()
    await asyncio.wait({task})


async def test_after_a_quiet_hour_the_first_flood_is_held_too_until_nobody_has_answered_for_long() -> None:
    held, reader, clock = made(0)
    await looked(held, reader, 1)
    clock.now += 3600
    held.released(60)
    assert held.room() == 40, "nobody had asked during the hour: that is no silence of the broker"
    held.released(40)
    assert held.room() == 0
    clock.now += ahead.BLIND_FOR + 1
    assert held.room() is None
