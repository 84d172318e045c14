"""One service inside a process: built with patience, served on its port, drained in time."""

from __future__ import annotations

import asyncio
import contextlib
import inspect
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, TypeVar

import asyncpg
import orjson
import structlog
import uvicorn
from aiokafka.errors import KafkaError
from prometheus_client import CollectorRegistry, Gauge, ProcessCollector
from typing_extensions import override

from shared import admin, log, metrics
from shared.db import is_connection_failure
from shared.health import SHARED_FOR, Health, Heartbeat, Missing, Progress, failing, respond
from shared.http.protocol import BoundedProtocol

if TYPE_CHECKING:
    import socket

    from starlette.types import Receive, Scope, Send

    from shared.service import Loop, Service
    from shared.settings import ServiceSettings

T = TypeVar("T")

FIRST_RETRY, LONGEST_RETRY = 0.2, 5.0
LOOK_EVERY = 5.0
"""Seconds between looks at readiness and progress while nobody asks."""
KEEP_ALIVE = 65
"""Seconds an idle HTTP connection stays open; longer than a proxy before us keeps it, so that it never races us."""

SOCKET_FRAME = 65_536
"""Bytes of one WebSocket message; what a service takes of it is its own business."""

# Provisioning may still be on its way when a service starts: no database, no role, no tables.
_UNPROVISIONED = (
    asyncpg.InvalidCatalogNameError,
    asyncpg.InvalidPasswordError,
    asyncpg.InvalidAuthorizationSpecificationError,
    asyncpg.UndefinedTableError,
    asyncpg.UndefinedFunctionError,
    asyncpg.InsufficientPrivilegeError,
)

logger = structlog.get_logger(__name__)

Build = Callable[["ServiceSettings"], "Service | Awaitable[Service]"]
"""`services.<name>.app.build`: may be a coroutine that connects; raised connection failures are tried again."""


class LoopEndedError(Exception):
    """A loop that runs as long as the service does came to an end."""

    def __init__(self, name: str) -> None:
        super().__init__(f"loop {name} ended")


class _Server(uvicorn.Server):
    """uvicorn without its signal handlers: several run in one process, which has its own."""

    @override
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Capture nothing."""
        yield


class Host:
    """The life of one service in this process."""

    def __init__(self, settings: ServiceSettings, build: Build, heartbeat: Heartbeat) -> None:
        self.name = settings.SERVICE
        self.failed = asyncio.Event()
        """Set when the service cannot go on: it could not be built, or a loop ended."""
        self.started = asyncio.Event()
        """Set once the service has been built and its loops run."""
        self.drained_in_time = True
        self.health = Health(self.name, heartbeat)
        self._settings = settings
        self._build = build
        self._heartbeat = heartbeat
        self._service: Service | None = None
        self._open = False
        self._drain_until: float | None = None
        self._life: asyncio.Task[None] | None = None
        self._ending: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._server: _Server | None = None
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        ready = Gauge("deskwire_ready", "1 when the service lacks nothing.", ["service"], registry=self._registry)
        late = Gauge(
            "deskwire_loop_lateness_seconds", "How late the event loop turns.", ["service"], registry=self._registry
        )
        self._ready = ready.labels(self.name)
        late.labels(self.name).set_function(lambda: heartbeat.lateness)
        self._admin = admin.application(settings, self.health, self._render_metrics, self._lifespan)

    async def serve(self, listener: socket.socket) -> None:
        """Answer HTTP on `listener` until `drain` was called and everything has come to rest."""
        self._server = _Server(
            uvicorn.Config(
                self,
                http=BoundedProtocol,
                ws="websockets-sansio" if self._settings.SOCKETS else "none",
                ws_max_size=SOCKET_FRAME,
                ws_per_message_deflate=False,
                lifespan="on",
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=KEEP_ALIVE,
                timeout_graceful_shutdown=max(1, round(self._settings.drain_seconds)),
            )
        )
        if self._drain_until is not None:
            return
        await self._server.serve(sockets=[listener])

    def drain(self, seconds: float) -> None:
        """Begin to stop: no new connection, no new work; `serve` returns when what was begun is finished."""
        self._drain_until = asyncio.get_running_loop().time() + seconds
        self.health.obstacle = Missing("draining", "the service is stopping")
        if self._server is not None:
            self._server.should_exit = True
        if self._life is not None and self._ending is None:
            self._ending = asyncio.create_task(self._end(self._life), name=f"{self.name} drain")

    # -- HTTP ---------------------------------------------------------------------------------------------------

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Health, metrics and lifecycle by FastStream; everything else by the service's API once it may serve."""
        if scope["type"] == "lifespan" or scope.get("path") in admin.PATHS:
            await self._admin(scope, receive, send)
            return
        structlog.contextvars.bind_contextvars(service=self.name)
        service = self._service
        if service is None or not self._open:
            await _unavailable(scope, receive, send, await self.health.missing())
        elif service.routes is None:
            await respond(send, 404, b'{"title":"Not Found","status":404}', b"application/problem+json")
        else:
            await service.routes(scope, receive, send)

    def _render_metrics(self) -> bytes:
        """The service's series and what the process knows of it."""
        from prometheus_client import generate_latest  # noqa: PLC0415 - only when scraped

        return generate_latest(self._registry) + generate_latest(self._series())

    def _series(self) -> CollectorRegistry:
        """Where the parts of the service measure: the registry it was built with, else the one of its name."""
        own = self._service.metrics if self._service is not None else None
        return (own or metrics.for_service(self.name)).registry

    # -- life ---------------------------------------------------------------------------------------------------

    @contextlib.asynccontextmanager
    async def _lifespan(self, *_context: Any) -> AsyncIterator[None]:
        """What FastStream runs around the application: returns at once, so that `/livez` answers during a start."""
        with log.bound(service=self.name):
            self._life = asyncio.create_task(self._live(), name=self.name)
        try:
            yield
        finally:
            if self._ending is None:
                self.drain(self._settings.drain_seconds)
            if self._ending is not None:
                await self._ending

    async def _live(self) -> None:
        """Build, start, and watch the loops; returns with `failed` set when one ends."""
        try:
            service = self._service = await self._patiently("build", self._built)
            for hook in service.start:
                await self._patiently("start", hook)
            self.health.checks = service.checks
            self.health.obstacle = None
            self.started.set()
            self.health.progress = Progress(self._series())
            self._tasks = [
                asyncio.create_task(self._watch(), name=f"{self.name} watch"),
                asyncio.create_task(self._open_when_replicated(service)),
                *(asyncio.create_task(_endless(loop), name=f"{self.name} {loop.name}") for loop in service.loops),
            ]
            await _first_failure(self._tasks)
        except Exception as error:
            logger.critical("service failed", service=self.name, reason=str(error), exc_info=error)
            self.failed.set()

    async def _built(self) -> Service:
        made = self._build(self._settings)
        return await made if inspect.isawaitable(made) else made

    async def _patiently(self, what: str, step: Callable[[], Awaitable[T]]) -> T:
        """Repeat `step` while engines are down, saying in `/readyz` which one is missing."""
        pause = FIRST_RETRY
        while True:
            try:
                return await step()
            except Exception as error:
                engine = engine_of(error)
                if engine is None:
                    raise
                first = self.health.obstacle is None or self.health.obstacle.name != engine
                self.health.obstacle = Missing(engine, log.redact(f"{type(error).__name__}: {error}")[:200])
                if first:
                    logger.warning("waiting for an engine", step=what, engine=engine, reason=str(error))
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_RETRY)

    async def _open_when_replicated(self, service: Service) -> None:
        """Serve the API only when reference data has once been complete: before, answers would be wrong."""
        replicas = [check for check in service.checks if check.name.startswith("replica")]
        while await failing(replicas):  # noqa: ASYNC110 - a check is asked, it does not tell
            await asyncio.sleep(SHARED_FOR / 4)
        self._open = True
        logger.info("serving", service=self.name)

    async def _watch(self) -> None:
        """Look at readiness and progress also when nobody probes."""
        while True:
            is_ready = not await self.health.missing()
            self._ready.set(is_ready)
            if self.health.progress is not None:
                self.health.progress.look(ready=is_ready)
            await asyncio.sleep(LOOK_EVERY)

    async def _end(self, life: asyncio.Task[None]) -> None:
        """Ask every loop once to finish; insist at the deadline; then the stop hooks."""
        life.cancel()
        await asyncio.wait([life])
        late = await self._ask(self._tasks)
        if late:
            self.drained_in_time = False
            logger.error("drain cut short", service=self.name, loops=[task.get_name() for task in late])
            await self._ask(late)
        for hook in self._service.stop if self._service else ():
            try:
                async with asyncio.timeout(max(1.0, self._left())):
                    await hook()
            except Exception:
                logger.exception("stop hook failed", service=self.name)

    async def _ask(self, tasks: Sequence[asyncio.Task[None]]) -> list[asyncio.Task[None]]:
        """Cancel tasks once and give them the time that is left, at least a second; those that went on."""
        for task in tasks:
            task.cancel()
        if not tasks:
            return []
        _, late = await asyncio.wait(tasks, timeout=max(1.0, self._left()))
        return list(late)

    def _left(self) -> float:
        """Seconds until the drain must be over."""
        return 0.0 if self._drain_until is None else self._drain_until - asyncio.get_running_loop().time()


async def _first_failure(tasks: Sequence[asyncio.Task[None]]) -> None:
    """Wait for a task to fail and raise what it raised; a task that simply finishes is not waited for any more."""
    running = set(tasks)
    while running:
        done, running = await asyncio.wait(running, return_when=asyncio.FIRST_COMPLETED)
        for task in done:
            task.result()
    await asyncio.Event().wait()


async def _endless(loop: Loop) -> None:
    await loop.run()
    raise LoopEndedError(loop.name)


def engine_of(error: BaseException) -> str | None:
    """The engine whose absence `error` reports, or None when something else is wrong."""
    if isinstance(error, KafkaError):
        return "kafka" if error.retriable else None
    if isinstance(error, _UNPROVISIONED) or is_connection_failure(error):
        return "postgresql"
    return None


async def _unavailable(scope: Scope, receive: Receive, send: Send, missing: list[Missing]) -> None:
    """503 as a problem document; the answer to everything until the service may serve."""
    del receive
    if scope["type"] != "http":
        await send({"type": "websocket.close", "code": 1013})
        return
    detail = ", ".join(item.name for item in missing) or "reference data"
    body = {"type": "about:blank", "title": "Service Unavailable", "status": 503, "detail": f"waiting for {detail}"}
    await respond(send, 503, orjson.dumps(body), b"application/problem+json", (b"retry-after", b"1"))
