"""What may be told of an error: where and what kind, never a value; messages quote rows and payloads."""

from __future__ import annotations

import traceback
from pathlib import PurePath

import asyncpg


def explain(error: BaseException) -> str:
    """Class, place, and for the database its state and constraint; at most 200 characters."""
    parts = [type(error).__qualname__]
    if isinstance(error, asyncpg.PostgresError):
        parts.append(str(error.sqlstate))
        constraint = getattr(error, "constraint_name", None)
        if constraint:
            parts.append(str(constraint))
    frames = traceback.extract_tb(error.__traceback__)
    # The innermost frame of our own: libraries below it say less.
    ours = [frame for frame in frames if "site-packages" not in frame.filename]
    if ours:
        last = ours[-1]
        parts.append(f"at {PurePath(last.filename).name}:{last.lineno}")
    return " ".join(parts)[:200]
