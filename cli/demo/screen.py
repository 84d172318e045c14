"""What the demo shows: tickets as they appear, live on a terminal, line by line in a file; at the end the checks."""

from __future__ import annotations

from collections.abc import Sequence
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.demo.entries import Topics
from cli.demo.play import Check

_ROWS = 12
"""Newest tickets shown at once; with the headings that fits 24 lines."""


class Screen:
    """Draws the topics' events; a context manager that ends the live part."""

    def __init__(self, console: Console, topics: Topics) -> None:
        self._console = console
        self._topics = topics
        self._title = ""
        self._printed = 0
        self._live = Live(console=console, refresh_per_second=8, transient=True) if console.is_terminal else None

    def __enter__(self) -> Self:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._live is not None:
            self._live.stop()

    def say(self, line: str) -> None:
        """What happens now."""
        self._title = line
        if self._live is None:
            self._console.print(f"> {line}", highlight=False)
        self.draw()

    def draw(self) -> None:
        """Show what has been read."""
        if self._live is None:
            for _, name, event in self._topics.events[self._printed :]:
                ticket = event["ticket"]
                self._console.print(
                    f"  {name:<22} {ticket['number']}  {ticket['subject']}", highlight=False, no_wrap=True
                )
            self._printed = len(self._topics.events)
            return
        self._live.update(Group(Text(f"▸ {self._title}", style="bold"), self._table()))

    def _table(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
        table.add_column("ticket", no_wrap=True)
        table.add_column("by", no_wrap=True)
        table.add_column("subject", no_wrap=True, overflow="ellipsis", ratio=1)
        table.add_column("prio", no_wrap=True)
        table.add_column("status", no_wrap=True)
        table.add_column("owner", no_wrap=True)
        latest: dict[str, dict[str, Any]] = {}
        for _, _, event in self._topics.events:
            latest.pop(event["ticket_id"], None)
            latest[event["ticket_id"]] = event["ticket"]
        for ticket in list(latest.values())[-_ROWS:]:
            owner = ticket.get("assignee_id")
            table.add_row(
                ticket["number"],
                ticket["channel"],
                ticket["subject"],
                ticket["priority"]["label"],
                ticket["status"],
                owner[:8] if owner else "–",
            )
        table.caption = f"{len(latest)} tickets, {len(self._topics.events)} events read from the topics"
        return table


def report(console: Console, checks: Sequence[Check]) -> None:
    """The table of checks."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("", no_wrap=True, width=2)
    table.add_column("what was done", no_wrap=True, width=41)
    table.add_column("what came out", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True, width=4)
    for check in checks:
        mark = Text("ok", style="green") if check.passed else Text("no", style="bold red")
        took = "" if check.milliseconds is None else f"{check.milliseconds:.0f}"
        table.add_row(mark, check.step, check.outcome, took)
    console.print(table)
