"""`deskwire provision` makes what is missing, touches nothing else, and says what it cannot do in one line."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import sys
import time
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import asyncpg
import pytest
from aiokafka.admin import AIOKafkaAdminClient

from cli import roles
from cli.installation import address
from shared.contracts.manifest import TOPICS
from tests.support.engines import Engines
from tests.support.topics import delete_topics

pytestmark = pytest.mark.engines

ROOT = Path(__file__).parents[3]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/migrations"))


@dataclass(frozen=True)
class Answer:
    """What a command said."""

    status: int
    out: str
    err: str


@dataclass
class Place:
    """Names of this test's own on the engines."""

    engines: Engines
    suffix: str = field(default_factory=lambda: f"_p{secrets.token_hex(4)}")

    @property
    def prefix(self) -> str:
        return f"duetest.{self.suffix[1:]}."

    @property
    def passwords(self) -> dict[str, str]:
        return {
            f"{service.upper()}_{kind}DATABASE_PASSWORD": f"pw{kind.lower()}{service}"
            for service in SERVICES
            for kind in ("", "MIGRATE_")
        }

    async def run(self, *arguments: str, **environment: str) -> Answer:
        given = {
            "PATH": os.environ["PATH"],
            "KAFKA_URL": self.engines.kafka_url,
            "DATABASE_URL": self.engines.database_url,
            "TOPIC_PREFIX": self.prefix,
            "DATABASE_SUFFIX": self.suffix,
            **self.passwords,
            **environment,
        }
        child = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "cli",
            *arguments,
            cwd=ROOT,
            env={name: value for name, value in given.items() if value},
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
        )
        out, err = await child.communicate()
        assert child.returncode is not None
        answer = Answer(child.returncode, out.decode(), err.decode())
        assert "Traceback" not in answer.err
        return answer

    async def connect(
        self, role: str | None = None, password: str = "", database: str = "postgres"
    ) -> asyncpg.Connection:
        return await asyncpg.connect(address(self.engines.database_url, database, role, password))

    async def topics(self) -> set[str]:
        admin = AIOKafkaAdminClient(bootstrap_servers=self.engines.kafka_url)
        await admin.start()
        try:
            return {name for name in await admin.list_topics() if name.startswith(self.prefix)}
        finally:
            await admin.close()

    async def clean(self) -> None:
        admin = await self.connect()
        for service in SERVICES:
            await admin.execute(f'DROP DATABASE IF EXISTS "{service}{self.suffix}" WITH (FORCE)')
        for service in SERVICES:
            for role in (f"{service}{self.suffix}", f"{service}_migrate{self.suffix}"):
                await admin.execute(f'DROP ROLE IF EXISTS "{role}"')
        await admin.close()
        await delete_topics(self.engines.kafka_url, self.prefix)


@pytest.fixture
async def place(engines: Engines) -> AsyncIterator[Place]:
    made = Place(engines)
    yield made
    await made.clean()


async def test_it_makes_everything_once_and_is_quick_when_nothing_is_missing(place: Place) -> None:
    first = await place.run("provision")
    assert first.status == 0, first.err
    wanted = {place.prefix + topic.name for topic in TOPICS}
    wanted |= {f"{place.prefix}dlq.{consumer}.{topic.name}" for topic in TOPICS for consumer in topic.consumers}
    assert await place.topics() == wanted
    for service in SERVICES:
        assert f"database    {service}{place.suffix} made" in first.out
    began = time.monotonic()
    second = await place.run("provision")
    took = time.monotonic() - began
    assert second.status == 0
    assert "topics      0 made" in second.out
    assert second.out.count("up to date") == len(SERVICES)
    inside = re.search(r"provisioned in ([\d.]+) s", second.out)
    assert inside is not None
    assert float(inside[1]) < 1.0
    assert took < 5


async def test_three_at_once_do_not_disturb_each_other(place: Place) -> None:
    answers = await asyncio.gather(*(place.run("provision") for _ in range(3)))
    assert [answer.status for answer in answers] == [0, 0, 0], [answer.err for answer in answers]
    assert (await place.run("provision")).out.count("up to date") == len(SERVICES)


async def test_roles_can_do_their_own_work_and_nothing_more(place: Place) -> None:
    assert (await place.run("provision")).status == 0
    mine, other = SERVICES[0], SERVICES[1]
    data = await place.connect(f"{mine}{place.suffix}", f"pw{mine}", f"{mine}{place.suffix}")
    assert await data.fetchval("SELECT count(*) FROM outbox") == 0
    for forbidden in (
        "CREATE TABLE x (i int)",
        "UPDATE clock_offset SET shift = '1h'",
        "DELETE FROM timer_ledger",
        "DELETE FROM migration",
        "TRUNCATE timer",
    ):
        with pytest.raises(asyncpg.InsufficientPrivilegeError):
            await data.execute(forbidden)
    await data.close()
    with pytest.raises(asyncpg.InsufficientPrivilegeError):
        await place.connect(f"{mine}{place.suffix}", f"pw{mine}", f"{other}{place.suffix}")
    with pytest.raises(asyncpg.InvalidPasswordError):
        await place.connect(f"{mine}{place.suffix}", "wrong", f"{mine}{place.suffix}")
    admin = await place.connect()
    stored = await admin.fetchval("SELECT rolpassword FROM pg_authid WHERE rolname = $1", f"{mine}{place.suffix}")
    await admin.close()
    assert stored.startswith("SCRAM-SHA-256$4096:")


async def test_a_new_password_is_given_to_the_roles(place: Place) -> None:
    assert (await place.run("provision")).status == 0
    mine = SERVICES[0]
    changed = {f"{mine.upper()}_DATABASE_PASSWORD": "new", f"{mine.upper()}_MIGRATE_DATABASE_PASSWORD": "newer"}
    assert (await place.run("provision", **changed)).status == 0
    data = await place.connect(f"{mine}{place.suffix}", "new", f"{mine}{place.suffix}")
    await data.close()


async def test_a_missing_password_is_named(place: Place) -> None:
    mine = SERVICES[0].upper()
    answer = await place.run("provision", "--databases", **{f"{mine}_MIGRATE_DATABASE_PASSWORD": ""})
    assert answer.status == 2
    assert f"{mine}_MIGRATE_DATABASE_PASSWORD is not set" in answer.err
    assert len(answer.err.splitlines()) == 1


async def test_an_administrator_who_may_not_create_roles_gets_the_sql_and_it_works(place: Place) -> None:
    admin = await place.connect()
    weak = f"weak{place.suffix}"
    await admin.execute(f"CREATE ROLE {weak} LOGIN PASSWORD 'weak'")
    try:
        parts = urlsplit(address(place.engines.database_url, "postgres", weak, "weak"))
        answer = await place.run("provision", "--databases", DATABASE_URL=parts.geturl())
        assert answer.status == 1
        assert len(answer.err.splitlines()) == 1
        assert "may not create roles" in answer.err
        assert not any(password in answer.out for password in place.passwords.values())
        for statement in answer.out.strip().rstrip(";").split(";\n"):
            await admin.execute(statement)
        again = await place.run("provision", "--databases", DATABASE_URL=parts.geturl())
        assert again.status == 0, again.err
        assert again.out.count("migrations applied") == len(SERVICES)
    finally:
        for service in SERVICES:
            await admin.execute(f'DROP DATABASE IF EXISTS "{service}{place.suffix}" WITH (FORCE)')
        await admin.execute(f"DROP ROLE {weak}")
        await admin.close()


@pytest.mark.parametrize(
    ("variable", "value", "status", "said"),
    [
        ("KAFKA_URL", "127.0.0.1:1", 1, "Kafka does not answer"),
        ("DATABASE_URL", "postgresql://x:y@127.0.0.1:1/postgres", 1, "PostgreSQL does not answer"),
        ("DATABASE_URL", "somewhere", 2, "DATABASE_URL"),
        ("CLI_HTTP_PORT", "x", 2, "CLI_HTTP_PORT"),
    ],
)
async def test_what_an_operator_can_put_right_is_one_line(
    place: Place, variable: str, value: str, status: int, said: str
) -> None:
    answer = await place.run("provision", **{variable: value})
    assert answer.status == status
    assert said in answer.err
    assert len(answer.err.splitlines()) == 1


async def test_the_clock_of_all_services_moves_together_and_back(place: Place) -> None:
    assert (await place.run("provision", "--databases")).status == 0
    moved = await place.run("clock", "forward", "1h30m")
    assert moved.out.count("offset 1:30:00") == len(SERVICES)
    assert (await place.run("clock", "forward", "-30m")).out.count("offset 1:00:00") == len(SERVICES)
    assert (await place.run("clock", "show")).out.count("offset 1:00:00") == len(SERVICES)
    assert (await place.run("clock", "reset")).out.count("offset 0:00:00") == len(SERVICES)
    wrong = await place.run("clock", "forward", "soon")
    assert wrong.status == 2
    assert "'soon': a duration is written like 30m" in wrong.err


async def test_committed_schemas_are_what_the_migrations_make(place: Place) -> None:
    answer = await place.run("schema", "--check")
    assert answer.status == 0, answer.out


def test_a_password_that_scram_would_change_is_refused() -> None:
    with pytest.raises(ValueError, match="printable ASCII"):
        roles.verifier("pässwort")
