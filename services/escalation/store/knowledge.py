"""How much of what tickets committed is known here: the watermark of `ticket.state`, by partition."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime

from shared.db import Tx


async def advance(tx: Tx, marks: Mapping[int, datetime]) -> None:
    """Remember watermarks; one that is older than what is known changes nothing."""
    ordered = sorted(marks)
    await tx.execute(
        "INSERT INTO knowledge (partition, until) SELECT * FROM unnest($1::smallint[], $2::timestamptz[])"
        " ON CONFLICT (partition) DO UPDATE SET until = excluded.until WHERE knowledge.until < excluded.until",
        ordered,
        [marks[partition] for partition in ordered],
    )


async def until(tx: Tx, partitions: Iterable[int]) -> dict[int, datetime]:
    """What is known of these partitions; those that have never had a watermark are not in it."""
    rows = await tx.fetch(
        "SELECT partition, until FROM knowledge WHERE partition = ANY ($1::smallint[])", sorted(set(partitions))
    )
    return {row["partition"]: row["until"] for row in rows}
