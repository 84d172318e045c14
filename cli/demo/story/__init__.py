"""The story: what is sent in, and what must have come out. Every check reads a topic, the sink or an API."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

import httpx2
from websockets.exceptions import WebSocketException

from cli.demo.stage import Check, MissingError, Stage
from cli.demo.story import alert, answers, chat, clocks, emergency, intake, outage, outside

Chapter = Callable[[Stage], Awaitable[None]]

MEANWHILE: tuple[Chapter, ...] = (emergency.walked, clocks.ran_out)
"""These take their time, as clocks and escalations do: they go on beside the others."""
IN_TURN: tuple[Chapter, ...] = (
    intake.by_http,
    intake.repeated,
    intake.by_mail,
    intake.continued,
    intake.stranger,
    outage.reported_thrice,
    alert.fired_and_recovered,
    chat.talked,
    answers.answered,
    answers.solved_and_reopened,
    intake.many_at_once,
)
LAST: tuple[Chapter, ...] = (outside.found, outside.called)


async def play(stage: Stage) -> list[Check]:
    """Everything; the checks in the order of the story."""
    meanwhile = [asyncio.create_task(_chapter(stage, chapter)) for chapter in MEANWHILE]
    checks = [check for chapter in IN_TURN for check in await _chapter(stage, chapter)]
    stage.say("waiting for the clock and the escalation")
    for task in meanwhile:
        checks += await task
    return checks + [check for chapter in LAST for check in await _chapter(stage, chapter)]


async def _chapter(stage: Stage, chapter: Chapter) -> Sequence[Check]:
    own = replace(stage, checks=[])
    try:
        await chapter(own)
    except (httpx2.HTTPError, OSError, MissingError, LookupError, WebSocketException, TimeoutError) as error:
        name = f"{chapter.__module__.rpartition('.')[2]}: {chapter.__name__.replace('_', ' ')}"
        own.check(name, str(error) or type(error).__name__, passed=False)
    return own.checks
