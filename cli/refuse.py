"""What an operator can put right, said in one line."""

from __future__ import annotations

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import NoReturn

import typer

from shared.settings import SettingsError


def refuse(why: str, status: int = 1) -> NoReturn:
    """Say why on standard error and end the command."""
    print(f"deskwire: {why}", file=sys.stderr)
    raise typer.Exit(status)


@contextmanager
def explained() -> Iterator[None]:
    """Turn what can happen to anybody (an engine away, a variable wrong) into one line; status 2 for settings."""
    import asyncpg
    from aiokafka.errors import KafkaError

    # The client's own complaints would be a second line, and come at every attempt.
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    try:
        yield
    except SettingsError as error:
        refuse(str(error).replace("\n", "; "), status=2)
    except KafkaError as error:
        refuse(f"Kafka does not answer or refuses: {error}")
    except asyncpg.PostgresError as error:
        refuse(f"PostgreSQL refuses: {error.sqlstate}: {error.args[0] if error.args else type(error).__name__}")
    except OSError as error:
        refuse(f"PostgreSQL does not answer: {str(error) or type(error).__name__}")
