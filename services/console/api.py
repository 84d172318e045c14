"""The edge's own answers, and the way through to everything else."""

from __future__ import annotations

from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp, Receive, Scope, Send

from services.console import domain, pages
from services.console.proxy import Proxy
from services.console.sockets import Sockets
from services.console.upstreams import Upstreams
from shared.http.edge import Edge
from shared.http.errors import handle

_PAGE_HEADERS = {"Content-Security-Policy": pages.CONTENT_SECURITY_POLICY}


def routes(proxy: Proxy, sockets: Sockets, upstreams: Upstreams) -> ASGIApp:
    """The whole edge as one application."""
    own = _own(upstreams)

    async def application(scope: Scope, receive: Receive, send: Send) -> None:
        rule = domain.route(scope["path"])
        if scope["type"] == "websocket":
            if rule is not None and scope["path"] in domain.SOCKETS:
                await sockets.forward(rule.service, scope, receive, send)
            else:
                await receive()
                await send({"type": "websocket.close", "code": 1008})
            return
        if rule is None:
            await own(scope, receive, send)
        else:
            await proxy.forward(rule.service, scope, receive, send)

    return Edge(application, reads_body=False)


def _own(upstreams: Upstreams) -> Starlette:
    async def home(_: Request) -> Response:
        states = await upstreams.states()
        html = pages.home(domain.PATHS, {name: str(state["state"]) for name, state in states.items()})
        return HTMLResponse(html, headers=_PAGE_HEADERS)

    async def openapi(_: Request) -> Response:
        document, _away = await upstreams.document()
        return JSONResponse(document)

    async def docs(_: Request) -> Response:
        document, away = await upstreams.document()
        return HTMLResponse(pages.reference(document, away), headers=_PAGE_HEADERS)

    async def status(_: Request) -> Response:
        states = await upstreams.states()
        whole = all(state["state"] in {"ready", "absent"} for state in states.values())
        return JSONResponse({"status": "ok" if whole else "degraded", "services": states})

    return Starlette(
        routes=[
            Route("/", home),
            Route("/openapi.json", openapi),
            Route("/docs", docs),
            Route("/v1/status", status),
        ],
        exception_handlers={HTTPException: handle},
    )
