"""Routes that take the JSON value the edge has parsed, instead of parsing the body again."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi import APIRouter, params
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response
from typing_extensions import override

from shared.http.context import UNPARSED, context_of
from shared.problem import Problem


class _ParsedRequest(Request):
    """A request whose JSON is what the edge parsed."""

    @override
    async def json(self) -> Any:
        """The parsed body; Starlette's own parse where the edge saw no JSON."""
        parsed = context_of(self).json
        return await super().json() if parsed is UNPARSED else parsed


class Route(APIRoute):
    """A FastAPI route that parses nothing twice and answers 415 to a body that is not JSON where it takes JSON."""

    @override
    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """FastAPI's handler behind the parsed request."""
        handler = super().get_route_handler()
        takes_json = self.body_field is not None and not isinstance(self.body_field.field_info, params.Form)

        async def handle(request: Request) -> Response:
            if takes_json:
                context = context_of(request)
                if context.json is UNPARSED and context.body:
                    raise Problem(
                        415,
                        "unsupported-media-type",
                        "Unsupported media type",
                        "Send application/json.",
                        headers={"Accept": "application/json"},
                    )
            return await handler(_ParsedRequest(request.scope, request.receive))

        return handle


class Router(APIRouter):
    """An APIRouter of such routes; include it in an `api()`."""

    def __init__(self, **options: Any) -> None:
        options.setdefault("route_class", Route)
        options.setdefault("redirect_slashes", False)
        super().__init__(**options)
