"""`deskwire events`: what is on the topics, to look at or to pipe. Reads without a group and commits nothing."""

from __future__ import annotations

import asyncio
import contextlib
import difflib
import logging
import sys
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Annotated, Any, ClassVar, NoReturn

import orjson
import typer
from aiokafka.errors import KafkaError
from pydantic_settings import SettingsConfigDict
from rich.console import Console
from rich.table import Table
from rich.text import Text

from shared import kafka
from shared.contracts import cloudevents, schemas, watermark
from shared.contracts.manifest import TOPICS
from shared.settings import ServiceSettings, SettingsError

if TYPE_CHECKING:
    from aiokafka import AIOKafkaConsumer, ConsumerRecord

app = typer.Typer(help="The events on the topics.", no_args_is_help=True)


class EventSettings(ServiceSettings):
    """Where the events are; `KAFKA_URL` and `TOPIC_PREFIX` suffice."""

    model_config = SettingsConfigDict(env_prefix="CLI_")
    SERVICE: ClassVar[str] = "cli"


@app.command("list")
def list_topics(as_json: Annotated[bool, typer.Option("--json", help="For machines.")] = False) -> None:
    """Every topic: owner, readers, key, how long it is kept."""
    if as_json:
        records = {topic.name: {"summary": topic.summary, **schemas.topic_record(topic)} for topic in TOPICS}
        print(orjson.dumps(records, option=orjson.OPT_INDENT_2).decode())
        return
    table = Table("topic", "kind", "owner", "read by", "key", "kept", box=None, pad_edge=False, header_style="bold")
    for topic in TOPICS:
        kind = "state" if topic.compacted else "fact"
        kept = "newest per key" if topic.compacted else f"{topic.retention.days} days"
        table.add_row(topic.name, kind, topic.owner, ", ".join(topic.consumers) or "–", topic.key, kept)
    _console().print(table)


@app.command()
def tail(
    topic: Annotated[str, typer.Argument(help="Like ticket.created; `events list` shows all.")],
    from_beginning: Annotated[
        bool, typer.Option("--from-beginning", help="Everything kept, not only what comes.")
    ] = False,
    tenant: Annotated[str, typer.Option(help="Only this tenant's events.")] = "",
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per line.")] = False,
    count: Annotated[int, typer.Option("-n", min=0, help="End after that many events; 0 for never.")] = 0,
) -> None:
    """Show the events of a topic as they come, until interrupted."""
    known = {listed.name for listed in TOPICS}
    if topic not in known:
        near = difflib.get_close_matches(topic, known, n=1)
        _fail(f"no topic {topic!r}" + (f"; did you mean {near[0]}?" if near else "; `events list` shows all"))
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # its failures are told below, in one line
    try:
        settings = EventSettings.load()
    except SettingsError as error:
        _fail(str(error))
    try:
        with contextlib.suppress(KeyboardInterrupt, BrokenPipeError):
            asyncio.run(
                _tail(settings, topic, from_beginning=from_beginning, tenant=tenant, as_json=as_json, count=count)
            )
    except (KafkaError, OSError) as error:
        _fail(
            f"Kafka at {settings.kafka_url} does not answer ({type(error).__name__}); set KAFKA_URL, or `make up` first"
        )


async def _tail(
    settings: EventSettings, topic: str, *, from_beginning: bool, tenant: str, as_json: bool, count: int
) -> None:
    console = _console()
    consumer = kafka.reader(settings, "tail")
    shown = 0
    try:
        await consumer.start()
        async for record in _records(consumer, settings.topic(topic), from_beginning=from_beginning):
            if record.key == watermark.KEY:
                # A control record several times a second, and no event.
                continue
            headers = {name: value.decode("utf-8", "replace") for name, value in record.headers}
            value = _value(record.value)
            if tenant and _tenant(headers, value) != tenant:
                continue
            if as_json:
                print(_line(record, topic, headers, value), flush=True)
            else:
                console.print(_readable(record, headers, value), soft_wrap=True)
            shown += 1
            if count and shown >= count:
                return
    finally:
        await consumer.stop()


async def _records(consumer: AIOKafkaConsumer, name: str, *, from_beginning: bool) -> AsyncIterator[ConsumerRecord]:
    """Every record of a topic from its beginning, or from now on."""
    if name not in await consumer.topics():
        _fail(f"topic {name} does not exist yet: nothing has been started on this Kafka")
    consumer.subscribe([name])
    await consumer.getmany(timeout_ms=0)  # takes the assignment
    if not from_beginning:
        await consumer.seek_to_end()
        # Positions are found lazily; until they are, what comes would be missed.
        for partition in consumer.assignment():
            await consumer.position(partition)
    print(f"{name}: watching {len(consumer.assignment())} partitions", file=sys.stderr, flush=True)
    async for record in consumer:
        yield record


def _value(raw: bytes | None) -> Any:
    """The payload; text when it is not JSON, None for a tombstone."""
    if raw is None:
        return None
    try:
        return orjson.loads(raw)
    except orjson.JSONDecodeError:
        return raw.decode("utf-8", "replace")


def _tenant(headers: dict[str, str], value: Any) -> str:
    return headers.get(cloudevents.TENANT) or (str(value.get("tenant_id", "")) if isinstance(value, dict) else "")


def _line(record: ConsumerRecord, topic: str, headers: dict[str, str], value: Any) -> str:
    key = record.key.decode("utf-8", "replace") if record.key else None
    place = {"topic": topic, "partition": record.partition, "offset": record.offset}
    return orjson.dumps({**place, "key": key, "headers": headers, "value": value}).decode()


def _readable(record: ConsumerRecord, headers: dict[str, str], value: Any) -> Text:
    """One line: when, what, whose, and what a person would want to know of it."""
    key = record.key.decode("utf-8", "replace") if record.key else "–"
    text = Text()
    text.append(headers.get(cloudevents.TIME, "–")[:19].replace("T", " "), style="dim")
    text.append(f"  {_clean(headers.get(cloudevents.TYPE, '–'))}", style="bold cyan")
    text.append(f"  {_clean(_tenant(headers, value) or '–')}", style="green")
    text.append(f"  {_clean(_gist(value))}")
    text.append(f"  {_clean(key)}", style="dim")
    return text


def _gist(value: Any) -> str:
    if value is None:
        return "(deleted)"
    if not isinstance(value, dict):
        return "(not JSON)"
    ticket = value.get("ticket")
    if isinstance(ticket, dict):
        return f"{ticket.get('number')} [{ticket.get('status')}] {ticket.get('subject')}"
    if isinstance(value.get("sender"), dict):
        return f"{value['sender'].get('address')}: {value.get('subject') or '(no subject)'}"
    named = (value.get(name) for name in ("name", "policy_key", "reason"))
    return str(next((found for found in named if found), ""))


def _clean(text: str) -> str:
    """Text that cannot move a terminal's cursor or ring its bell: it was written by strangers."""
    return "".join(char if char.isprintable() else "·" for char in text)


def _console() -> Console:
    """As wide as the terminal; without one, as wide as the lines are."""
    return Console(highlight=False, width=None if sys.stdout.isatty() else 200)


def _fail(message: str) -> NoReturn:
    print(message, file=sys.stderr)
    raise typer.Exit(1)


if __name__ == "__main__":
    app()
