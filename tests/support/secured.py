"""An installation on closed engines.

Kafka over TLS with a user per service and only the rights that the manifest gives; PostgreSQL over TLS, its certificate
and its name verified.
"""

from __future__ import annotations

import asyncio
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from pydantic import SecretStr
from typing_extensions import override

from cli.installation import CliSettings
from deploy.containers.certificates import Authority
from deploy.local import engines as local
from deploy.local import process
from deploy.local.engine import Engine
from deploy.local.folders import EngineUser, cache_folder
from deploy.local.progress import Progress
from deploy.local.record import Record
from deploy.local.secured import ADMINISTRATOR, SecuredKafka, SecuredPostgres, install_postgres_tls
from shared import access
from shared.settings import verified
from tests.support.engines import Engines
from tests.support.installation import TOGETHER, WITH_DATABASE, Installation


class Broker:
    """A running secured broker."""

    def __init__(self, url: str, ca_file: Path, administrator: str) -> None:
        self.url = url
        self.ca_file = ca_file
        self.administrator = administrator
        """Its password."""
        self.passwords = {user: secrets.token_urlsafe(18) for user in access.users()}

    def environment(self, user: str, password: str = "") -> dict[str, str]:
        """What somebody is told who connects as `user` (without the prefix)."""
        return {
            "KAFKA_URL": self.url,
            "KAFKA_CA_FILE": str(self.ca_file),
            "KAFKA_USERNAME": user,
            "KAFKA_PASSWORD": password or self.passwords.get(user, self.administrator),
        }

    def settings(self, user: str, *, prefix: str, **more: Any) -> CliSettings:
        """The same as settings, for a client in this process."""
        given: dict[str, Any] = {
            "kafka_url": self.url,
            "kafka_ca_file": str(self.ca_file),
            "kafka_username": prefix + user,
            "kafka_password": SecretStr(self.passwords[user]),
            "topic_prefix": prefix,
        }
        return CliSettings(**given | more)


class Server:
    """A running PostgreSQL that demands TLS."""

    def __init__(self, url: str, ca_file: Path) -> None:
        self.url = url
        """The administrator's address, without a word about TLS."""
        self.ca_file = ca_file

    @property
    def verified_url(self) -> str:
        """The same, as somebody needs it who has no DATABASE_CA_FILE."""
        return verified(self.url, str(self.ca_file))


@contextmanager
def _place() -> Iterator[tuple[Record, Authority, Path]]:
    """A state folder, an authority and its certificate as a file."""
    # Not under pytest's own folder, which the engines' user cannot enter.
    with tempfile.TemporaryDirectory(prefix="secured-") as scratch:
        folder = Path(scratch)
        folder.chmod(0o755)
        (folder / "logs").mkdir()
        authority = Authority()
        ca_file = folder / "ca.pem"
        ca_file.write_text(authority.certificate())
        yield Record(folder=folder), authority, ca_file


@contextmanager
def _running(engine: Engine, record: Record) -> Iterator[str]:
    """The engine's address while it runs."""
    try:
        yield local.bring_up(engine, local.prepare_site(record, [engine.name], Progress()), Progress())
    finally:
        running = record.running(engine.name)
        if running is not None:
            # What it holds is thrown away: it need not hand over first.
            process.end(running, patience=0.5)


@contextmanager
def secured_broker() -> Iterator[Broker]:
    """Start a broker in folders of its own, and end it."""
    with _place() as (record, authority, ca_file):
        certificate, key = authority.issue("127.0.0.1")
        password = secrets.token_urlsafe(18)
        engine = SecuredKafka(
            certificate=certificate,
            key=key,
            authority=authority.certificate(),
            password=password,
            broker_password=secrets.token_urlsafe(18),
        )
        with _running(engine, record) as url:
            yield Broker(url, ca_file, password)


@contextmanager
def secured_server(*hosts: str) -> Iterator[Server]:
    """Start a PostgreSQL in folders of its own, whose certificate is for those hosts, and end it."""
    programs = install_postgres_tls(cache_folder(EngineUser.current()), Progress())
    with _place() as (record, authority, ca_file):
        certificate, key = authority.issue(*(hosts or ("127.0.0.1",)))
        engine = SecuredPostgres(programs, certificate=certificate, key=key, authority=authority.certificate())
        with _running(engine, record) as url:
            yield Server(url, ca_file)


class SecuredInstallation(Installation):
    """Every service in one process, each with its own user."""

    def __init__(self, engines: Engines, folder: Path, broker: Broker, server: Server) -> None:
        closed = replace(engines, kafka_url=broker.url, database_url=server.verified_url)
        super().__init__(closed, folder, processes=TOGETHER)
        self.broker = broker
        self.server = server

    @override
    def environment(self, **more: str) -> dict[str, str]:
        """As ever, with the closed broker; the command line is the operator unless told otherwise."""
        told = {"KAFKA_CA_FILE": str(self.broker.ca_file), "DATABASE_CA_FILE": str(self.server.ca_file)}
        for user, password in self.broker.passwords.items():
            told[f"{user.upper()}_KAFKA_USERNAME"] = self.prefix + user
            told[f"{user.upper()}_KAFKA_PASSWORD"] = password
        for service in WITH_DATABASE:
            # The file alone makes them verify: their addresses say nothing of TLS.
            told[f"{service.upper()}_DATABASE_URL"] = self.database_url(service).partition("?")[0]
        told |= self.as_user("operator")
        return super().environment(**told | more)

    def as_user(self, user: str) -> dict[str, str]:
        """Variables by which the command line is that user."""
        known = user in self.broker.passwords
        return {
            "CLI_KAFKA_USERNAME": self.prefix + user if known else user,
            "CLI_KAFKA_PASSWORD": self.broker.passwords[user] if known else self.broker.administrator,
        }

    @override
    async def provision(self) -> None:
        """Users and rights by the broker's administrator; all else by a user who has no right but to make topics."""
        said = await self.cli("access", "apply", told=self.as_user(ADMINISTRATOR))
        assert f"{len(access.grants())} given, 0 taken away" in said
        passwords = {f"{role.upper()}_DATABASE_PASSWORD": password for role, password in self.passwords.items()}
        told = {"DATABASE_URL": self.server.url, **passwords, **self.as_user("provision")}
        await self.cli("provision", told=told)

    @override
    async def forget_topics(self) -> None:
        """They go with the broker."""
        await asyncio.sleep(0)
