"""What the databases of an installation hold: its part of a world, service by service."""

from __future__ import annotations

import json
from collections.abc import Collection
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import asyncpg

from cli.installation import databases
from services.notify.domain.webhook_payload import webhook_id
from services.tickets.domain.audit import Entry
from tests.support.invariants.world import Call, Clock, Delivery, Held, Left, Stored, Ticket, World

if TYPE_CHECKING:
    from tests.support.invariants.look import Places

SERVICES = tuple(database.service for database in databases())

LATE = "interval '2 minutes'"
"""What was due longer ago than this at rest has been forgotten."""
_MINE = "(cardinality($1::text[]) = 0 OR tenant_id = ANY ($1::text[]))"


async def ingest(places: Places, tenants: Collection[str], world: World) -> None:
    """Messages, and mails that could not be read, which count as accepted and not as stored."""
    async with places.database("ingest") as connection:
        for row in await connection.fetch(f"SELECT * FROM message WHERE {_MINE}", list(tenants)):  # noqa: S608 - constant
            world.stored.append(
                Stored(
                    message_id=str(row["message_id"]),
                    tenant=row["tenant_id"],
                    submitter=row["submitter"],
                    external_id=row["external_id"],
                    fingerprint=row["fingerprint"],
                )
            )


async def tickets(places: Places, tenants: Collection[str], world: World) -> None:
    """Tickets, which message is in which, and the audit chains."""
    async with places.database("tickets") as connection:
        for row in await connection.fetch(f"SELECT * FROM ticket WHERE {_MINE}", list(tenants)):  # noqa: S608 - constant
            world.tickets[str(row["id"])] = Ticket(
                ticket_id=str(row["id"]),
                tenant=row["tenant_id"],
                number=row["number"],
                version=row["version"],
                revision=row["revision"],
                subject=row["subject"],
                status=row["status"],
                priority=row["priority"],
                queue=row["queue"],
                assignee_id=_text(row["assignee_id"]),
                merged_into=_text(row["merged_into"]),
                messages=row["message_count"],
                audit_count=row["audit_count"],
                audit_head=row["audit_head"],
            )
        members = await connection.fetch(
            f"SELECT tenant_id, ticket_id, message_id FROM message WHERE {_MINE}",  # noqa: S608 - constant
            list(tenants),
        )
        world.members = [(row["tenant_id"], str(row["ticket_id"]), str(row["message_id"])) for row in members]
        for row in await connection.fetch(
            f"SELECT * FROM audit WHERE {_MINE} ORDER BY ticket_id, number",  # noqa: S608 - constant
            list(tenants),
        ):
            commitments = {name: (old, new) for name, (old, new) in json.loads(row["commitments"]).items()}
            entry = Entry(**{**dict(row), "commitments": commitments})
            world.chains.setdefault(entry.ticket_id, []).append(entry)


async def sla(places: Places, tenants: Collection[str], world: World) -> None:
    """Clocks as they were told last."""
    async with places.database("sla") as connection:
        for row in await connection.fetch(
            f"SELECT c.*, c.state = 'running' AND c.due_at < desk_now() - {LATE} AS overdue FROM clock c"  # noqa: S608
            f" JOIN sla_ticket t USING (ticket_id) WHERE {_MINE}",
            list(tenants),
        ):
            world.clocks.append(
                Clock(
                    ticket_id=str(row["ticket_id"]),
                    name=row["name"],
                    cycle=row["cycle"],
                    state=row["state"],
                    told=row["told"],
                    overdue=bool(row["overdue"]),
                )
            )


async def notify(places: Places, tenants: Collection[str], world: World) -> None:
    """Deliveries to people and to other systems."""
    async with places.database("notify") as connection:
        for row in await connection.fetch(
            "SELECT *, EXISTS (SELECT 1 FROM notice n WHERE n.id = delivery.id) AS noticed FROM delivery"  # noqa: S608
            f" WHERE {_MINE}",
            list(tenants),
        ):
            world.deliveries.append(
                Delivery(
                    id=str(row["id"]),
                    channel=row["channel"],
                    state=row["state"],
                    external_id=row["external_id"],
                    attempts=row["attempts"],
                    doubtful=row["doubtful"],
                    noticed=row["noticed"],
                )
            )
        sink = urlsplit(places.hooks_url or places.sink_url)
        for row in await connection.fetch(
            f"SELECT d.*, e.url FROM webhook_delivery d JOIN webhook_endpoint e USING (endpoint_id, tenant_id)"  # noqa: S608
            f" WHERE {_MINE}",
            list(tenants),
        ):
            place = urlsplit(row["url"])
            world.calls.append(
                Call(
                    endpoint_id=str(row["endpoint_id"]),
                    event_id=webhook_id(row["event_id"]),
                    state=row["state"],
                    attempts=row["attempts"],
                    here=bool(places.sink_url) and place.netloc == sink.netloc,
                    name=place.path.rpartition("/")[2],
                )
            )


async def mechanism(places: Places, service: str, tenants: Collection[str], world: World) -> None:
    """What every service has: outbox, inbox, waiting keys, tasks, timers; and whose tickets its rows are about."""
    async with places.database(service) as connection:
        await _left(connection, service, set(tenants), world)
        inbox = await connection.fetch("SELECT ce_id FROM inbox WHERE group_name = $1", service)
        world.handled[service] = {str(row["ce_id"]) for row in inbox}
        await _held(connection, service, tenants, world)


async def search(places: Places, tenants: Collection[str], world: World) -> None:
    """What is not in the index yet, and how many texts of each ticket are known."""
    async with places.database("search") as connection:
        # A gap is looked into after some seconds, and is often filled by then.
        for table, why in (
            ("dirty", "true"),
            ("refused", "true"),
            ("gap", f"x.since < now() - {LATE}"),
        ):
            known = await connection.fetch(
                f"SELECT x.ticket_id FROM {table} x JOIN document USING (ticket_id) WHERE {why}"  # noqa: S608 - constants
                " AND (cardinality($1::text[]) = 0 OR document.tenant_id = ANY ($1::text[]))",
                list(tenants),
            )
            world.left += [
                Left(place=f"search.{table}", id=str(row["ticket_id"]), why="not in the index as it is")
                for row in known
            ]
        texts = await connection.fetch(
            f"SELECT ticket_id, count(*) AS texts FROM message WHERE {_MINE} GROUP BY 1",  # noqa: S608 - constant
            list(tenants),
        )
        world.texts = {str(row["ticket_id"]): row["texts"] for row in texts}


async def _left(connection: asyncpg.Connection, service: str, tenants: set[str], world: World) -> None:
    for row in await connection.fetch("SELECT topic, tenant, ce_id FROM outbox"):
        if not tenants or row["tenant"] in tenants:
            world.left.append(Left(place=f"{service}.outbox", id=str(row["ce_id"]), why=f"of {row['topic']}"))
    for row in await connection.fetch("SELECT * FROM waiting"):
        if tenants and _tenant_of(row["payload"]) not in tenants:
            continue
        why = f"{row['topic']} {row['partition']}/{row['offset']} {row['reason']} {row['missing_kind'] or ''}"
        world.left.append(Left(place=f"{service}.waiting", id=row["key"], why=why))
        world.aside.setdefault(service, set()).update(_ids(row["headers"]))
    for row in await connection.fetch(
        f"SELECT kind, key, tenant_id, attempts, 'timer' AS what FROM timer WHERE due_at < desk_now() - {LATE}"  # noqa: S608
        " UNION ALL SELECT kind, key, tenant_id, attempts, 'task' FROM task"
        f" WHERE parked_at IS NOT NULL OR due_at < desk_now() - {LATE}"
    ):
        if not tenants or row["tenant_id"] in tenants:
            why = f"{row['kind']} is due, or parked, after {row['attempts']} attempts"
            world.left.append(Left(place=f"{service}.{row['what']}", id=row["key"], why=why))


async def _held(connection: asyncpg.Connection, service: str, tenants: Collection[str], world: World) -> None:
    """Every table that has both a ticket's id and a tenant."""
    tables = await connection.fetch(
        "SELECT table_name FROM information_schema.columns WHERE table_schema = 'public'"
        " AND column_name IN ('ticket_id', 'tenant_id') GROUP BY 1 HAVING count(*) = 2"
    )
    for (table,) in tables:
        found = await connection.fetch(
            f'SELECT DISTINCT ticket_id, tenant_id FROM "{table}" WHERE ticket_id IS NOT NULL AND {_MINE}',  # noqa: S608
            list(tenants),
        )
        world.held += [
            Held(place=f"{service}.{table}", ticket_id=str(row["ticket_id"]), tenant=row["tenant_id"]) for row in found
        ]


def _tenant_of(payload: bytes | None) -> str:
    try:
        content: Any = json.loads(payload or b"{}")
    except ValueError:
        return ""
    return str(content.get("tenant_id", "")) if isinstance(content, dict) else ""


def _ids(headers: bytes) -> list[str]:
    """Every value of packed headers; the event's id is one of them."""
    return headers.decode(errors="replace").split("\x1f")


def _text(value: object) -> str | None:
    return None if value is None else str(value)
