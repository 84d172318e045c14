"""Any set of services in one process: settings, logging, signals, one port per service, loops, drain, exit status.

A process listens before anything else, so that `/livez` answers while engines are still down and `/readyz` names
them; building a service and its start hooks are repeated until the engines answer. When a loop ends, by return or by
error, the process ends with status 1: something else restarts it, which is better than half a service.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import importlib
import json
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Awaitable, Callable, Iterator, Sequence
from typing import TYPE_CHECKING, NoReturn

import structlog
import uvloop

from shared import crash, log, memory
from shared.settings import ServiceSettings, SettingsError, refuse

if TYPE_CHECKING:
    from shared.host import Build, Host

CONFIGURATION = 2
"""Exit status when the environment or the command line is wrong."""
FAILED = 1
"""Exit status when a loop ended, a service could not be built, or draining took too long."""
HARD_STOP = 5.0
"""Seconds after the drain after which the process ends whatever still runs in it."""

logger = structlog.get_logger(__name__)


def main(names: Sequence[str], arguments: Sequence[str] | None = None) -> NoReturn:
    """Run the named services until a signal: the whole of a service's `__main__.py`.

    `--print-config` prints the settings in effect, secrets hidden, and ends. Exit status: 0 after SIGTERM or SIGINT
    and a complete drain, 1 when something died or the drain was cut short, 2 when the configuration is wrong.
    """
    parser = argparse.ArgumentParser(prog="python -m services." + "|".join(names), description="Run Deskwire services.")
    parser.add_argument("--print-config", action="store_true", help="print the settings in effect, secrets hidden")
    options = parser.parse_args(arguments)
    try:
        settings = [load(name) for name in names]
    except SettingsError as error:
        _refuse(error)
    if options.print_config:
        print(printable(settings))  # noqa: T201 - the answer of the command
        raise SystemExit(0)
    log.setup(settings[0])
    try:
        crash.arm_from_environment()
    except ValueError as error:
        _refuse(SettingsError(str(error)))
    memory.give_back()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        status = runner.run(serve(settings))
    logging.shutdown()
    raise SystemExit(status)


def _refuse(error: SettingsError) -> NoReturn:
    refuse(error)
    raise SystemExit(CONFIGURATION)


def load(name: str) -> ServiceSettings:
    """The settings of one service. Raises SettingsError when there is no such service or its variables are wrong."""
    try:
        module = importlib.import_module(f"services.{name}.settings")
    except ModuleNotFoundError as error:
        if error.name not in {f"services.{name}", f"services.{name}.settings"}:
            raise
        msg = f"no service is named {name!r}"
        raise SettingsError(msg) from error
    settings: ServiceSettings = module.Settings.load()
    return settings


def printable(settings: Sequence[ServiceSettings]) -> str:
    """The settings as JSON with secrets hidden; by service when there are several."""
    if len(settings) == 1:
        return settings[0].printable()
    return json.dumps({one.SERVICE: json.loads(one.printable()) for one in settings}, indent=2)


def _build(name: str) -> Build:
    build: Build = importlib.import_module(f"services.{name}.app").build
    return build


def _listen(settings: ServiceSettings) -> socket.socket:
    """The socket of one service, bound before anything starts. Raises SettingsError when it cannot be had."""
    family = socket.AF_INET6 if ":" in settings.http_host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.http_host, settings.http_port))
        listener.listen(2048)
    except OSError as error:
        listener.close()
        variable = f"{settings.model_config.get('env_prefix', '')}HTTP_PORT"
        msg = f"{variable}: cannot listen on {settings.http_host}:{settings.http_port}: {error.strerror}"
        raise SettingsError(msg) from error
    listener.setblocking(False)
    return listener


async def serve(
    settings: Sequence[ServiceSettings],
    *,
    stop: asyncio.Event | None = None,
    build: Callable[[str], Build] | None = None,
) -> int:
    """Run the services until a signal, `stop` or a failure, then drain; the exit status.

    `build` gives each service's build function by its name; without it that is `services.<name>.app.build`.
    """
    from shared.health import Heartbeat  # noqa: PLC0415 - after logging is set up
    from shared.host import Host  # noqa: PLC0415 - loads FastStream, uvicorn and the services

    stop = stop or asyncio.Event()
    heartbeat = Heartbeat()
    try:
        listeners = [_listen(one) for one in settings]
    except SettingsError as error:
        _refuse(error)
    # For the lines of the process as a whole; each host binds its own name over it.
    structlog.contextvars.bind_contextvars(service="+".join(one.SERVICE for one in settings))
    hosts = [Host(one, (build or _build)(one.SERVICE), heartbeat) for one in settings]
    with _signals(stop):
        beating = asyncio.create_task(heartbeat.run(), name="heartbeat")
        serving = [
            asyncio.create_task(_serve_http(host, listener), name=f"http {host.name}")
            for host, listener in zip(hosts, listeners, strict=True)
        ]
        settling = asyncio.create_task(_settle_memory(hosts), name="memory")
        failed = await _until(stop, hosts, serving)
        settling.cancel()
        drained = await _drain(hosts, serving, max(one.drain_seconds for one in settings))
        beating.cancel()
    return 0 if drained and not failed else FAILED


async def _settle_memory(hosts: Sequence[Host]) -> None:
    """Once everything is up, stop looking for garbage in it.

    Modules, models and routes are a few hundred thousand objects that live as long as the process; a batch makes
    another hundred thousand that mostly die by their counts. At the default thresholds the collector walks all of
    them many times a batch: a third of the time a batch takes.
    """
    for host in hosts:
        await host.started.wait()
    gc.collect()
    gc.freeze()
    gc.set_threshold(2_000, 10, 5)


async def _until(stop: asyncio.Event, hosts: Sequence[Host], serving: Sequence[asyncio.Task[None]]) -> bool:
    """Wait for a signal (False) or for a service or its server to end by itself (True)."""
    stopping = asyncio.create_task(stop.wait())
    failing = [asyncio.create_task(host.failed.wait()) for host in hosts]
    await asyncio.wait([stopping, *failing, *serving], return_when=asyncio.FIRST_COMPLETED)
    signalled = stop.is_set()
    for waiting in (stopping, *failing):
        waiting.cancel()
    for server in serving:
        if server.done() and not signalled:
            logger.critical("http server ended", name=server.get_name(), exc_info=server.exception())
    return not signalled


async def _drain(hosts: Sequence[Host], serving: Sequence[asyncio.Task[None]], seconds: float) -> bool:
    """Stop accepting, let everything finish what it began; whether it did in time."""
    logger.info("draining", seconds=seconds)
    # A blocked loop or a stuck thread cannot be asked politely; the supervisor's SIGKILL would come much later.
    guard = threading.Timer(seconds + HARD_STOP, os._exit, args=(FAILED,))
    guard.daemon = True
    guard.start()
    for host in hosts:
        host.drain(seconds)
    _, late = await asyncio.wait(serving, timeout=seconds + HARD_STOP / 2)
    for server in late:
        server.cancel()
    complete = not late and all(host.drained_in_time for host in hosts)
    if complete:
        # Otherwise it stays armed: what could not be cancelled would keep the event loop from closing.
        guard.cancel()
    logger.log(logging.INFO if complete else logging.ERROR, "stopped", complete=complete)
    return complete


@contextlib.contextmanager
def _signals(stop: asyncio.Event) -> Iterator[None]:
    """SIGTERM and SIGINT ask for a drain; a second one ends the process at once."""
    loop = asyncio.get_running_loop()

    def ask() -> None:
        if stop.is_set():
            os._exit(FAILED)
        stop.set()

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, ask)
    try:
        yield
    finally:
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)


async def _serve_http(host: Host, listener: socket.socket) -> None:
    """Serve one service's port until its host is drained."""
    with log.bound(service=host.name):
        logger.info("listening", host=listener.getsockname()[0], port=listener.getsockname()[1])
        await host.serve(listener)


def run(services: Sequence[str]) -> Awaitable[int]:
    """Run services from inside a running loop; awaiting it gives the exit status."""
    return serve([load(name) for name in services])


if __name__ == "__main__":  # pragma: no cover - `python -m shared.process ingest tickets`
    main([argument for argument in sys.argv[1:] if not argument.startswith("-")], [])
