"""Entity tags: a resource's version is its strong ETag, and a change names the version it was made against."""

from __future__ import annotations

import re
from typing import Annotated

from fastapi import Depends, Header
from starlette.requests import Request
from starlette.responses import Response

from shared.problem import Problem

_TAG = re.compile(r'"(\d{1,19})"')
_LARGEST = 2**63 - 1


def etag(version: int) -> str:
    """The ETag of a version."""
    return f'"{version}"'


def if_match(request: Request) -> int:
    """The version the caller saw. Raises 428 without If-Match, 412 for a tag that is no version of ours."""
    return _version(request.headers.get("if-match"))


def _version(header: str | None) -> int:
    if header is None or header.strip() == "*":
        raise Problem(
            428,
            "precondition-required",
            "Version required",
            "Send If-Match with the ETag you saw, so that nobody else's change is overwritten.",
        )
    match = _TAG.fullmatch(header.strip())
    if match is None or int(match[1]) > _LARGEST:
        raise stale()
    return int(match[1])


def stale() -> Problem:
    """The answer to a change made against another version than the present one."""
    return Problem(412, "version-mismatch", "Version mismatch", "It has changed since; read it again.")


def if_none_match(request: Request, version: int) -> bool:
    """Whether the caller has this version already and wants 304."""
    header = request.headers.get("if-none-match")
    if header is None:
        return False
    wanted = etag(version)
    # Weak comparison (RFC 9110 §13.1.2): W/"5" is as good as "5" here.
    tags = [tag.strip().removeprefix("W/") for tag in header.split(",")]
    return wanted in tags or "*" in tags


def not_modified(version: int) -> Response:
    """A 304 with the tag."""
    return Response(status_code=304, headers={"ETag": etag(version)})


async def _if_match_dependency(
    if_match: Annotated[
        str | None, Header(description='The ETag of the version this change is made against: `"7"`.')
    ] = None,
) -> int:
    return _version(if_match)


IfMatch = Annotated[int, Depends(_if_match_dependency)]
"""A path operation's parameter: the version in If-Match, documented in the OpenAPI."""
