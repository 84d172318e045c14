"""`deskwire dlq`: what a service could not read; publish it again once its reader is repaired."""

from __future__ import annotations

import asyncio
from collections import Counter
from datetime import UTC
from typing import Annotated

import typer

from cli.installation import CliSettings
from cli.refuse import explained, refuse
from shared import dlq
from shared.contracts.manifest import TOPICS

app = typer.Typer(help="Dead letters: events a service could not read.", no_args_is_help=True)

Service = Annotated[str, typer.Argument(help="The service that could not read it.")]
Topic = Annotated[str, typer.Argument(help="The topic it came from, as the manifest names it.")]


@app.command("list")
def list_letters(
    service: Annotated[str, typer.Argument(help="One service; without it, how many each has.")] = "",
    topic: Annotated[str, typer.Option(help="Only letters of this topic.")] = "",
    limit: Annotated[int, typer.Option(help="The newest so many.")] = 100,
) -> None:
    """List dead letters: where they lie, where they came from and why; nothing of what is in them."""
    with explained():
        settings = CliSettings.load()
        if not service:
            _overview(settings)
            return
        letters = asyncio.run(dlq.letters(settings, service, topic or None, limit=limit))
    for letter in letters:
        print(
            f"{letter.at.astimezone(UTC):%Y-%m-%d %H:%M:%S}  {letter.topic} {_place(letter)}  {letter.reason}:"
            f" {letter.error}  attempts {letter.attempts}  event {letter.event_id or '-'}"
        )
    print(f"{len(letters)} dead letters of {service}")


@app.command()
def show(
    service: Service,
    topic: Topic,
    place: Annotated[str, typer.Argument(help="partition:offset, as `list` prints it.")],
) -> None:
    """Show one dead letter with its content, which is personal data."""
    with explained():
        try:
            letter = asyncio.run(dlq.show(CliSettings.load(), service, topic, _parsed(place)))
        except dlq.NoSuchLetterError as error:
            refuse(str(error))
    print(f"from     {letter.topic} partition {letter.source_partition} offset {letter.source_offset}")
    print(f"reason   {letter.reason}: {letter.error}, attempts {letter.attempts}")
    print(f"key      {_readable(letter.key)}")
    for name, value in letter.headers:
        print(f"header   {name}: {_readable(value)}")
    print(_readable(letter.value))


@app.command()
def replay(
    service: Service,
    topic: Topic,
    places: Annotated[list[str] | None, typer.Argument(help="partition:offset of each; without any, all.")] = None,
) -> None:
    """Publish dead letters again where they came from; what was handled meanwhile stays handled once."""
    with explained():
        try:
            wanted = [_parsed(place) for place in places] if places else None
            sent = asyncio.run(dlq.replay(CliSettings.load(), service, topic, wanted))
        except dlq.NoSuchLetterError as error:
            refuse(str(error))
    print(f"{len(sent)} dead letters of {service} published on {topic} again")


def _overview(settings: CliSettings) -> None:
    counts: Counter[str] = Counter()
    services = sorted({consumer for topic in TOPICS for consumer in topic.consumers})
    for service in services:
        counts[service] = len(asyncio.run(dlq.letters(settings, service, limit=1_000_000)))
    for service in services:
        print(f"{service:12} {counts[service]} dead letters")


def _place(letter: dlq.DeadLetter) -> str:
    return f"{letter.place.partition}:{letter.place.offset}"


def _parsed(text: str) -> dlq.Place:
    partition, _, offset = text.partition(":")
    if not (partition.isdigit() and offset.isdigit()):
        refuse(f"{text!r}: a place is written partition:offset, as `list` prints it", status=2)
    return dlq.Place(int(partition), int(offset))


def _readable(value: bytes | None) -> str:
    return "-" if value is None else value.decode("utf-8", "backslashreplace")
