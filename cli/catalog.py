"""What a database consists of, read from its catalog, as SQL in an order that never changes by itself.

Enough to review a change and to hold files against migrations; not meant to restore from.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    import asyncpg

    Connection: TypeAlias = asyncpg.Connection[asyncpg.Record]

Objects: TypeAlias = dict[tuple[int, str, str], str]
"""SQL by (rank of its kind, table or name, name)."""

# Weeks of the inbox depend on the day they are made on.
_RELATIONS = """
    SELECT c.relname AS name, c.relkind AS kind, pg_get_partkeydef(c.oid) AS partitioned,
        pg_get_expr(c.relpartbound, c.oid) AS bound, p.relname AS parent, c.reloptions AS options,
        obj_description(c.oid, 'pg_class') AS comment
    FROM pg_class c
    LEFT JOIN pg_inherits i ON i.inhrelid = c.oid
    LEFT JOIN pg_class p ON p.oid = i.inhparent
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND c.relname !~ '_\\d{8}$'
        AND c.relname <> 'migration'
"""
_COLUMNS = """
    SELECT c.relname AS relation, quote_ident(a.attname) AS name, format_type(a.atttypid, a.atttypmod) AS type,
        a.attnotnull AS required, pg_get_expr(d.adbin, d.adrelid) AS value, a.attidentity AS identity,
        a.attgenerated AS generated, col_description(c.oid, a.attnum) AS comment
    FROM pg_attribute a JOIN pg_class c ON c.oid = a.attrelid
    LEFT JOIN pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('r', 'p') AND a.attnum > 0 AND NOT a.attisdropped
    ORDER BY c.relname, a.attnum
"""
_CONSTRAINTS = """
    SELECT c.relname AS relation, o.conname AS name, pg_get_constraintdef(o.oid) AS definition
    FROM pg_constraint o JOIN pg_class c ON c.oid = o.conrelid
    WHERE c.relnamespace = 'public'::regnamespace AND o.contype <> 'n' AND o.conparentid = 0 AND NOT c.relispartition
    ORDER BY c.relname, o.contype = 'p' DESC, o.conname
"""
_INDEXES = """
    SELECT t.relname AS relation, c.relname AS name, pg_get_indexdef(i.indexrelid) AS definition
    FROM pg_index i JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_class t ON t.oid = i.indrelid
    WHERE t.relnamespace = 'public'::regnamespace AND NOT t.relispartition
        AND NOT EXISTS (SELECT FROM pg_constraint o WHERE o.conindid = i.indexrelid)
"""
_FUNCTIONS = """
    SELECT p.proname AS name, pg_get_function_identity_arguments(p.oid) AS arguments,
        pg_get_functiondef(p.oid) AS definition
    FROM pg_proc p WHERE p.pronamespace = 'public'::regnamespace AND p.prokind = 'f'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = p.oid AND d.deptype = 'e')
"""
_TRIGGERS = """
    SELECT c.relname AS relation, t.tgname AS name, pg_get_triggerdef(t.oid) AS definition
    FROM pg_trigger t JOIN pg_class c ON c.oid = t.tgrelid
    WHERE c.relnamespace = 'public'::regnamespace AND NOT t.tgisinternal AND t.tgparentid = 0
"""
_SEQUENCES = """
    SELECT c.relname AS name FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind = 'S'
        AND NOT EXISTS (SELECT FROM pg_depend d WHERE d.objid = c.oid AND d.deptype IN ('a', 'i'))
"""
_OTHERS = """
    SELECT c.relname AS name, pg_get_viewdef(c.oid) AS definition FROM pg_class c
    WHERE c.relnamespace = 'public'::regnamespace AND c.relkind IN ('v', 'm')
"""
_TYPES = """
    SELECT t.typname AS name, string_agg(quote_literal(e.enumlabel), ', ' ORDER BY e.enumsortorder) AS labels
    FROM pg_type t JOIN pg_enum e ON e.enumtypid = t.oid
    WHERE t.typnamespace = 'public'::regnamespace GROUP BY t.typname
"""


async def read(connection: Connection) -> Objects:
    """Everything in the schema `public` except the list of applied migrations."""
    found: Objects = {}
    for row in await connection.fetch(_TYPES):
        found[0, row["name"], ""] = f"CREATE TYPE {row['name']} AS ENUM ({row['labels']});"
    for row in await connection.fetch(_SEQUENCES):
        found[1, row["name"], ""] = f"CREATE SEQUENCE {row['name']};"
    found.update(await _tables(connection))
    for row in await connection.fetch(_OTHERS):
        found[3, row["name"], ""] = f"CREATE VIEW {row['name']} AS\n{row['definition']}"
    for row in await connection.fetch(_FUNCTIONS):
        found[4, row["name"], row["arguments"]] = f"{row['definition'].rstrip()};"
    return found


async def _tables(connection: Connection) -> Objects:
    """Tables with their columns and constraints; indexes, triggers and comments as objects of their own."""
    found: Objects = {}
    lines: dict[str, list[str]] = defaultdict(list)
    for row in await connection.fetch(_COLUMNS):
        lines[row["relation"]].append(_column(row))
        if row["comment"]:
            comment = _literal(row["comment"])
            found[2, row["relation"], f"~{row['name']}"] = (
                f"COMMENT ON COLUMN {row['relation']}.{row['name']} IS {comment};"
            )
    for row in await connection.fetch(_CONSTRAINTS):
        lines[row["relation"]].append(f"CONSTRAINT {row['name']} {row['definition']}")
    for row in await connection.fetch(_RELATIONS):
        found[2, row["name"], ""] = _table(row, lines[row["name"]])
        if row["comment"]:
            found[2, row["name"], "~"] = f"COMMENT ON TABLE {row['name']} IS {_literal(row['comment'])};"
    known = {name for _, name, _ in found}
    for query in (_INDEXES, _TRIGGERS):
        for row in await connection.fetch(query):
            if row["relation"] in known:
                definition = row["definition"].replace(" public.", " ").replace(" ON ONLY ", " ON ")
                found[2, row["relation"], row["name"]] = f"{definition};"
    return found


def _column(row: asyncpg.Record) -> str:
    parts = [row["name"], row["type"]]
    if row["required"]:
        parts.append("NOT NULL")
    if row["identity"] in {b"a", "a", b"d", "d"}:
        parts.append(f"GENERATED {'ALWAYS' if row['identity'] in {b'a', 'a'} else 'BY DEFAULT'} AS IDENTITY")
    elif row["generated"] in {b"s", "s", b"v", "v"}:
        parts.append(
            f"GENERATED ALWAYS AS ({row['value']}) {'STORED' if row['generated'] in {b's', 's'} else 'VIRTUAL'}"
        )
    elif row["value"] is not None:
        parts.append(f"DEFAULT {row['value']}")
    return " ".join(parts)


def _table(row: asyncpg.Record, lines: list[str]) -> str:
    if row["parent"]:
        return f"CREATE TABLE {row['name']} PARTITION OF {row['parent']} {row['bound']};"
    body = ",\n".join(f"    {line}" for line in lines)
    tail = f" PARTITION BY {row['partitioned']}" if row["partitioned"] else ""
    options = f" WITH ({', '.join(sorted(row['options']))})" if row["options"] else ""
    return f"CREATE TABLE {row['name']} (\n{body}\n){tail}{options};"


def _literal(text: str) -> str:
    return "'" + text.replace("'", "''") + "'"


def text(objects: Objects, heading: str) -> str:
    """Objects as one file."""
    blocks = []
    last = (-1, "")
    for key in sorted(objects):
        # What belongs to one table stands together.
        if key[:2] != last:
            blocks.append("")
        last = key[:2]
        blocks.append(objects[key])
    return f"-- {heading}\n" + "\n".join(blocks) + "\n"
