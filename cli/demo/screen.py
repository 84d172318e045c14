"""What the demo shows: tickets as they change and what happens to them, live on a terminal, line by line in a file."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from types import TracebackType
from typing import Any, Self

from rich import box
from rich.console import Console, Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from cli.demo.stage import Check
from cli.demo.topics import Event, Read, Topics

_TICKETS = 8
"""Newest tickets shown at once; with the happenings below and the headings that fits 24 lines."""
_HAPPENINGS = 7
_QUIET = frozenset({"ticket.state", "message.received", "ticket.updated", "sla.changed"})
"""Topics whose events are no line of their own: they show in the tickets."""


class Screen:
    """Draws the topics' events; a context manager that ends the live part."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._topics = Topics("")
        self._title = ""
        self._printed = 0
        self.names: dict[str, str] = {}
        """First names of our own people by their id."""
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

    def show(self, topics: Topics) -> None:
        """Whose events are drawn."""
        self._topics = topics

    def say(self, line: str) -> None:
        """What happens now."""
        self._title = line
        if self._live is None:
            self._console.print(f"> {line}", highlight=False)
        self.draw()

    def draw(self) -> None:
        """Show what has been read."""
        if self._live is not None:
            self._live.update(Group(Text(f"▸ {self._title}", style="bold"), self._tickets(), self._happenings()))
            return
        for read in self._topics.read[self._printed :]:
            if read.topic not in _QUIET:
                self._console.print(f"  {_number(read.event):<15} {read.topic:<24} {self._told(read)}", no_wrap=True)
        self._printed = len(self._topics.read)

    def _told(self, read: Read) -> str:
        """One event in a few words, people by their names."""
        words = told(read)
        for person, name in self.names.items():
            words = words.replace(person, name)
        return words

    def _tickets(self) -> Table:
        table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False, padding=(0, 1, 0, 0))
        for name in ("ticket", "by", "subject", "prio", "lang", "queue", "owner", "status", "clock"):
            wide = name == "subject"
            table.add_column(name, no_wrap=True, overflow="ellipsis" if wide else "crop", ratio=1 if wide else None)
        newest: dict[str, Event] = {}
        for read in self._topics.read:
            if read.topic == "ticket.state":
                newest.pop(read.event["ticket_id"], None)
                newest[read.event["ticket_id"]] = read.event
        for state in list(newest.values())[-_TICKETS:]:
            ticket = state["ticket"]
            table.add_row(
                ticket["number"].rpartition("-")[2],
                ticket["channel"][:5],
                ticket["subject"],
                ticket["priority"]["label"],
                (ticket.get("language") or "–")[:2],
                ticket["queue"][:11],
                self.names.get(ticket.get("assignee_id") or "", "–"),
                Text(ticket["status"], style="yellow" if ticket["status"] == "escalated" else ""),
                _clock(state),
            )
        return table

    def _happenings(self) -> Group:
        lines = [read for read in self._topics.read if read.topic not in _QUIET][-_HAPPENINGS:]
        width = self._console.width
        texts = [
            Text.assemble(
                (f"{_number(read.event).rpartition('-')[2]:<7}", "dim"), f"{read.topic:<25}", self._told(read)
            )
            for read in lines
        ]
        for text in texts:
            text.truncate(width - 1, overflow="ellipsis")
        count = f"{len({r.event.get('ticket_id') for r in self._topics.read})} tickets, {len(self._topics.read)} events"
        return Group(*texts, Text(count, style="dim"))


def told(read: Read) -> str:
    """One event in a few words."""
    event = read.event
    words: dict[str, Callable[[], str]] = {
        "ticket.created": lambda: event["ticket"]["subject"],
        "ticket.message_added": lambda: f"{event['message']['author_kind']}, {event['message']['channel']}",
        "ticket.status_changed": lambda: f"{event['previous']} → {event['current']} ({event['trigger']})",
        "ticket.assigned": lambda: f"{event.get('assignee_id') or 'nobody'}, {event['reason']}",
        "ticket.triaged": lambda: "; ".join(reason["text"] for reason in event.get("reasons", ())),
        "ticket.decision_applied": lambda: ", ".join(_change(change) for change in event["changes"]),
        "ticket.decision_refused": lambda: f"{event['decision']}: {event['reason']}",
        "ticket.duplicates_found": lambda: ", ".join(f"{c['number']} {c['score']:.2f}" for c in event["candidates"]),
        "ticket.merged": lambda: f"into {event['into_number']}",
        "ticket.rated": lambda: f"{event['score']} of 5",
        "sla.warning": lambda: f"{event['clock']}: {event['share_left']:.0%} left",
        "sla.breached": lambda: f"{event['clock']}{', provisional' if event.get('provisional') else ''}",
        "sla.met": lambda: f"{event['clock']} after {event['elapsed_minutes'] * 60:.0f} s",
        "escalation.started": lambda: f"{event['path']}, level {event['level']}",
        "escalation.stepped": lambda: f"step {event['step']}, {event['name']}",
        "escalation.acknowledged": lambda: f"at step {event['step']} by {event['via']}",
        "escalation.ended": lambda: event["reason"],
        "page.requested": lambda: event["reason"],
        "notification.delivered": lambda: f"{event['template']} by {event['channel']}",
        "notification.failed": lambda: f"{event['template']}: {event['reason']}",
    }
    return str(words.get(read.topic, str)())


def _change(change: dict[str, Any]) -> str:
    return f"{change['field']}={change.get('new')}"


def _number(event: Event) -> str:
    ticket = event.get("ticket")
    return str(ticket["number"]) if ticket else ""


def _clock(state: Event) -> str:
    """The first response's clock in a word: what is left, or how it ended."""
    clock = (state.get("derived", {}).get("sla") or {}).get("first_response")
    if not clock:
        return ""
    if clock["state"] != "running" or not clock.get("due_at"):
        return str(clock["state"])
    left = (datetime.fromisoformat(clock["due_at"]) - datetime.now().astimezone()).total_seconds()
    return f"{left:.0f} s" if left < 600 else f"{left / 60:.0f} min"


def report(console: Console, checks: Sequence[Check]) -> None:
    """The table of checks."""
    table = Table(box=box.SIMPLE_HEAD, expand=True, pad_edge=False)
    table.add_column("", no_wrap=True, width=2)
    table.add_column("what was done", no_wrap=True, width=38, overflow="ellipsis")
    table.add_column("what came out", ratio=1, overflow="ellipsis", no_wrap=True)
    table.add_column("ms", justify="right", no_wrap=True, width=5)
    for check in checks:
        mark = Text("ok", style="green") if check.passed else Text("no", style="bold red")
        took = "" if check.milliseconds is None else f"{check.milliseconds:.0f}"
        table.add_row(mark, check.step, check.outcome, took)
    console.print(table)
