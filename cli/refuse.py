"""What an operator can put right, said in one line."""

from __future__ import annotations

import logging
import ssl
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
        refuse(f"Kafka does not answer or refuses: {error}{_hint(error)}")
    except asyncpg.PostgresError as error:
        refuse(f"PostgreSQL refuses: {error.sqlstate}: {error.args[0] if error.args else type(error).__name__}")
    except ssl.SSLCertVerificationError as error:
        refuse(f"PostgreSQL's certificate is not trusted: {error.verify_message}; is DATABASE_CA_FILE its authority?")
    except OSError as error:
        refuse(f"PostgreSQL does not answer: {str(error) or type(error).__name__}")


def _hint(error: Exception) -> str:
    """The client does not tell a listener that is away from one that refuses the user or the certificate."""
    if "bootstrap" not in str(error):
        return ""
    return "; look at KAFKA_URL, and with a closed listener at KAFKA_USERNAME, KAFKA_PASSWORD and KAFKA_CA_FILE"
