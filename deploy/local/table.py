"""What `make status` shows."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from deploy.local import engines, process, services
from deploy.local.folders import state_folder
from deploy.local.record import load
from deploy.local.sink import start as sink
from deploy.local.supervise import test_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.record import Record

HEADINGS: Final = ("name", "state", "pid", "port", "memory")
MEBIBYTE: Final = 1 << 20


@dataclass(frozen=True, kw_only=True)
class Row:
    """One engine or service."""

    name: str
    state: str
    pid: str = "-"
    port: str = "-"
    memory: str = "-"

    def cells(self) -> tuple[str, ...]:
        """In the order of the headings."""
        return (self.name, self.state, self.pid, self.port, self.memory)


def show() -> int:
    """Print the table of this checkout, and the test engines if there are any."""
    record = load(state_folder())
    print(
        render(
            [*engine_rows(record), *(_service_row(record, name) for name in services.discover()), *_sink_rows(record)]
        )
    )
    tests = load(test_folder())
    if any(tests.running(name) for name in tests.processes):
        print("\ntest engines")
        print(render(engine_rows(tests)))
    print(f"\nstate {record.folder}")
    return 0


def render(rows: Sequence[Row]) -> str:
    """Columns as wide as they need be, numbers to the right."""
    lines = [HEADINGS, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(HEADINGS))]
    return "\n".join(
        "  ".join(
            cell.ljust(width) if column < 2 else cell.rjust(width)
            for column, (cell, width) in enumerate(zip(line, widths, strict=True))
        ).rstrip()
        for line in lines
    )


def engine_rows(record: Record) -> list[Row]:
    """One row per engine."""
    given = engines.external()
    site = engines.site_of(record)
    rows = []
    for engine in sorted(engines.ENGINES, key=lambda each: each.name):
        if engine.name in given:
            rows.append(Row(name=engine.name, state=f"given by {engines.VARIABLES[engine.name]}"))
            continue
        identity = record.running(engine.name)
        if identity is None:
            rows.append(Row(name=engine.name, state=_absent(record, engine.name)))
            continue
        answers = engine.ready(site)
        rows.append(_row(record, engine.name, identity.pid, engine.ports[0], "ready" if answers else "not answering"))
    return rows


def _service_row(record: Record, name: str) -> Row:
    identity = record.running(name)
    if identity is None:
        return Row(name=name, state=_absent(record, name))
    answered, _ = services.ready(record, name)
    return _row(record, name, identity.pid, f"{name}-http", "ready" if answered else "not ready")


def _sink_rows(record: Record) -> list[Row]:
    identity = record.running(sink.NAME)
    if identity is None:
        return [Row(name=sink.NAME, state=_absent(record, sink.NAME))]
    return [_row(record, sink.NAME, identity.pid, sink.HTTP, "ready" if sink.answers(record) else "not answering")]


def _row(record: Record, name: str, pid: int, port: str, state: str) -> Row:
    memory = process.resident(pid) / MEBIBYTE
    return Row(name=name, state=state, pid=str(pid), port=str(record.ports.get(port, "-")), memory=f"{memory:.0f} MiB")


def _absent(record: Record, name: str) -> str:
    """Stopped by us, or dead although it should run."""
    if name in record.processes:
        return "died (make up starts it again)"
    return "in a container" if os.environ.get("ENGINES") == "docker" and name in engines.VARIABLES else "stopped"
