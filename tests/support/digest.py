"""What a service knows: its own tables without the mechanism's and without times of handling."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from tests.support.installation import Installation

MECHANISM = "clock_offset|idempotency|inbox.*|outbox|replica|replica_offset|migration|task|timer|timer_ledger.*|waiting"
HANDLING = {
    # How far tickets' word was heard: it moves on by itself.
    "sla.knowledge": None,
    "escalation.knowledge": None,
    # What was said on the way to a verdict: nobody is warned of it afterwards.
    "sla.clock": ("warned",),
    # Work to be done for the index, and figures about it; what stands in it is `document`'s.
    "search.dirty": None,
    "search.generation": None,
    # Who listens to the stream, and where they are.
    "notify.stream_listener": None,
    "notify.stream_event": ("xid", "id", "recorded_at"),
    "notify.webhook_delivery": ("seq",),
    # Numbers are handed out in blocks to each process.
    "tickets.number_block": None,
}
"""Table → its columns that say when or where something was handled; None: all of it."""


_ROWS = 'SELECT (to_jsonb(t) - $1::text[])::text AS row FROM "{name}" t WHERE {which} ORDER BY 1'
_OF_TENANT = {"sla.clock": "ticket_id IN (SELECT ticket_id FROM sla_ticket WHERE tenant_id = $2)"}
"""Tables whose rows do not name their tenant."""


async def contents(installation: Installation, service: str, tenant: str) -> dict[str, list[str]]:
    """The rows of a tenant in each table, as text in order; all rows of tables that know no tenants."""
    tables = await installation.rows(
        service,
        "SELECT table_name AS name, EXISTS (SELECT FROM information_schema.columns c WHERE c.table_schema = 'public' AND"
        " c.table_name = t.table_name AND column_name = 'tenant_id') AS by_tenant FROM information_schema.tables t"
        " WHERE table_schema = 'public' AND table_type = 'BASE TABLE' AND table_name !~ $1 ORDER BY 1",
        f"^({MECHANISM})$",
    )
    found = {}
    for name, by_tenant in tables:
        left_out = HANDLING.get(f"{service}.{name}", ())
        if left_out is not None:
            which = "tenant_id = $2" if by_tenant else _OF_TENANT.get(f"{service}.{name}", "$2::text IS NOT NULL")
            sql = _ROWS.format(name=name, which=which)
            found[name] = [row["row"] for row in await installation.rows(service, sql, list(left_out), tenant)]
    return found


class Digest:
    """What services know of one tenant at one instant."""

    def __init__(self, rows: dict[str, dict[str, list[str]]]) -> None:
        self._rows = rows

    @classmethod
    async def of(cls, installation: Installation, tenant: str, *services: str) -> Digest:
        """What these services know of a tenant now."""
        return cls({service: await contents(installation, service, tenant) for service in services})

    def assert_same(self, other: Digest, *, apart_from: str | None = None) -> None:
        """Name the service, the table and the first rows that differ; rows that contain `apart_from` may."""
        for service, tables in self._rows.items():
            assert any(tables.values()), f"{service} knows nothing that could be compared"
            assert tables.keys() == other._rows[service].keys(), f"{service} has other tables"
            for table, known in tables.items():
                rows, now = _without(known, apart_from), _without(other._rows[service][table], apart_from)
                gone, new = sorted(set(rows) - set(now)), sorted(set(now) - set(rows))
                assert (gone, new) == ([], []), f"{service}.{table} changed: {gone[:2]} → {new[:2]}"
                assert len(rows) == len(now), f"{service}.{table} has {len(now)} rows, not {len(rows)}"


def _without(rows: list[str], text: str | None) -> list[str]:
    return rows if text is None else [row for row in rows if text not in row]
