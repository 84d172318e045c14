"""The OpenAPI document: what FastAPI derives, with the problems that can really be answered."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic.json_schema import models_json_schema

from shared.problem import MEDIA_TYPE, ProblemDetails

_DESCRIPTIONS: dict[int, str] = {
    400: "The request cannot be read: malformed JSON, a duplicate key, nesting past 64.",
    401: "No valid API key or token.",
    403: "The caller lacks a permission; the detail names it.",
    404: "It does not exist, or the caller may not see it.",
    408: "The body came too slowly.",
    409: "Not possible in the present state; `type` names why.",
    410: "It is over, and does not come back.",
    412: "If-Match names another version than the present one.",
    413: "The body is too large.",
    415: "The body is not JSON, or compressed.",
    422: "Values were refused; `errors` points at each.",
    428: "If-Match is required.",
    429: "Too many requests; Retry-After says when to come back.",
    500: "Something went wrong on our side.",
    503: "An engine cannot be reached; nothing was done.",
}
_HEADERS: dict[int, tuple[str, ...]] = {401: ("WWW-Authenticate",), 429: ("Retry-After",), 503: ("Retry-After",)}
_METHODS = frozenset({"get", "put", "post", "patch", "delete"})
_MARK = "x-deskwire-problem"
_PAGE = "text/html"


def problems(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For `responses=` of a path operation: problems beyond those that follow from its parameters (`404`, `409`)."""
    return {status: {"description": _DESCRIPTIONS[status], _MARK: True} for status in statuses}


def describe(app: FastAPI) -> dict[str, Any]:
    """The document of `app`."""
    document = get_openapi(
        title=app.title,
        version=app.version,
        openapi_version="3.1.0",
        description=app.description,
        routes=app.routes,
        tags=app.openapi_tags,
        servers=app.servers,
    )
    components = document.setdefault("components", {})
    schemas = components.setdefault("schemas", {})
    for unused in ("HTTPValidationError", "ValidationError"):
        schemas.pop(unused, None)
    _, ours = models_json_schema([(ProblemDetails, "serialization")], ref_template="#/components/schemas/{model}")
    schemas.update(ours["$defs"])
    used: set[int] = set()
    for path, item in document.get("paths", {}).items():
        for method, operation in item.items():
            if method in _METHODS:
                used |= _complete(path, operation)
    components["responses"] = {f"Problem{status}": _response(status) for status in sorted(used)}
    components["schemas"] = dict(sorted(schemas.items()))
    return document


def _complete(path: str, operation: dict[str, Any]) -> set[int]:
    """Refer to the problems an operation can answer; which."""
    responses: dict[str, Any] = operation.setdefault("responses", {})
    found = {400, 500, 503}
    if operation.get("security"):
        found |= {401, 403, 429}
    if "{" in path:
        found |= {404, 422}
    if operation.get("requestBody"):
        found |= {408, 413, 415, 422}
    for parameter in operation.get("parameters", ()):
        found.add(422)
        name = str(parameter.get("name", "")).lower()
        if name == "if-match":
            found |= {412, 428}
        if name == "idempotency-key":
            found.add(409)
    found |= {int(status) for status, response in responses.items() if _is_ours(status, response)}
    for status in found:
        own = responses.get(str(status), {}).get("content", {})
        if _PAGE in own:
            # A page for people says it in its own words; programs get the problem.
            own[MEDIA_TYPE] = {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}
        else:
            responses[str(status)] = {"$ref": f"#/components/responses/Problem{status}"}
    operation["responses"] = dict(sorted(responses.items()))
    return found


def _is_ours(status: str, response: Mapping[str, Any]) -> bool:
    """Whether a response is a problem: marked so, or FastAPI's own 422."""
    return bool(response.get(_MARK)) or status == "422"


def _response(status: int) -> dict[str, Any]:
    response: dict[str, Any] = {
        "description": _DESCRIPTIONS[status],
        "content": {MEDIA_TYPE: {"schema": {"$ref": "#/components/schemas/ProblemDetails"}}},
    }
    if status in _HEADERS:
        response["headers"] = {name: {"schema": {"type": "string"}} for name in _HEADERS[status]}
    return response
