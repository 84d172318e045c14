"""A process that stops in the middle of a statement, with a lock in its hands.

`python -m tests.support.faults.silent ADDRESS APPLICATION STATEMENT`: runs the statement, begins another, and is
stopped when the server has half of that: neither idle nor at work, so none of the server's own limits ends its session.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys

import asyncpg

LIMITS = ("statement_timeout", "idle_session_timeout", "idle_in_transaction_session_timeout", "lock_timeout")


async def main(url: str, application: str, statement: str) -> None:
    """Take what is to be taken, and stop."""
    settings = {"application_name": application, **dict.fromkeys(LIMITS, "3000")}
    connection = await asyncpg.connect(url, server_settings=settings)
    await connection.execute(statement)
    asyncio.get_running_loop().call_soon(lambda: asyncio.get_running_loop().call_soon(_stop))
    # Prepared first, which is one message and its answer, and then executed, which never comes.
    await connection.fetch("SELECT generate_series(1, 1000) AS never_asked_before")


def _stop() -> None:
    os.kill(os.getpid(), signal.SIGSTOP)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
