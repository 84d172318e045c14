"""`api()`: the FastAPI app every service starts from."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, cast

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from typing_extensions import override

from shared.auth import Authenticator, service_token
from shared.db import Database
from shared.http.edge import Edge
from shared.http.errors import handle
from shared.http.forwarded import key_of
from shared.http.guard import Guard
from shared.http.limits import Buckets
from shared.http.openapi import describe
from shared.http.route import Route
from shared.http.settings import http_settings
from shared.problem import Problem
from shared.settings import ServiceSettings, SettingsError, master_key


class Api(FastAPI):
    """FastAPI with our OpenAPI document."""

    @override
    def openapi(self) -> dict[str, Any]:
        """The document, made once."""
        if not self.openapi_schema:
            self.openapi_schema = describe(self)
        return self.openapi_schema


def api(
    *,
    title: str,
    service: str,
    settings: ServiceSettings,
    authenticator: Authenticator,
    database: Database | None = None,
    version: str = "1.0.0",
    description: str = "",
    body_limits: Mapping[str, int] | None = None,
) -> FastAPI:
    """An API with limits, authentication, problem answers and a true OpenAPI document at `/openapi.json`.

    `body_limits` maps a path (or a prefix ending in `/`) to the largest body it takes; 1 MB elsewhere. `database` is
    kept at `app.state.database` for path operations. Include `shared.http.Router`s, or declare on the app itself.
    """
    limits = http_settings(settings)
    app = Api(
        title=title,
        version=version,
        description=description,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        exception_handlers={
            Problem: handle,
            HTTPException: handle,
            RequestValidationError: handle,
        },
    )
    app.router.route_class = Route
    app.state.service = service
    app.state.database = database
    app.state.service_key = _service_key(settings)
    app.state.guard = Guard(
        authenticator,
        rate=Buckets(float(limits["rate_per_second"]), int(limits["rate_burst"])),
        failures=Buckets(float(limits["failures_per_minute"]) / 60, int(limits["failures_burst"])),
        edge_key=_edge_key(settings),
    )
    app.add_middleware(
        cast("Any", Edge),
        body_limit=int(limits["body_limit"]),
        body_limits=body_limits,
        body_seconds=float(limits["body_seconds"]),
    )
    return app


def _service_key(settings: ServiceSettings) -> bytes | None:
    """The key of tokens that services make for each other; without a master key there are none."""
    try:
        return service_token.key_of(master_key(settings))
    except SettingsError:
        return None


def _edge_key(settings: ServiceSettings) -> bytes | None:
    """The key of our edge's word about clients; without a master key that word counts for nothing."""
    try:
        return key_of(master_key(settings))
    except SettingsError:
        return None
