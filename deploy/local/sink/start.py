"""Start and take over the sink, and tell the services where it is."""

from __future__ import annotations

import os
import sys
import time
import urllib.request
from typing import TYPE_CHECKING, Final

from deploy.local import ports, process
from deploy.local.engines import tail
from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from deploy.local.progress import Progress
    from deploy.local.record import Record

NAME: Final = "sink"
SMTP: Final = "sink-smtp"
HTTP: Final = "sink-http"
START_SECONDS: Final = 20.0
POLL_SECONDS: Final = 0.05


def claim_ports(record: Record) -> None:
    """Give it its ports."""
    if record.running(NAME) is None:
        ports.choose(record, SMTP)
        ports.choose(record, HTTP)


def start(record: Record, progress: Progress) -> None:
    """Start it unless it runs, and wait until it answers. Raises Refusal."""
    if record.running(NAME) is not None:
        progress.say(f"  {NAME:<16} runs already, taken over (port {record.ports[HTTP]})")
        return
    began = time.monotonic()
    folder = record.folder / "sink"
    command = [sys.executable, "-m", "deploy.local.sink", str(folder), str(record.ports[SMTP]), str(record.ports[HTTP])]
    environment = dict(os.environ)
    log = record.log(NAME)
    running = process.spawn(NAME, command, owner=record.folder, log=log, cwd=CHECKOUT, env=environment)
    record.remember(NAME, running)
    while time.monotonic() - began < START_SECONDS:
        if answers(record):
            progress.say(f"  {NAME:<16} ready in {time.monotonic() - began:.1f} s (port {record.ports[HTTP]})")
            return
        if not running.alive():
            break
        time.sleep(POLL_SECONDS)
    raise Refusal("The local sink did not start.", f"Its log says why: {log}.", detail=tail(log))


def answers(record: Record) -> bool:
    """Whether it listens."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"http://127.0.0.1:{record.ports.get(HTTP, 0)}/healthz", timeout=2) as answer:
            return bool(answer.status == 200)
    except (OSError, ValueError):
        return False


def environment(record: Record) -> dict[str, str]:
    """Where mail goes and whom webhooks may reach, unless the environment says otherwise."""
    if SMTP not in record.ports:
        return {}
    return {
        "NOTIFY_SMTP_URL": os.environ.get("NOTIFY_SMTP_URL") or f"smtp://127.0.0.1:{record.ports[SMTP]}",
        "NOTIFY_WEBHOOK_ALLOWED_NETWORKS": os.environ.get("NOTIFY_WEBHOOK_ALLOWED_NETWORKS") or "127.0.0.0/8",
        "SINK_URL": f"http://127.0.0.1:{record.ports[HTTP]}",
    }
