"""OpenSearch 3.6, the plain distribution, one node.

Its start script is not used: it runs three more Java programs first, which costs as much as the start itself.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import signal
import urllib.request
from typing import TYPE_CHECKING, Final

from deploy.local.engine import Launch, environment

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.engine import Site

# What the distribution's own launcher would pass for this version on Java 25, less logging of collections and touching
# the whole heap beforehand. The locale provider lets ICU bring the Thai word breaker that the slim runtime lacks.
JAVA_OPTIONS: Final = (
    "-Xms512m",
    "-Xmx512m",
    "-Xss1m",
    # The second compiler doubles the work of a start (17 s of processor time against 8) and pays off only under a load
    # that this node does not see; OPENSEARCH_JAVA_OPTS=-XX:TieredStopAtLevel=4 brings it back for measuring.
    "-XX:TieredStopAtLevel=1",
    "-XX:MaxDirectMemorySize=268435456",
    "-XX:+UseG1GC",
    "-XX:G1ReservePercent=25",
    "-XX:InitiatingHeapOccupancyPercent=30",
    "-XX:+UseCompactObjectHeaders",
    "-XX:-OmitStackTraceInFastThrow",
    "-XX:+ExitOnOutOfMemoryError",
    "-Dopensearch.networkaddress.cache.ttl=60",
    "-Dopensearch.networkaddress.cache.negative.ttl=10",
    "-Djava.awt.headless=true",
    "-Dfile.encoding=UTF-8",
    "-Djna.nosys=true",
    "-Dio.netty.noUnsafe=true",
    "-Dio.netty.noKeySetOptimization=true",
    "-Dio.netty.recycler.maxCapacityPerThread=0",
    "-Dio.netty.allocator.numDirectArenas=0",
    "-Dlog4j.shutdownHookEnabled=false",
    "-Dlog4j2.disable.jmx=true",
    "-Djava.locale.providers=SPI,CLDR",
    "-Dorg.apache.lucene.store.MMapDirectory.sharedArenaMaxPermits=1",
    "--add-opens=java.base/java.nio=org.apache.arrow.memory.core,ALL-UNNAMED",
    "-Dopensearch.distribution.type=zip",
    "-Dopensearch.bundled_jdk=false",
)
ANSWER_SECONDS: Final = 5


class OpenSearch:
    """One node that serves this machine only."""

    name = "opensearch"
    title = "OpenSearch 3.6"
    ports: tuple[str, ...] = ("opensearch", "opensearch-transport")
    polite = signal.SIGTERM
    start_seconds = 180.0
    stop_seconds = 30.0

    def prepare(self, site: Site) -> None:
        """Give the node a configuration folder of its own, in which it keeps its key store."""
        configuration = site.folder("opensearch", "config")
        source = site.installed.opensearch / "config/log4j2.properties"
        shutil.copyfile(source, configuration / "log4j2.properties")
        site.give(configuration / "log4j2.properties")

    def launch(self, site: Site) -> Launch:
        """The node on its ports of this start."""
        home = site.folder("opensearch")
        configuration = site.folder("opensearch", "config")
        site.write(
            configuration / "opensearch.yml",
            settings(home, http=site.port("opensearch"), transport=site.port("opensearch-transport")),
        )
        program = site.installed.opensearch
        command = [
            str(site.installed.java / "bin/java"),
            *JAVA_OPTIONS,
            *shlex.split(os.environ.get("OPENSEARCH_JAVA_OPTS", "")),
            f"-Djava.io.tmpdir={site.folder('opensearch', 'tmp')}",
            f"-javaagent:{program}/agent/opensearch-agent.jar",
            f"-Dopensearch.path.home={program}",
            f"-Dopensearch.path.conf={configuration}",
            "-cp",
            f"{program}/lib/*",
            "org.opensearch.bootstrap.OpenSearch",
        ]
        return Launch(
            command=command, cwd=program, env=environment(home) | {"OPENSEARCH_PATH_CONF": str(configuration)}
        )

    def ready(self, site: Site) -> bool:
        """At least yellow: right after a restart it answers, but red."""
        return healthy(self.address(site))

    def address(self, site: Site) -> str:
        """Its URL."""
        return f"http://127.0.0.1:{site.port('opensearch')}"


def settings(home: Path, *, http: int, transport: int) -> str:
    """The configuration of a node that is alone."""
    return f"""cluster.name: deskwire
node.name: deskwire
discovery.type: single-node
network.host: 127.0.0.1
http.port: {http}
transport.port: {transport}
path.data: {home}/data
path.logs: {home}/logs
# A developer's disk is often fuller than a cluster's may be.
cluster.routing.allocation.disk.threshold_enabled: false
"""


def healthy(url: str) -> bool:
    """Whether the cluster is yellow or green."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    try:
        with opener.open(f"{url.rstrip('/')}/_cluster/health", timeout=ANSWER_SECONDS) as answer:
            return json.load(answer).get("status") in {"yellow", "green"}
    except (OSError, ValueError):
        return False
