"""A token ends everywhere within 30 seconds of its API key: directory and a reader of its topic on a real broker."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from services.directory.commands import credentials, tenancy
from services.directory.commands.caller import bootstrap
from services.directory.domain.inputs import NewAdministrator, NewTenant
from shared.auth import Authenticator, ReplicaCredentials, Unauthenticated, api_key_id
from shared.contracts.manifest import CREDENTIAL_CHANGED
from shared.db import Database
from shared.metrics import Metrics
from shared.replica import Replica
from shared.settings import ServiceSettings
from tests.integration.directory.test_service import Installation
from tests.integration.directory.test_service import installation as installation  # noqa: PLC0414 - a fixture
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines

INSTANCES = 2
"""One of them has the key's partition and hears of the end; the other must find it out by itself."""


class Settings(ServiceSettings):
    SERVICE = "reader"


@pytest.fixture
async def readers(installation: Installation, databases: ScratchDatabases) -> AsyncIterator[list[Authenticator]]:
    """The instances of one service that verifies what directory published."""
    database = await Database.connect(await databases.create("mechanism"), application="reader")
    settings = Settings(
        kafka_url=installation.settings.kafka_url,
        topic_prefix=installation.settings.topic_prefix,
        session_timeout_milliseconds=6000,
    )
    replicas = [
        Replica(settings, database, {"credential": CREDENTIAL_CHANGED}, metrics=Metrics("reader"))
        for _ in range(INSTANCES)
    ]
    running: list[asyncio.Future[None]] = [
        asyncio.ensure_future(loop.run()) for replica in replicas for loop in replica.loops()
    ]
    yield [Authenticator(ReplicaCredentials(replica)) for replica in replicas]
    for task in running:
        task.cancel()
    for task in running:
        with contextlib.suppress(asyncio.CancelledError):
            await task
    await database.close()


async def test_a_token_ends_in_every_instance_within_half_a_minute_of_its_key(
    installation: Installation, readers: list[Authenticator]
) -> None:
    await installation.start()
    wanted = NewTenant(
        tenant_id="acme", name="Acme", administrator=NewAdministrator(name="Ada", address="ada@acme.example")
    )
    async with installation.database.begin() as tx:
        _, key = await tenancy.add_tenant(tx, bootstrap("acme"), wanted, datetime.now(UTC), operator=False)
    assert key is not None
    for reader in readers:
        await eventually(partial(_accepts, reader, key), what="the key known to a reader")
    ada = await readers[0].authenticate(f"Bearer {key}")
    async with installation.database.begin() as tx:
        token = await credentials.token(tx, ada, bytes(range(32)), datetime.now(UTC), timedelta(minutes=10))
    for reader in readers:
        await eventually(partial(_accepts, reader, token), what="the signing key known to a reader")

    async with installation.database.begin() as tx:
        await credentials.revoke(tx, bootstrap("acme"), api_key_id(key), datetime.now(UTC))
    revoked = time.monotonic()
    for reader in readers:
        await eventually(partial(_refuses, reader, token), what="the token refused", within=30)
        assert await _refuses(reader, key)
    assert time.monotonic() - revoked < 30


async def _accepts(reader: Authenticator, secret: str) -> bool:
    return not await _refuses(reader, secret)


async def _refuses(reader: Authenticator, secret: str) -> bool:
    try:
        await reader.authenticate(f"Bearer {secret}")
    except Unauthenticated:
        return True
    return False
