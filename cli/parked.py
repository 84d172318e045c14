"""`deskwire parked`: keys that may not go on and tasks nobody tries any more; let them go on, or give them up."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from datetime import UTC
from typing import Annotated, TypeVar
from uuid import UUID

import typer

from cli.refuse import explained, refuse
from shared import parked, tasks
from shared.db import Database
from shared.process import load

app = typer.Typer(help="Keys that wait or are parked, and parked tasks.", no_args_is_help=True)

T = TypeVar("T")
Service = Annotated[str, typer.Argument(help="The service in whose database they are.")]
Thing = Annotated[str, typer.Argument(help="A key, or the id of a task, as `list` prints it.")]


@app.command("list")
def list_parked(service: Service) -> None:
    """List what does not go on, longest first, with why; nothing of what is in it."""
    with explained():
        keys, aside = _with(service, _listed(service))
    for key in keys:
        why = f"waits for {key.missing[0]} {key.missing[1]}" if key.missing else (key.error or "")
        print(
            f"key   {key.key}  {key.reason}  since {key.since.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {key.events} events,"
            f" first of {key.topic} {key.partition}:{key.offset}  attempts {key.attempts}  {why}"
        )
    for task in aside:
        print(
            f"task  {task.id}  {task.kind}  since {task.parked_at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"
            f"  about {task.key}  attempts {task.attempts}  {task.error or ''}"
        )
    print(f"{len(keys)} keys and {len(aside)} tasks of {service}")


@app.command()
def show(service: Service, key: Thing) -> None:
    """Show the events of one key in the order in which they will be handled; their content is personal data."""

    async def look(database: Database) -> list[parked.ParkedEvent]:
        return await parked.events(database, service, key)

    with explained():
        events = _with(service, look)
    if not events:
        refuse(f"{service} has no key {key} that waits")
    for event in events:
        print(f"{event.topic} {event.partition}:{event.offset}  {event.reason}  {event.error or ''}")
        for name, value in event.headers:
            print(f"  {name}: {'-' if value is None else value.decode('utf-8', 'backslashreplace')}")
        print(f"  {'-' if event.payload is None else event.payload.decode('utf-8', 'backslashreplace')}")


@app.command()
def release(service: Service, thing: Thing) -> None:
    """Let a key or a task go on, with fresh attempts."""

    async def go(database: Database) -> bool:
        identity = _identity(thing)
        if identity is not None:
            async with database.begin() as tx:
                if await tasks.release(tx, [identity]):
                    return True
        return await parked.release(database, service, thing)

    with explained():
        if not _with(service, go):
            refuse(f"{service} has neither a key nor a parked task {thing}")
    print(f"{thing} goes on")


@app.command()
def discard(
    service: Service,
    thing: Thing,
    whole_key: Annotated[bool, typer.Option("--whole-key", help="All events of the key, not only the first.")] = False,
) -> None:
    """Give up the first event of a key, or a task: it will never have been handled."""

    async def drop(database: Database) -> int:
        identity = _identity(thing)
        if identity is not None:
            async with database.begin() as tx:
                dropped = await tasks.discard(tx, [identity])
            if dropped:
                return dropped
        return await parked.discard(database, service, thing, whole_key=whole_key)

    with explained():
        dropped = _with(service, drop)
    if not dropped:
        refuse(f"{service} has neither a key nor a parked task {thing}")
    print(f"{dropped} given up")


def _listed(service: str) -> Callable[[Database], Awaitable[tuple[list[parked.ParkedKey], list[tasks.Parked]]]]:
    async def look(database: Database) -> tuple[list[parked.ParkedKey], list[tasks.Parked]]:
        return await parked.keys(database, service), await tasks.parked(database, limit=1000)

    return look


def _with(service: str, use: Callable[[Database], Awaitable[T]]) -> T:
    """Run something on the service's own database, by the address its settings give."""

    async def run() -> T:
        url = load(service).database_url.get_secret_value()
        if not url:
            refuse(f"{service.upper()}_DATABASE_URL is not set", status=2)
        database = await Database.connect(url, application="deskwire", max_size=1)
        try:
            return await use(database)
        finally:
            await database.close()

    return asyncio.run(run())


def _identity(text: str) -> UUID | None:
    """The id a task might have; a key may look like one too."""
    try:
        return UUID(text)
    except ValueError:
        return None
