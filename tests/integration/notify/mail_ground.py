"""Notify's mails at work against a scratch database."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import asyncpg
import httpx2
import orjson
from pydantic import SecretStr

from services.directory.domain.pack_check import check
from services.notify import api
from services.notify.api import notifications, pages, preferences, preview
from services.notify.api.desk import Desk
from services.notify.app import REPLICATED
from services.notify.desk import wiring
from services.notify.desk.reference import on_reference_changed
from services.notify.desk.wiring import Mails
from services.notify.settings import Settings
from services.notify.store import deliveries
from services.notify.store.deliveries import Delivery
from shared.auth import Authenticator, FixedCredentials
from shared.blobs import Blobs
from shared.contracts import cloudevents, ids
from shared.contracts.directory import PersonChanged, PolicyPublished, Role, TeamChanged, TenantChanged
from shared.contracts.event import Event
from shared.db import Database
from shared.envelope import Emit, NotYet, Received
from shared.http import Cursor
from shared.metrics import Metrics
from shared.replica import Replica
from shared.tasks import Tasks
from tests.integration.notify.mail_facts import ANA, DOMAIN, LEO, MIA, SUPPORT, TEAM, WANDA, received
from tests.integration.notify.mail_sink import Sink
from tests.support.api import Caller, caller, in_memory
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

MASTER = b"m" * 32
PACK: dict[str, Any] = dict(
    check((Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()).sections
)


class Relay:
    """Nobody sends the outbox."""

    def wake(self) -> None: ...

    def attach(self) -> None: ...

    def detach(self) -> None: ...


@dataclass
class Ground:
    """Notify's mails, their API, and a look inside the database."""

    database: Database
    admin_url: str
    replica: Replica
    mails: Mails
    metrics: Metrics
    app: Any
    http: httpx2.AsyncClient
    sink: Sink
    blobs: Blobs
    tasks: Tasks
    callers: dict[str, Caller]
    running: list[asyncio.Future[None]]
    _versions: Iterator[int] = field(default_factory=lambda: itertools.count(1))

    def work(self) -> None:
        """Hand over what waits, from now on."""
        self.running += [asyncio.ensure_future(loop.run()) for loop in self.tasks.loops()]

    # -- reference data -----------------------------------------------------------------------------------------

    async def learn(self, *events: Event) -> None:
        """Store reference data as the replica would."""
        async with self.database.begin() as tx:
            for number, event in enumerate(events):
                await tx.execute(
                    'INSERT INTO replica (topic, key, type, event, version, event_time, partition, "offset")'
                    " VALUES ($1, $2, $3, $4, $5, now(), 0, $6) ON CONFLICT (topic, key, type)"
                    " DO UPDATE SET event = excluded.event, version = excluded.version",
                    cloudevents.topic_name(event.TYPE),
                    event.key,
                    event.TYPE,
                    event.to_bytes(),
                    getattr(event, "version", None),
                    number,
                )
            await on_reference_changed(tx, [received(event) for event in events])
        for event in events:
            self.replica._cache.drop(cloudevents.topic_name(event.TYPE), event.key)

    async def pack(self, tenant: str = "acme", **changes: Any) -> None:
        """Put the default pack's section in force, with other values for some of its fields."""
        sections = {"notifications": PACK["notifications"] | changes, "satisfaction": PACK["satisfaction"]}
        for section, document in sections.items():
            await self.learn(
                PolicyPublished(
                    tenant_id=tenant,
                    policy_key=f"{tenant}/{section}",
                    section=section,
                    pack="default",
                    pack_version=next(self._versions),
                    document=document,
                    published_at=datetime.now(UTC),
                )
            )

    async def knows(self, address: str, name: str, role: Role = Role.CUSTOMER, **more: Any) -> UUID:
        """Directory tells of a person."""
        identity = ids.person_id("acme", address)
        await self.learn(
            PersonChanged(
                tenant_id="acme",
                person_id=identity,
                version=next(self._versions),
                role=role,
                name=name,
                addresses=(address,),
                **more,
            )
        )
        return identity

    # -- facts --------------------------------------------------------------------------------------------------

    async def tell(self, *events: Event | Received[Any]) -> list[Emit]:
        """Hand facts to the service as the bus does, each by itself."""
        emits = []
        for event in events:
            one = event if isinstance(event, Received) else received(event)
            async with self.database.begin() as tx:
                answers = await self.mails.telling.tell(tx, [one])
                assert not any(isinstance(answer, NotYet) for answer in answers), answers
                emits += [answer for answer in answers if isinstance(answer, Emit)]
        return emits

    # -- what came of it ----------------------------------------------------------------------------------------

    async def deliveries(self, **wanted: Any) -> list[Delivery]:
        rows = await self.database.fetch("SELECT * FROM delivery ORDER BY created_at, id")
        found = [deliveries.delivery(row) for row in rows]
        return [one for one in found if all(getattr(one, name) == value for name, value in wanted.items())]

    async def published(self, topic: str) -> list[dict[str, Any]]:
        """What the outbox holds for a topic."""
        rows = await self.database.fetch("SELECT payload FROM outbox WHERE topic = $1 ORDER BY id", topic)
        return [orjson.loads(row["payload"]) for row in rows]

    async def settled(self, count: int | None = None, *, within: float = 10.0) -> list[Delivery]:
        """Every delivery, once none of them waits any more (and there are so many)."""

        async def over() -> list[Delivery]:
            found = await self.deliveries()
            waiting = [one for one in found if one.state.value in {"waiting", "sending"}]
            assert not waiting, [(one.template, one.state, one.answer) for one in waiting]
            assert count is None or len(found) == count, [(one.template, one.channel) for one in found]
            return found

        return await eventually(over, within=within)

    async def mailed(self, address: str, count: int = 1) -> list[EmailMessage]:
        """The mails that an address got, once there are so many."""

        async def there() -> list[EmailMessage]:
            found = self.sink.to(address)
            assert len(found) == count, [str(one["Subject"]) for one in found]
            return found

        return await eventually(there)

    async def forward(self, **delta: float) -> None:
        """Move this database's clock on."""
        admin = await asyncpg.connect(self.admin_url)
        try:
            await admin.execute("UPDATE clock_offset SET shift = shift + $1::interval", timedelta(**delta))
        finally:
            await admin.close()

    async def call(self, method: str, path: str, who: str = "lead", **given: Any) -> httpx2.Response:
        headers = {**self.callers[who].headers, **given.pop("headers", {})}
        return await self.http.request(method, path, headers=headers, **given)

    def measured(self, name: str) -> float:
        """A metric by its name."""
        return self.metrics.registry.get_sample_value(name, {"service": "notify"}) or 0.0


@asynccontextmanager
async def ground(
    databases: ScratchDatabases,
    folder: Path,
    sink: Sink,
    url: str | None = None,
    *,
    working: bool = True,
    **settings: Any,
) -> AsyncIterator[Ground]:
    """Everything, with the default pack and some people; `url` names a database made before.

    Not `working`: mails wait until `work` is called.
    """
    url = url or await databases.create("notify")
    given = Settings(
        database_url=SecretStr(url),
        smtp_url=SecretStr(settings.pop("smtp_url", f"smtp://127.0.0.1:{sink.port}")),
        blobs_url=folder.as_uri(),
        master_key=SecretStr(MASTER.hex()),
        public_url="https://desk.example",
        smtp_seconds=settings.pop("smtp_seconds", 5.0),
        language_patience_seconds=settings.pop("language_patience_seconds", 0.0),
        **settings,
    )
    database = await Database.connect(url, application="test")
    metrics = Metrics("notify")
    topics = {topic.name.partition(".")[0]: topic for topic in REPLICATED}
    replica = Replica(given, database, topics, metrics=metrics)
    relay: Any = Relay()
    mails = wiring.build(
        settings=given, database=database, replica=replica, relay=relay, metrics=metrics, master=MASTER
    )
    tasks = Tasks(given, database, relay, mails.kinds, metrics)
    callers = {
        "lead": caller(Role.TEAM_LEAD, person_id=ids.person_id("acme", LEO)),
        "agent": caller(Role.AGENT, person_id=ids.person_id("acme", ANA)),
        "customer": caller(Role.CUSTOMER, person_id=ids.person_id("acme", MIA)),
        "stranger": caller(Role.ADMIN, tenant_id="other", person_id=uuid4()),
    }
    desk = Desk(
        database=database,
        known=mails.known,
        links=mails.links,
        answering=mails.answering,
        cursor=Cursor(MASTER),
        wake=relay.wake,
    )
    routers = [preferences.routes(desk), preview.routes(desk), notifications.routes(desk), pages.routes(desk)]
    credentials = FixedCredentials(*(one.credential for one in callers.values()))
    app = api.build(given, database, Authenticator(credentials), routers)
    running: list[asyncio.Future[None]] = []
    try:
        async with in_memory(app) as http:
            made = Ground(
                database=database,
                admin_url=databases.admin(url),
                replica=replica,
                mails=mails,
                metrics=metrics,
                app=app,
                http=http,
                sink=sink,
                blobs=Blobs(folder.as_uri()),
                tasks=tasks,
                callers=callers,
                running=running,
            )
            await _people(made)
            if working:
                made.work()
            yield made
    finally:
        await _end(running)
        await mails.close()
        await database.close()


async def _end(running: Sequence[asyncio.Future[None]]) -> None:
    """Cancel, and again: what is under way is given back."""
    for _ in range(2 if running else 0):
        for one in running:
            one.cancel()
        await asyncio.wait(running, timeout=0.5)
    for one in running:
        with contextlib.suppress(asyncio.CancelledError):
            await one


ACME = TenantChanged(
    tenant_id="acme",
    version=1,
    name="Acme Support",
    timezone="Europe/Berlin",
    languages=("en", "de"),
    mail_domains=(DOMAIN,),
    inbound_addresses=(SUPPORT,),
)


async def _people(ground: Ground) -> None:
    await ground.learn(
        ACME,
        TeamChanged(
            tenant_id="acme", team_id=TEAM, version=1, name="One", lead_id=ids.person_id("acme", LEO), queues=("tier1",)
        ),
    )
    await ground.pack()
    await ground.knows(MIA, "Mia Möller", organisation="Customer AG")
    await ground.knows(WANDA, "Wanda")
    await ground.knows(ANA, "Ana Alvarez", Role.AGENT)
    await ground.knows(LEO, "Leo", Role.TEAM_LEAD)
