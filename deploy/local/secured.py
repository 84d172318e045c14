"""Kafka as production has it: TLS, SCRAM-SHA-512, and no right that nobody was given. For tests and for Compose."""

from __future__ import annotations

import contextlib
import socket
import ssl
from typing import TYPE_CHECKING, Final

from typing_extensions import override

from deploy.local.kafka import ANSWER_SECONDS, Kafka

if TYPE_CHECKING:
    from pathlib import Path

    from deploy.local.engine import Site

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
