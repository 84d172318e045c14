"""Engines that a scenario may stop: Kafka and PostgreSQL of its own, in a state folder of its own."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from deploy.local.engines import VARIABLES
from deploy.local.folders import CHECKOUT
from tests.support.engines import Engines

_COMMAND = """
import sys
from pathlib import Path
from deploy.local import engines, record
from deploy.local.progress import Progress
from deploy.local.refusal import guarded

state, command, names = Path(sys.argv[1]), sys.argv[2], sys.argv[3:]

def main():
    with record.exclusive(state) as held:
        if command == "stop":
            engines.stop(held, Progress(sys.stderr), tuple(names))
            return 0
        addresses = engines.start(held, Progress(sys.stderr), names)
    print(addresses.kafka_url)
    print(addresses.database_url)
    return 0

raise SystemExit(guarded(main))
"""


class OwnEngines:
    """Kafka and PostgreSQL as processes that nobody else uses."""

    def __init__(self, state: Path) -> None:
        self._state = state

    def start(self, *names: str) -> list[str]:
        """Start engines, on the ports they had before; the lines with their addresses."""
        return self._run("start", *names).splitlines()

    def start_all(self) -> Engines:
        """Start both; where they answer."""
        kafka_url, database_url = self.start("kafka", "postgres")[-2:]
        return Engines(kafka_url=kafka_url, database_url=database_url, opensearch_url="")

    def stop(self, *names: str) -> None:
        """End engines as an operator would."""
        self._run("stop", *names)

    def _run(self, command: str, *names: str) -> str:
        own = {name: value for name, value in os.environ.items() if name not in {*VARIABLES.values(), "ENGINES"}}
        done = subprocess.run(
            [sys.executable, "-c", _COMMAND, str(self._state), command, *names],
            cwd=CHECKOUT,
            env=own,
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout
