"""Apache Kafka 4.3, broker and controller in one process."""

from __future__ import annotations

import contextlib
import shutil
import signal
import socket
import struct
import subprocess
import uuid
from typing import TYPE_CHECKING, Final

from deploy.local.engine import Launch, environment
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.engine import Site

LOGGING: Final = """status = error
appender.console.type = Console
appender.console.name = console
appender.console.layout.type = PatternLayout
appender.console.layout.pattern = %d{yyyy-MM-dd'T'HH:mm:ss.SSS} %p %c{1} %m%n
rootLogger.level = warn
rootLogger.appenderRef.console.ref = console
"""
METADATA_KEY: Final = 3
METADATA_VERSION: Final = 4
ANSWER_SECONDS: Final = 3


class Kafka:
    """One node, in KRaft mode."""

    name = "kafka"
    title = "Kafka 4.3"
    ports: tuple[str, ...] = ("kafka", "kafka-controller")
    polite = signal.SIGTERM
    start_seconds = 90.0
    stop_seconds = 30.0

    def prepare(self, site: Site) -> None:
        """Format the log folder, once."""
        home = site.folder("kafka")
        if (home / "log/meta.properties").exists():
            return
        shutil.rmtree(home / "log", ignore_errors=True)
        site.write(home / "server.properties", self.settings(site, broker=1, controller=2))
        arguments = [
            "kafka.tools.StorageTool",
            "format",
            "--ignore-formatted",
            "-t",
            str(uuid.uuid4()),
            "-c",
            str(home / "server.properties"),
            *self.format_options(),
        ]
        switched = site.user.switched
        formatted = subprocess.run(
            [*self._java(site, heap="128m"), *arguments],
            check=False,
            cwd=home,
            env=environment(home),
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            user=site.user.uid if switched else None,
            group=site.user.gid if switched else None,
            extra_groups=[] if switched else None,
        )
        if formatted.returncode != 0:
            raise Refusal(
                "Kafka's log folder could not be formatted.",
                "The lines above say why.",
                detail=formatted.stdout + formatted.stderr,
            )

    def launch(self, site: Site) -> Launch:
        """The server on its ports of this start."""
        home = site.folder("kafka")
        text = self.settings(site, broker=site.port("kafka"), controller=site.port("kafka-controller"))
        configuration = site.write(home / "server.properties", text)
        return Launch(
            command=[*self._java(site, heap="384m"), "kafka.Kafka", str(configuration)], cwd=home, env=environment(home)
        )

    def ready(self, site: Site) -> bool:
        """Metadata answered, with a broker in it."""
        return answers_metadata("127.0.0.1", site.port("kafka"))

    def address(self, site: Site) -> str:
        """Its bootstrap address."""
        return f"127.0.0.1:{site.port('kafka')}"

    def settings(self, site: Site, *, broker: int, controller: int) -> str:
        """What stands in `server.properties`."""
        return properties(site.folder("kafka") / "log", broker=broker, controller=controller)

    def format_options(self) -> list[str]:
        """What the log folder is formatted with beside its settings."""
        return []

    def _java(self, site: Site, *, heap: str) -> list[str]:
        home = site.folder("kafka")
        logging = home / "log4j2.properties"
        if not logging.exists():
            site.write(logging, LOGGING)
        return [
            str(site.installed.java / "bin/java"),
            f"-Xmx{heap}",
            "-XX:+ExitOnOutOfMemoryError",
            "-Djava.awt.headless=true",
            f"-Djava.io.tmpdir={site.folder('kafka', 'tmp')}",
            f"-Dlog4j2.configurationFile={logging}",
            "-cp",
            f"{site.installed.kafka}/*",
        ]


def properties(log: Path, *, broker: int, controller: int) -> str:
    """The configuration of a node that is alone."""
    return f"""process.roles=broker,controller
node.id=1
controller.quorum.voters=1@127.0.0.1:{controller}
listeners=PLAINTEXT://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}
advertised.listeners=PLAINTEXT://127.0.0.1:{broker}
controller.listener.names=CONTROLLER
log.dirs={log}
offsets.topic.replication.factor=1
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
group.initial.rebalance.delay.ms=0
# An offset commit takes 1 ms instead of 5.7; managed Kafka has no such setting, and nothing depends on it.
group.coordinator.append.linger.ms=0
# One node needs neither fifty partitions of bookkeeping nor a 128 MB map to compact them.
offsets.topic.num.partitions=8
transaction.state.log.num.partitions=8
log.cleaner.dedupe.buffer.size=33554432
"""


def answers_metadata(host: str, port: int) -> bool:
    """Ask for the cluster's metadata (no topics) over the wire, without a client library's second of imports."""
    client = b"deskwire"
    body = struct.pack(">hhih", METADATA_KEY, METADATA_VERSION, 1, len(client)) + client + struct.pack(">i?", 0, False)
    with (
        contextlib.suppress(OSError, struct.error),
        socket.create_connection((host, port), timeout=ANSWER_SECONDS) as connection,
    ):
        connection.sendall(struct.pack(">i", len(body)) + body)
        with connection.makefile("rb") as answer:
            (length,) = struct.unpack(">i", answer.read(4))
            correlation, _throttled, brokers = struct.unpack(">iii", answer.read(length)[:12])
            return bool(correlation == 1 and brokers > 0)
    return False
