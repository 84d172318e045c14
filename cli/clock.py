"""`deskwire clock`: move the desk's time in tests and demonstrations, by the administrator's address."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Annotated

import typer

from cli.installation import address, administrator, databases
from cli.refuse import explained, refuse
from shared import clock

app = typer.Typer(help="The desk's clock, for tests: real time plus an offset.", no_args_is_help=True)


@app.command(context_settings={"ignore_unknown_options": True})
def forward(
    delta: Annotated[str, typer.Argument(help="How far: 30m, 1h30m, 2d, 45s; -5m goes back.")],
) -> None:
    """Move the clocks of all services on; what becomes due fires at once."""
    with explained():
        try:
            span = clock.duration(delta)
        except clock.ClockError as error:
            refuse(str(error), status=2)
        _tell(asyncio.run(clock.forward(_addresses(), span)))


@app.command()
def show() -> None:
    """What each service takes for now."""
    with explained():
        _tell(asyncio.run(clock.read(_addresses())))


@app.command()
def reset() -> None:
    """Put all clocks back to real time."""
    with explained():
        _tell(asyncio.run(clock.reset(_addresses())))


def _addresses() -> dict[str, str]:
    admin = administrator()
    return {database.service: address(admin, database.name) for database in databases()}


def _tell(readings: Sequence[clock.Reading]) -> None:
    for reading in readings:
        print(f"{reading.database:12} {reading.now.isoformat(timespec='seconds')}  offset {reading.offset}")
