"""One attempt over real sockets: only vetted addresses are called, by the name that was given, and nothing is followed."""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from services.notify.webhooks.sender import Sender
from shared.egress import vetting
from shared.egress.rules import Rules, networks
from shared.egress.vetting import Vetting
from tests.integration.notify.webhook_ground import Sink, sink

OPEN = Rules(opened=networks("127.0.0.0/8"))
STRICT = Rules(plain_http=True)


class Resolver:
    """A name server whose answers change; the last one stays."""

    def __init__(self, *answers: Sequence[str]) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    async def __call__(self, host: str, port: int) -> Sequence[str]:
        del port
        self.asked.append(host)
        return self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]


@pytest.fixture
async def at() -> AsyncIterator[Sink]:
    async with sink() as made:
        yield made


@asynccontextmanager
async def sender(
    rules: Rules, resolver: Resolver | None = None, *, seconds: float = 5.0, tls: ssl.SSLContext | None = None
) -> AsyncIterator[Sender]:
    vet = Vetting(rules, resolver) if resolver else Vetting(rules)
    made = Sender(vet, seconds=seconds, tls=tls)
    try:
        yield made
    finally:
        await made.close()


def port_of(at: Sink) -> str:
    return at.url.rpartition(":")[2]


@pytest.mark.parametrize(
    "host",
    ["127.0.0.1", "[::1]", "localhost", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "[::ffff:127.0.0.1]",
     "[64:ff9b::7f00:1]", "[2002:7f00:1::]", "169.254.169.254", "0.0.0.0"],  # noqa: S104
)  # fmt: skip
async def test_no_way_of_writing_a_private_address_reaches_it(at: Sink, host: str) -> None:
    rules = Rules(plain_http=True, ports=frozenset({int(port_of(at))}))
    async with sender(rules) as ours:
        answer = await ours.send(f"http://{host}:{port_of(at)}/hook", {}, b"{}")
    assert (answer.status, answer.error) == (None, "refused")
    assert at.got == []


async def test_a_name_is_looked_up_by_us_alone_and_called_by_its_name(at: Sink) -> None:
    resolver = Resolver(["127.0.0.1"])
    async with sender(OPEN, resolver) as ours:
        answer = await ours.send(f"http://hooks.example.org:{port_of(at)}/hook", {}, b"{}")
    assert answer.status == 204
    assert resolver.asked == ["hooks.example.org"]
    assert at.got[0].headers["host"] == f"hooks.example.org:{port_of(at)}"


async def test_a_name_that_turns_private_is_refused_although_a_connection_is_open(
    at: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(vetting, "HELD_SECONDS", 0.0)
    rules = Rules(opened=networks("127.0.0.1/32"))
    async with sender(rules, Resolver(["127.0.0.1"], ["127.0.0.2"], ["10.0.0.1"])) as ours:
        url = f"http://hooks.example.org:{port_of(at)}/hook"
        assert (await ours.send(url, {}, b"{}")).status == 204
        assert (await ours.send(url, {}, b"{}")).error == "refused"
        assert (await ours.send(url, {}, b"{}")).error == "refused"
    assert len(at.got) == 1


async def test_the_last_door_stays_shut_even_if_every_other_were_open(
    at: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with sender(STRICT) as ours:

        async def credulous(_: object) -> tuple[str, ...]:
            return ("127.0.0.1",)

        monkeypatch.setattr(ours._vetting, "addresses", credulous)
        answer = await ours.send(f"http://hooks.example.org:{port_of(at)}/hook", {}, b"{}")
    assert answer.status is None
    assert at.got == []


async def test_proxy_variables_of_the_environment_are_not_read(at: Sink, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with sender(OPEN, Resolver(["127.0.0.1"])) as ours:
        assert (await ours.send(f"http://hooks.example.org:{port_of(at)}/hook", {}, b"{}")).status == 204


async def test_cookies_are_not_kept_and_connections_are(at: Sink) -> None:
    at.says("/hook", 200, Set_Cookie="tenant=other; Path=/")
    async with sender(OPEN) as ours:
        for _ in range(3):
            await ours.send(f"{at.url}/hook", {}, b"{}")
        assert len(ours._session.connector._conns) == 1  # type: ignore[union-attr]
    assert all("cookie" not in one.headers for one in at.got)


async def test_an_endpoint_that_does_not_answer_in_time_is_a_timeout(at: Sink) -> None:
    at.blocked["/hook"] = asyncio.Event()
    async with sender(OPEN, seconds=0.2) as ours:
        answer = await ours.send(f"{at.url}/hook", {}, b"{}")
    assert answer.error == "timeout"
    assert 150 < answer.milliseconds < 3000


async def test_a_body_that_never_ends_takes_nothing_from_the_status(at: Sink) -> None:
    async def drip(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 200 OK\r\n\r\nbegun")
        await writer.drain()
        # Until the caller has had enough.
        await reader.read()
        writer.close()

    server = await asyncio.start_server(drip, "127.0.0.1", 0)
    async with server, sender(OPEN, seconds=0.3) as ours:
        port = server.sockets[0].getsockname()[1]
        answer = await ours.send(f"http://127.0.0.1:{port}/", {}, b"{}")
        assert (answer.status, answer.text, answer.is_success) == (200, "begun", True)
        server.close()


@pytest.mark.parametrize(
    "sent", [b"", b"garbage\r\n\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: x\r\n\r\n", b"\x16\x03\x01"]
)
async def test_whatever_else_an_endpoint_says_is_an_answer_and_no_exception(sent: bytes) -> None:
    async def rude(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(sent)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    async with server, sender(OPEN, seconds=1) as ours:
        answer = await ours.send(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/", {}, b"{}")
        assert answer.status is None
        assert answer.error in {"connection", "unreadable"}


async def test_tls_names_and_verifies_the_host_that_was_asked_for_not_its_address(tmp_path: Path) -> None:
    named: list[str | None] = []
    serving, trusting = _tls(tmp_path, "hooks.example.org")

    def heard(_: ssl.SSLObject, name: str | None, __: ssl.SSLContext) -> None:
        named.append(name)

    serving.sni_callback = heard

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1000)
        writer.write(b"HTTP/1.1 204 No Content\r\nConnection: close\r\n\r\n")
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0, ssl=serving)
    port = server.sockets[0].getsockname()[1]
    async with server, sender(OPEN, Resolver(["127.0.0.1"]), tls=trusting) as ours:
        assert (await ours.send(f"https://hooks.example.org:{port}/", {}, b"{}")).status == 204
        assert (await ours.send(f"https://other.example.org:{port}/", {}, b"{}")).error == "tls"
    assert named[0] == "hooks.example.org"


def _tls(folder: Path, name: str) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    """A server that proves to be `name`, and whoever believes it."""
    key = ec.generate_private_key(ec.SECP256R1())
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName(name)]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = folder / "tls.pem"
    pem.write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
        + certificate.public_bytes(serialization.Encoding.PEM)
    )
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(pem)
    return serving, ssl.create_default_context(cadata=certificate.public_bytes(serialization.Encoding.PEM).decode())
