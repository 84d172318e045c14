"""What arrives on Kafka: each fact is shown to every way of telling people and systems of it, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Any

from shared.db import Tx
from shared.envelope import Answer, Received

Tell = Callable[[Tx, Sequence[Received[Any]]], Awaitable[Sequence[Answer]]]
"""One way of telling: makes its rows and tasks of a batch of one topic's facts, passes over what it does not tell."""


class Handlers:
    """The handlers of one service."""

    def __init__(self, tellers: Sequence[Tell]) -> None:
        """`tellers` are asked in order; each locks rows of its own tables only."""
        self._tellers = tellers

    async def on_fact(self, tx: Tx, batch: Sequence[Received[Any]]) -> Sequence[Answer]:
        """Tell of facts; each is handed over exactly once by its id."""
        answers: list[Answer] = []
        for tell in self._tellers:
            answers += await tell(tx, batch)
        return answers
