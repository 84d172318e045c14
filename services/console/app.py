"""The wiring of console."""

from __future__ import annotations

from typing import Any

from services.console import api
from services.console.proxy import Proxy
from services.console.settings import Settings
from services.console.sockets import Sockets
from services.console.upstreams import Upstreams
from shared.contracts.event import Topic
from shared.service import Service

ROUTES: tuple[Any, ...] = ()
"""It handles no topic: nothing here depends on Kafka or PostgreSQL."""
REPLICATED: tuple[Topic, ...] = ()
"""It verifies no credentials itself; each service does."""


def build(settings: Settings) -> Service:
    """The edge. It has no checks: with a service away it still answers for all the others, so it stays ready."""
    proxy = Proxy(settings)
    return Service(
        name=settings.SERVICE,
        settings=settings,
        routes=api.routes(proxy, Sockets(settings), Upstreams(settings, proxy)),
        stop=[proxy.close],
    )
