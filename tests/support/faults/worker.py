"""One process of the service under fault: `python -m tests.support.faults.worker`, told everything by its environment.

It runs under the very process code that services run under; only the service is ours. `FAULTS_STOP_AT=point:n` stops
the process (SIGSTOP) at a crash point instead of killing it.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from datetime import timedelta

import uvloop

from shared import crash, log, process, relay, tasks
from tests.support.faults import service


def main() -> int:
    """Run until a signal; the exit status."""
    downstream = os.environ.get("FAULTS_ROLE") == "downstream"
    settings = service.Downstream.load() if downstream else service.Settings.load()
    log.setup(settings)
    tasks.LEASE_MARGIN = timedelta(seconds=settings.lease_margin)
    crash.arm_from_environment()
    if spec := os.environ.get("FAULTS_STOP_AT"):
        _stop_at(spec)
    if silence := os.environ.get("FAULTS_SILENCE"):
        relay.SILENCE = timedelta(seconds=float(silence))

    def build(_name: str) -> object:
        return service.build

    process._build = build  # type: ignore[assignment]  # a service that is not below services/
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.get_loop().add_signal_handler(signal.SIGUSR1, _tell_what_waits)
        return runner.run(process.serve([settings]))


def _tell_what_waits() -> None:
    """Write where every task is, for a test that waits in vain."""
    for task in asyncio.all_tasks():
        task.print_stack(limit=8, file=sys.stderr)


def _stop_at(spec: str) -> None:
    """Have the process stop, not die, the n-th time it passes a crash point."""
    chosen, _, count = spec.partition(":")
    if chosen not in crash.POINTS:
        raise crash.UnknownCrashPointError(chosen)
    left = int(count or 1)
    passed = crash.point

    def point(name: str) -> None:
        nonlocal left
        passed(name)
        if name == chosen:
            left -= 1
            if left == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    crash.point = point


if __name__ == "__main__":
    raise SystemExit(main())
