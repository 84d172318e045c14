"""A service as a value: what one process needs to run it, alone or beside others."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from shared.metrics import Metrics
    from shared.settings import ServiceSettings


@dataclass(frozen=True, kw_only=True)
class Loop:
    """A named coroutine that runs as long as the service does; its end, by return or error, ends the process."""

    name: str
    run: Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Check:
    """One condition of readiness: returns when it holds, raises with what is missing when not."""

    name: str
    """What a person would call it: `kafka`, `postgresql`, `replica tenant.changed`."""
    ready: Callable[[], Awaitable[None]]


@dataclass(frozen=True, kw_only=True)
class Service:
    """Everything one service brings into a process; holds no module state, so any set can run together."""

    name: str
    settings: ServiceSettings
    routes: ASGIApp | None = None
    """The API, or None for a service that serves only health and metrics."""
    loops: Sequence[Loop] = ()
    checks: Sequence[Check] = ()
    openapi: Callable[[], Mapping[str, Any]] | None = None
    metrics: Metrics | None = None
    """What `/metrics` shows beside the process's own figures."""
    start: Sequence[Callable[[], Awaitable[None]]] = ()
    """Run in order before the loops."""
    stop: Sequence[Callable[[], Awaitable[None]]] = field(default=())
    """Run in order after the loops have drained."""
