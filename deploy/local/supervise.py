"""The commands behind make: set the whole up, show it, end it."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import engines, services
from deploy.local.folders import CHECKOUT, state_folder
from deploy.local.progress import Progress
from deploy.local.record import exclusive, load
from deploy.local.refusal import Refusal
from deploy.local.sink import start as sink

if TYPE_CHECKING:
    from collections.abc import Sequence

    from deploy.local.record import Record

SHOWN_LINES: Final = 200
OWN_FOLDERS: Final = ("data", "logs", "blobs", "sink", "compiled")
OWN_FILES: Final = ("state.json", "master.key", "lock")


def up() -> dict[str, str]:
    """Start or take over everything; return the environment for commands that use it."""
    began = time.monotonic()
    progress = Progress()
    state = state_folder()
    with exclusive(state) as record:
        names = services.discover()
        services.claim_ports(record, names)
        sink.claim_ports(record)
        print("deskwire: engines", flush=True)
        addresses = engines.start(record, progress)
        environment = services.full_environment(record, addresses, names)
        _provision(environment)
        print("deskwire: services", flush=True)
        sink.start(record, progress)
        services.start(record, addresses, progress, names)
        print(f"deskwire: up in {time.monotonic() - began:.1f} s")
        _where(record)
    return environment


def demo() -> int:
    """Everything, then the main job; with `MAIL` its mails, with `CRASH_ONE` without one service."""
    environment = up()
    mails, victim = os.environ.get("MAIL", ""), os.environ.get("CRASH_ONE", "")
    if victim:
        _crash(victim)
    return _command(environment, "demo", *(["--mail", mails] if mails else []))


def _crash(name: str) -> None:
    """Kill one service, to see that its absence is noticed."""
    with exclusive(state_folder()) as record:
        running = record.running(name)
        if running is None or name not in services.discover():
            known = ", ".join(services.discover())
            raise Refusal(f"There is no running service {name!r} to crash.", f"Say CRASH_ONE= and one of: {known}.")
        os.kill(running.pid, signal.SIGKILL)
    print(f"deskwire: {name} killed (CRASH_ONE); `make up` brings it back")


def down() -> int:
    """End services and engines of this state, the test engines included, and containers started for it."""
    progress = Progress()
    ended = 0
    for state in (state_folder(), test_folder()):
        if not (state / "state.json").exists():
            continue
        with exclusive(state) as record:
            ended += engines.stop(record, progress)
            if record.containers:
                from deploy.local import docker

                ended += docker.stop(state, progress)
                record.containers = False
                record.save()
    print(f"deskwire: {ended} ended" if ended else "deskwire: nothing was running")
    return 0


def clean() -> int:
    """End everything and delete the state, also data kept outside of it; only what is known to be ours."""
    down()
    for state in (test_folder(), state_folder()):
        data = load(state).data
        if data:
            shutil.rmtree(data, ignore_errors=True)
        for name in OWN_FOLDERS:
            shutil.rmtree(state / name, ignore_errors=True)
        for name in OWN_FILES:
            (state / name).unlink(missing_ok=True)
    return 0


def engines_up() -> int:
    """Start the engines alone and print their addresses."""
    with exclusive(state_folder()) as record:
        addresses = engines.start(record, Progress())
    for name, value in addresses.environment().items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def engines_down() -> int:
    """End the engines alone."""
    with exclusive(state_folder()) as record:
        engines.stop(record, Progress(), tuple(engines.VARIABLES))
    return 0


def restart(name: str) -> int:
    """End one service or engine and start it again, on the same port."""
    progress = Progress()
    names = services.discover()
    if name not in names and name not in engines.VARIABLES:
        raise Refusal(
            f"There is no {name or 'service'!r}.", f"Say S= and one of: {', '.join([*names, *engines.VARIABLES])}."
        )
    with exclusive(state_folder()) as record:
        engines.stop(record, progress, (name,))
        services.claim_ports(record, names)
        addresses = engines.start(record, progress)
        if name in names:
            services.start(record, addresses, progress, (name,))
    return 0


def run(names: Sequence[str]) -> int:
    """Run several services in one process, in the foreground, against the engines."""
    known = services.discover()
    wrong = [name for name in names if name not in known]
    if wrong or not names:
        raise Refusal(
            f"There is no service {', '.join(wrong)}." if wrong else "No service is named.",
            f'Say which: make run S="{" ".join(known[:2])}" (of {", ".join(known)}).',
        )
    with exclusive(state_folder()) as record:
        busy = [name for name in names if record.running(name) is not None]
        if busy:
            raise Refusal(f"{', '.join(busy)} runs already in the background.", "End it first: make down.")
        services.claim_ports(record, known)
        sink.claim_ports(record)
        progress = Progress()
        addresses = engines.start(record, progress)
        environment = services.full_environment(record, addresses, known)
        _provision(environment)
        sink.start(record, progress)
    return _command(environment, "run", *names)


def logs(name: str) -> int:
    """Show a log's end and follow it on a terminal."""
    record = load(state_folder())
    known = sorted(path.stem for path in record.logs.glob("*.log"))
    if name not in known:
        raise Refusal(
            f"There is no log of {name or 'nothing'!r}.", f"Say S= and one of: {', '.join(known) or 'none yet'}."
        )
    following = ["-F"] if sys.stdout.isatty() else []
    return subprocess.run(["tail", "-n", str(SHOWN_LINES), *following, str(record.log(name))], check=False).returncode


def environment() -> int:
    """Print the exports of what runs, for a shell: addresses, passwords and all."""
    with exclusive(state_folder()) as record:
        addresses = engines.start(record, Progress(sys.stderr))
        names = [name for name in services.discover() if f"{name}-http" in record.ports]
        told = services.full_environment(record, addresses, names)
    for variable, value in sorted(told.items()):
        if os.environ.get(variable) != value:
            print(f"export {variable}={shlex.quote(value)}")
    return 0


def test(arguments: Sequence[str]) -> int:
    """Run pytest with engines of its own, kept warm for the next run except in CI."""
    return _with_test_engines([sys.executable, "-m", "pytest", *arguments])


def bench(arguments: Sequence[str]) -> int:
    """Measure against the test engines."""
    return _with_test_engines([sys.executable, "-m", "bench", *arguments])


def suites(folder: str) -> int:
    """Case suites have no entry point yet."""
    raise Refusal(
        "This release has no entry point for case suites" + (f" ({folder} was left alone)." if folder else "."),
        "It comes with the services that they judge; `make test` runs everything there is.",
    )


def test_folder() -> Path:
    """The state of the test engines, apart from that of `up`."""
    return state_folder() / "test"


def start_test_engines(names: Sequence[str] = tuple(engines.VARIABLES)) -> engines.Addresses:
    """Start or take over the test engines."""
    with exclusive(test_folder()) as record:
        return engines.start(record, Progress(sys.stderr), names)


def _with_test_engines(command: list[str]) -> int:
    print("deskwire: test engines", flush=True)
    addresses = start_test_engines()
    told = dict(os.environ) | addresses.environment()
    for variable in ("NO_PROXY", "no_proxy"):
        told[variable] = ",".join(filter(None, (told.get(variable), services.LOOPBACKS)))
    try:
        return _foreground(command, told)
    finally:
        if os.environ.get("CI") == "true":
            with exclusive(test_folder()) as record:
                engines.stop(record, Progress())


def _provision(environment: dict[str, str]) -> None:
    """Make topics, databases and roles, and bring every schema up to date."""
    print("deskwire: topics, databases, roles, migrations", flush=True)
    status = _command(environment, "provision")
    if status != 0:
        raise Refusal(
            f"Provisioning failed (exit {status}).", "The lines above say why; `make up` again goes on from there."
        )


def _command(environment: dict[str, str], *arguments: str) -> int:
    return _foreground([sys.executable, "-m", "cli", *arguments], environment)


def _foreground(command: list[str], environment: dict[str, str]) -> int:
    """Run a command and pass signals on: the terminal interrupts it too, and it may take its time to drain."""
    child = subprocess.Popen(command, cwd=CHECKOUT, env=environment)
    before = {
        signal.SIGINT: signal.signal(signal.SIGINT, signal.SIG_IGN),
        signal.SIGTERM: signal.signal(signal.SIGTERM, lambda *_: child.terminate()),
    }
    try:
        return child.wait()
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _where(record: Record) -> None:
    """Say where everything is."""
    if "console-http" in record.ports:
        print(f"  origin   http://127.0.0.1:{record.ports['console-http']}")
    if "ingest-smtp" in record.ports:
        print(f"  mail     smtp://127.0.0.1:{record.ports['ingest-smtp']}")
    if sink.HTTP in record.ports:
        print(f"  sink     http://127.0.0.1:{record.ports[sink.HTTP]}  (mail and webhooks sent out)")
    print(f"  logs     {record.logs}  (make logs S=tickets)")
    print(f"  state    {record.folder}  (make status, make down)")
