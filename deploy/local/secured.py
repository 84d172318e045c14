"""Engines as production has them: Kafka with TLS, SCRAM-SHA-512 and rights, PostgreSQL with TLS. For tests."""

from __future__ import annotations

import contextlib
import dataclasses
import fcntl
import socket
import ssl
import tarfile
import zipfile
from functools import partial
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from deploy.local.engine import Launch
from deploy.local.fetch import fetch
from deploy.local.install import complete
from deploy.local.kafka import ANSWER_SECONDS, Kafka
from deploy.local.pins import pinned
from deploy.local.postgres import Postgres

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.engine import Site
    from deploy.local.progress import Progress

POSTGRES_TLS: Final = "postgres-tls"
"""The pins of a PostgreSQL that was built with TLS; nothing but what tries TLS fetches it."""
ADMINISTRATOR: Final = "admin"
"""Makes users and gives rights; no service is one."""
BROKER: Final = "broker"
"""What the broker calls itself by towards its controller."""


class SecuredKafka(Kafka):
    """One node that nobody reaches without TLS, a user and a right."""

    title = "Kafka 4.3, secured"

    def __init__(self, *, certificate: str, key: str, authority: str, password: str, broker_password: str) -> None:
        """`certificate`, `key` and `authority` are PEM; `password` is the administrator's."""
        self._certificate = certificate + key
        self._authority = authority
        self._password = password
        self._broker_password = broker_password

    @override
    def settings(self, site: Site, *, broker: int, controller: int) -> str:
        """The plain node's, with its listeners closed."""
        home = site.folder("kafka")
        keystore = site.write(home / "server.pem", self._certificate)
        truststore = site.write(home / "ca.pem", self._authority)
        plain = super().settings(site, broker=broker, controller=controller)
        kept = [line for line in plain.splitlines() if not line.startswith(("listeners=", "advertised.listeners="))]
        listeners = [
            f"listeners=SASL_SSL://127.0.0.1:{broker},CONTROLLER://127.0.0.1:{controller}",
            f"advertised.listeners=SASL_SSL://127.0.0.1:{broker}",
        ]
        return "\n".join([*kept, *listeners, secured(keystore, truststore, self._broker_password)])

    @override
    def format_options(self) -> list[str]:
        """The two users without whom nobody could make any."""
        return [
            part
            for user, password in ((ADMINISTRATOR, self._password), (BROKER, self._broker_password))
            for part in ("--add-scram", f"SCRAM-SHA-512=[name={user},password={password}]")
        ]

    @override
    def ready(self, site: Site) -> bool:
        """A TLS session; it listens only once it knows its users."""
        context = ssl.create_default_context(cadata=self._authority)
        address = ("127.0.0.1", site.port("kafka"))
        with (
            contextlib.suppress(OSError),
            socket.create_connection(address, timeout=ANSWER_SECONDS) as connection,
            context.wrap_socket(connection, server_hostname="127.0.0.1"),
        ):
            return True
        return False


def secured(keystore: Path, truststore: Path, broker_password: str) -> str:
    """The settings that close a node with the listeners SASL_SSL and CONTROLLER (which cannot do SCRAM)."""
    plain = "org.apache.kafka.common.security.plain.PlainLoginModule"
    scram = "org.apache.kafka.common.security.scram.ScramLoginModule"
    login = f'required username="{BROKER}" password="{broker_password}"'
    return f"""\
listener.security.protocol.map=SASL_SSL:SASL_SSL,CONTROLLER:SASL_PLAINTEXT
inter.broker.listener.name=SASL_SSL
sasl.enabled.mechanisms=SCRAM-SHA-512
sasl.mechanism.inter.broker.protocol=SCRAM-SHA-512
sasl.mechanism.controller.protocol=PLAIN
listener.name.controller.sasl.enabled.mechanisms=PLAIN
listener.name.controller.plain.sasl.jaas.config={plain} {login} user_{BROKER}="{broker_password}";
listener.name.sasl_ssl.scram-sha-512.sasl.jaas.config={scram} {login};
ssl.keystore.type=PEM
ssl.keystore.location={keystore}
ssl.truststore.type=PEM
ssl.truststore.location={truststore}
authorizer.class.name=org.apache.kafka.metadata.authorizer.StandardAuthorizer
super.users=User:{BROKER};User:{ADMINISTRATOR}
allow.everyone.if.no.acl.found=false
auto.create.topics.enable=false
"""


SSL_REQUEST: Final = bytes.fromhex("0000000804d2162f")
"""What a client of PostgreSQL begins with that wants TLS; `S` is the answer."""
ONLY_TLS: Final = "hostssl all all all scram-sha-256\n"


class SecuredPostgres(Postgres):
    """A server that nobody reaches without TLS."""

    title = "PostgreSQL 18, TLS"

    def __init__(self, programs: Path, *, certificate: str, key: str, authority: str) -> None:
        """`programs` is where `install_postgres_tls` put it; the others are PEM."""
        self._programs = programs
        self._certificate = certificate
        self._key = key
        self._authority = authority

    @override
    def launch(self, site: Site) -> Launch:
        """The plain server's command with its certificate, and no way in without."""
        home = site.folder("postgres")
        plain = super().launch(site)
        settings = {
            "ssl": "on",
            "ssl_cert_file": site.write(home / "server.pem", self._certificate),
            "ssl_key_file": site.write(home / "server.key", self._key),
            "hba_file": site.write(home / "hba.conf", ONLY_TLS),
        }
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return dataclasses.replace(plain, command=[*plain.command, *options])

    @override
    def ready(self, site: Site) -> bool:
        """A TLS session, after which it would ask for a user."""
        context = ssl.create_default_context(cadata=self._authority)
        context.check_hostname = False
        with (
            contextlib.suppress(OSError),
            socket.create_connection(("127.0.0.1", site.port("postgres")), timeout=ANSWER_SECONDS) as connection,
        ):
            connection.sendall(SSL_REQUEST)
            if connection.recv(1) == b"S":
                with context.wrap_socket(connection):
                    return True
        return False

    @override
    def _program(self, site: Site, name: str) -> Path:
        return self._programs / "bin" / name


def install_postgres_tls(cache: Path, progress: Progress) -> Path:
    """Fetch and unpack the PostgreSQL with TLS; the folder with its `bin`."""
    engine = pinned(POSTGRES_TLS)
    place = cache / "engines" / engine.folder
    if place.exists():
        return place
    fetch(engine.files, cache / "downloads", progress)
    place.parent.mkdir(exist_ok=True)
    with (cache / "engines/install.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not place.exists():
            complete(place, partial(_postgres_tls, cache / "downloads" / engine.files[0].filename))
    return place


def _postgres_tls(archive: Path, place: Path) -> None:
    """An archive in an archive."""
    with zipfile.ZipFile(archive) as outer:
        (name,) = (name for name in outer.namelist() if name.endswith(".txz"))
        with outer.open(name) as packed, tarfile.open(fileobj=packed, mode="r:xz") as content:
            content.extractall(place, filter="data")
