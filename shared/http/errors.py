"""From an exception to the problem that answers it. Nothing of the exception itself reaches the caller."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from http import HTTPStatus
from typing import Any, cast

import asyncpg
import orjson
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response

from shared.db import is_connection_failure, is_retryable
from shared.http.context import context_of
from shared.problem import MEDIA_TYPE, FieldError, Place, Problem

_PLACES: dict[str, Place] = {"body": "body", "query": "query", "path": "path", "header": "header", "cookie": "header"}
_UNSTORABLE = frozenset({"22003", "22008", "22021", "22P05"})
"""A number or instant out of range, a character that does not exist in the database's encoding."""
_MOST_ERRORS = 50

logger = logging.getLogger(__name__)

INTERNAL = Problem(500, "internal", "Internal error", "Something went wrong on our side; the request id finds it.")


def problem_of(error: BaseException) -> Problem:
    """The problem for any exception; unknown ones are logged with their traceback."""
    if isinstance(error, Problem):
        return error
    if isinstance(error, RequestValidationError):
        return _validation(error.errors())
    if isinstance(error, HTTPException):
        return _plain(error)
    if _is_unstorable(error):
        logger.warning("a value passed validation that the database refused", exc_info=error)
        return Problem(422, "invalid", "Invalid request", "A value is out of the range that can be stored.")
    if is_connection_failure(error) or is_retryable(error) or _is_broker_failure(error):
        logger.warning("an engine cannot be reached", exc_info=error)
        return Problem(
            503,
            "unavailable",
            "Temporarily unavailable",
            "The request was not done; try again.",
            headers={"Retry-After": "2"},
        )
    logger.error("unhandled", exc_info=error)
    return INTERNAL


def render(problem: Problem, request_id: str | None) -> Response:
    """The response of a problem; a body that was not read to its end closes the connection."""
    headers = dict(problem.headers)
    if problem.status in (408, 413):
        headers["Connection"] = "close"
    body = orjson.dumps(problem.document(request_id))
    return Response(body, status_code=problem.status, headers=headers, media_type=MEDIA_TYPE)


async def handle(request: Request, error: Exception) -> Response:
    """Exception handler for what is raised under the router."""
    return render(problem_of(error), context_of(request).request_id)


def _validation(errors: Sequence[Any]) -> Problem:
    found = []
    for error in errors[:_MOST_ERRORS]:
        location = list(error.get("loc", ()))
        place = _PLACES.get(str(location[0]), "body") if location else "body"
        found.append(FieldError.at(location[1:], _message(error), place))
    more = len(errors) - len(found)
    detail = f"{len(errors)} values were refused; the first {len(found)} are listed." if more > 0 else None
    return Problem(422, "invalid", "Invalid request", detail, errors=found)


def _message(error: dict[str, Any]) -> str:
    """Pydantic's message without its prefix; it never quotes the input."""
    return str(error.get("msg", "invalid")).removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _plain(error: HTTPException) -> Problem:
    """Starlette's own answers: 404 and 405 from routing, 400 from parsing."""
    try:
        phrase = HTTPStatus(error.status_code).phrase
    except ValueError:
        phrase = "Error"
    slug = phrase.lower().replace(" ", "-").replace("'", "")
    detail = error.detail if isinstance(error.detail, str) and error.detail != phrase else None
    headers = cast("dict[str, str] | None", error.headers)
    return Problem(error.status_code, slug, phrase.capitalize(), detail, headers=headers)


def _is_unstorable(error: BaseException) -> bool:
    if isinstance(error, asyncpg.PostgresError):
        return error.sqlstate in _UNSTORABLE
    # asyncpg's own refusal to encode an argument is an InterfaceError and a ValueError at once.
    return isinstance(error, asyncpg.InterfaceError) and isinstance(error, ValueError)


def _is_broker_failure(error: BaseException) -> bool:
    """Kafka's connection class, told by where it was defined: only the bus may import aiokafka."""
    kind = type(error)
    return kind.__module__.startswith("aiokafka") and bool(getattr(error, "retriable", False))
