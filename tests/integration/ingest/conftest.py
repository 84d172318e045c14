"""An ingest per test: its own database and blob folder, its API called in process, its SMTP listener on request."""

from __future__ import annotations

import asyncio
import smtplib
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from uuid import UUID

import asyncpg
import httpx2
import orjson
import pytest
from fastapi import FastAPI

from services.ingest import inbound
from services.ingest.api import application
from services.ingest.archive import Archive
from services.ingest.channels.alerts import Alerts
from services.ingest.channels.chat import Chats
from services.ingest.channels.chat_hub import Hub
from services.ingest.channels.http import Submissions
from services.ingest.channels.mailbox import Mailboxes
from services.ingest.channels.smtp import Reception
from services.ingest.intake import Intake
from services.ingest.mail.parse import Options
from services.ingest.mailroom import Mailroom
from services.ingest.measures import Measures
from services.ingest.parsing import Parser
from services.ingest.quarantine import Quarantine
from services.ingest.settings import Settings
from services.ingest.store import messages as store
from shared.auth import Authenticator, FixedCredentials, mail_token, new_api_key
from shared.blobs import Blobs
from shared.contracts import ids
from shared.contracts.directory import CredentialChanged, CredentialKind, Role, TenantChanged
from shared.contracts.message import MessageQuarantined, MessageReceived
from shared.db import Database
from shared.http import Cursor
from shared.metrics import Metrics
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

MASTER = bytes(range(32))
TOKEN_KEY = mail_token.key_of(MASTER)
_CLIENTS = ThreadPoolExecutor(64, thread_name_prefix="client")
T = TypeVar("T")


async def aside(function: Callable[..., T], *arguments: Any) -> T:
    """Run a blocking client in a thread that the service does not share."""
    return await asyncio.get_running_loop().run_in_executor(_CLIENTS, function, *arguments)


@dataclass
class Ingest:
    """One ingest and the means to look inside."""

    settings: Settings
    database: Database
    database_url: str
    blobs: Blobs
    folder: Path
    intake: Intake
    mailroom: Mailroom
    parser: Parser
    reception: Reception
    app: FastAPI
    http: httpx2.AsyncClient
    credentials: FixedCredentials
    measures: Measures
    hub: Hub
    mailboxes: Mailboxes
    woken: list[None] = field(default_factory=list)
    keys: dict[str, str] = field(default_factory=dict)
    """API keys by `tenant/role`."""

    def key(self, who: str, person: UUID | None = None) -> str:
        """The API key of `tenant/role`, made on first use."""
        if who not in self.keys:
            tenant_id, _, role = who.partition("/")
            key, credential_id = new_api_key()
            self.keys[who] = key
            self.credentials.put(
                CredentialChanged(
                    tenant_id=tenant_id,
                    credential_id=credential_id,
                    kind=CredentialKind.API_KEY,
                    version=1,
                    role=Role(role.partition("#")[0]),
                    person_id=person,
                )
            )
        return self.keys[who]

    async def call(self, who: str, method: str, path: str, body: Any = None, **headers: str) -> httpx2.Response:
        """One request as `tenant/role`."""
        given = {"Authorization": f"Bearer {self.key(who)}", **{n.replace("_", "-"): v for n, v in headers.items()}}
        if isinstance(body, bytes):
            return await self.http.request(method, path, content=body, headers=given)
        content = None if body is None else orjson.dumps(body)
        return await self.http.request(
            method, path, content=content, headers={"Content-Type": "application/json", **given}
        )

    async def submit(self, body: Any, who: str = "acme/service", **headers: str) -> dict[str, Any]:
        """Hand in messages that must be taken."""
        answer = await self.call(who, "POST", "/v1/messages", body, **headers)
        assert answer.status_code == 202, answer.text
        found: dict[str, Any] = answer.json()
        return found

    async def tenant(self, tenant_id: str, *addresses: str, domains: tuple[str, ...] = ()) -> None:
        """A tenant whose mail is taken."""
        record = TenantChanged(
            tenant_id=tenant_id, version=1, name=tenant_id, inbound_addresses=addresses, mail_domains=domains
        )
        async with self.database.begin() as tx:
            await store.replace_claims(tx, tenant_id, inbound.claims(record))

    async def mail(self, raw: bytes, *recipients: str, sender: str = "ann@customer.example") -> dict[str, Any]:
        """Send one mail by a real SMTP conversation; recipients refused, if any. Raises smtplib's errors."""

        def send() -> dict[str, Any]:
            with smtplib.SMTP("127.0.0.1", self.reception.port, timeout=60) as client:
                return client.sendmail(sender, list(recipients), raw)

        return await aside(send)

    async def received(self) -> list[MessageReceived]:
        """What would be published, in order."""
        rows = await self.database.fetch("SELECT payload FROM outbox WHERE topic = 'message.received' ORDER BY id")
        return [MessageReceived.model_validate_json(row["payload"]) for row in rows]

    async def quarantined(self) -> list[MessageQuarantined]:
        """What would be published of unreadable mails."""
        rows = await self.database.fetch("SELECT payload FROM outbox WHERE topic = 'message.quarantined' ORDER BY id")
        return [MessageQuarantined.model_validate_json(row["payload"]) for row in rows]

    async def text(self, event: MessageReceived) -> str:
        """The whole text of a message."""
        if event.body.text is not None:
            return event.body.text
        assert event.body.text_blob is not None
        return (await self.blobs.get(event.tenant_id, event.body.text_blob.sha256)).decode()


@pytest.fixture
async def ingest(databases: ScratchDatabases, tmp_path: Path) -> AsyncIterator[Ingest]:
    """A fresh ingest without its listener."""
    url = await databases.create("ingest")
    settings = Settings(
        database_url=url,
        blobs_url=tmp_path.joinpath("blobs").as_uri(),
        smtp_port=1,
        imap_allowed_networks="127.0.0.0/8",
        rate_per_second=1e6,
        rate_burst=10**6,
    )
    database = await Database.connect(url, application="ingest-test")
    blobs = Blobs.of(settings)
    measures = Measures(Metrics("ingest"))
    woken: list[None] = []
    intake = Intake(database, lambda: woken.append(None), measures)
    parser = Parser(measures)
    archive = Archive(blobs)
    mailroom = Mailroom(parser, archive, intake, Options(authserv_ids=frozenset({"mx.acme.example"})))
    credentials = FixedCredentials()
    mailboxes = Mailboxes(settings, database, mailroom, intake, MASTER)
    hub = Hub(database, blobs, most=100)
    app = application(
        settings,
        database=database,
        authenticator=Authenticator(credentials),
        submissions=Submissions(database, archive, intake),
        alerting=Alerts(database, archive, intake),
        chats=Chats.of(settings, database, intake, hub, MASTER),
        polled=mailboxes,
        quarantine=Quarantine(database, blobs, parser, mailroom, intake),
        blobs=blobs,
        cursors=Cursor(MASTER),
        wake=lambda: woken.append(None),
    )
    reception = Reception(
        settings.model_copy(update={"smtp_port": 0}), database, mailroom, measures, token_key=TOKEN_KEY
    )
    transport = httpx2.ASGITransport(app=app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://ingest.test") as client:
        yield Ingest(
            settings,
            database,
            url,
            blobs,
            tmp_path,
            intake,
            mailroom,
            parser,
            reception,
            app,
            client,
            credentials,
            measures,
            hub,
            mailboxes,
            woken,
        )
    await parser.close()
    await database.close()


@pytest.fixture
async def smtp(ingest: Ingest) -> AsyncIterator[Ingest]:
    """The same with its SMTP listener up, and the tenants acme and beta."""
    await ingest.tenant("acme", "support@acme.example", "sales@acme.example", domains=("acme.example",))
    await ingest.tenant("beta", "help@beta.example", domains=("beta.example",))
    listening = asyncio.create_task(ingest.reception.run())

    async def up() -> bool:
        assert not listening.done(), listening
        return ingest.reception.port != 0

    await eventually(up)
    yield ingest
    listening.cancel()
    await asyncio.wait([listening])


@pytest.fixture
async def admin(ingest: Ingest, databases: ScratchDatabases) -> AsyncIterator[asyncpg.Connection[asyncpg.Record]]:
    """The database as its administrator, to take it away from the service."""
    connection = await asyncpg.connect(databases.admin(ingest.database_url))
    yield connection
    await connection.close()


def message(number: int = 0, **more: Any) -> dict[str, Any]:
    """A message as an integration would send it."""
    return {
        "sender": {"address": f"user{number}@customer.example", "name": f"User {number}"},
        "subject": f"Cannot log in {number}",
        "text": f"Since this morning I get error {number} when I log in.",
    } | more


def person(tenant_id: str, address: str) -> UUID:
    """A person's id by address."""
    return ids.person_id(tenant_id, address)
