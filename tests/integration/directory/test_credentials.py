"""API keys, tokens and signing keys: shown once, verified offline, revoked for good."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from services.directory.commands import credentials
from services.directory.commands.caller import bootstrap
from services.directory.commands.seed import seed
from services.directory.domain.pack_check import check
from services.directory.domain.tenancy import INSTALLATION
from services.directory.tasks import once
from shared.auth import Authenticator, FixedCredentials, SecretError, Unauthenticated, api_key_id, unwrap
from shared.contracts.directory import CredentialChanged, Role
from shared.contracts.pack import SECTIONS
from tests.integration.directory.conftest import MASTER, PACK, Directory
from tests.support.logs import logged

pytestmark = pytest.mark.engines


async def verifier(directory: Directory) -> Authenticator:
    """What another service makes of the topic."""
    rows = await directory.rows("SELECT key, payload FROM outbox WHERE topic = 'credential.changed' ORDER BY id")
    known: dict[bytes, CredentialChanged] = {}
    for row in rows:
        known.pop(row["key"], None)
        if row["payload"] is not None:
            known[row["key"]] = CredentialChanged.model_validate_json(row["payload"])
    return Authenticator(FixedCredentials(*known.values()))


async def test_a_key_proves_its_person_to_a_service_that_only_reads_the_topic(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    found = await (await verifier(directory)).authenticate(f"Bearer {directory.keys['acme/ana']}")
    assert (found.tenant_id, found.person_id, found.role) == ("acme", ana.person_id, Role.AGENT)


async def test_a_key_is_in_no_table_no_event_and_no_log_line(directory: Directory) -> None:
    with logged() as stream:
        await directory.tenant("acme")
        ana = await directory.person("acme", "ana")
        made = await directory.call(
            "acme/admin", "POST", "/v1/api-keys", {"person_id": str(ana.person_id), "name": "laptop"}
        )
        key = made.json()["key"]
        listed = await directory.call("acme/admin", "GET", "/v1/api-keys")
        wrong = key[:-1] + ("A" if key[-1] != "A" else "B")
        assert (await directory.call(wrong, "GET", "/v1/people/me")).status_code == 401
        assert (await directory.call(key, "GET", "/v1/people/me")).status_code == 200
    tables = await directory.rows("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")
    everything = [
        str(row["line"])
        for table in tables
        for row in await directory.rows(f'SELECT t::text AS line FROM "{table["tablename"]}" t')  # noqa: S608 - names of our own tables
    ]
    secret = key.removeprefix("dwk_")
    hexed = secret.encode().hex()
    assert len(everything) > 5
    assert not [line for line in everything if secret in line or hexed in line]
    assert secret not in listed.text
    assert wrong.removeprefix("dwk_") not in stream.getvalue()
    assert secret not in stream.getvalue()
    assert made.headers["cache-control"] == "no-store"


async def test_a_revoked_key_is_a_tombstone_and_stays_dead(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "ana")
    key = directory.keys["acme/ana"]
    answer = await directory.call("acme/admin", "DELETE", f"/v1/api-keys/{api_key_id(key)}")
    again = await directory.call("acme/admin", "DELETE", f"/v1/api-keys/{api_key_id(key)}")
    assert (answer.status_code, again.status_code) == (204, 204)
    assert (await directory.published("credential.changed"))[-1] is None
    assert (await directory.call("acme/ana", "GET", "/v1/people/me")).status_code == 401
    with pytest.raises(Unauthenticated):
        await (await verifier(directory)).authenticate(f"Bearer {key}")
    ana = directory.ids["acme/ana"]
    await directory.call("acme/admin", "PATCH", f"/v1/people/{ana}", {"role": "team_lead"}, match=1)
    with pytest.raises(Unauthenticated):
        await (await verifier(directory)).authenticate(f"Bearer {key}")


async def test_somebody_may_end_their_own_key_and_no_other(directory: Directory) -> None:
    await directory.tenant("acme")
    await directory.person("acme", "ana")
    await directory.person("acme", "ben")
    other = await directory.call("acme/ana", "DELETE", f"/v1/api-keys/{api_key_id(directory.keys['acme/ben'])}")
    seen = (await directory.call("acme/ana", "GET", "/v1/api-keys")).json()["items"]
    own = await directory.call("acme/ana", "DELETE", f"/v1/api-keys/{api_key_id(directory.keys['acme/ana'])}")
    assert (other.status_code, len(seen), own.status_code) == (404, 1, 204)
    assert (await directory.call("acme/ben", "GET", "/v1/people/me")).status_code == 200


async def test_a_key_is_worth_what_its_owner_may_do_now(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    path = f"/v1/people/{ana.person_id}"
    await directory.call("acme/admin", "PATCH", path, {"role": "manager"}, match=1)
    found = await (await verifier(directory)).authenticate(f"Bearer {directory.keys['acme/ana']}")
    assert found.role is Role.MANAGER
    await directory.call("acme/admin", "PATCH", path, {"active": False}, match=2)
    with pytest.raises(Unauthenticated):
        await (await verifier(directory)).authenticate(f"Bearer {directory.keys['acme/ana']}")
    await directory.call("acme/admin", "PATCH", path, {"active": True}, match=3)
    assert (await directory.call("acme/ana", "GET", "/v1/people/me")).status_code == 401


async def test_an_expired_key_is_refused_at_once_and_cleared_away(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    soon = datetime.now(UTC) + timedelta(milliseconds=300)
    made = await directory.call(
        "acme/admin",
        "POST",
        "/v1/api-keys",
        {"person_id": str(ana.person_id), "name": "short", "expires_at": soon.isoformat()},
    )
    assert made.status_code == 201
    past = await directory.call(
        "acme/admin",
        "POST",
        "/v1/api-keys",
        {"person_id": str(ana.person_id), "name": "past", "expires_at": "2020-01-01T00:00:00Z"},
    )
    assert past.status_code == 422
    await directory.rows("UPDATE credential SET expires_at = now() - interval '1 second' WHERE name = 'short'")
    assert (await directory.call(made.json()["key"], "GET", "/v1/people/me")).status_code == 401
    await directory.forget()
    await once(directory.database, lambda: None)
    assert await directory.published("credential.changed") == [None]
    await once(directory.database, lambda: None)
    assert len(await directory.published("credential.changed")) == 1


async def published_signing_keys(directory: Directory) -> None:
    """Put the signing keys into the outbox anew, as a compacted topic would hold them."""
    await directory.rows(
        "DELETE FROM signing_key",
    )
    async with directory.database.begin() as tx:
        await credentials.rotate(tx, bootstrap(INSTALLATION), MASTER, datetime.now(UTC))


async def test_a_token_proves_its_person_to_every_service(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    await published_signing_keys(directory)
    answer = await directory.call("acme/ana", "POST", "/v1/tokens", {"ttl_seconds": 60})
    assert answer.status_code == 201
    token = answer.json()["token"]
    found = await (await verifier(directory)).authenticate(f"Bearer {token}")
    assert (found.tenant_id, found.person_id, found.role) == ("acme", ana.person_id, Role.AGENT)
    assert (await directory.call(token, "GET", "/v1/people/me")).json()["name"] == "Ana"
    keys = (await directory.call(None, "GET", "/.well-known/jwks.json")).json()["keys"]
    assert [key["kid"] for key in keys] == [found.credential_id]
    assert "d" not in keys[0]


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("DELETE", "/v1/api-keys/{key}", None),
        ("PATCH", "/v1/people/{ana}", {"role": "customer"}),
        ("PATCH", "/v1/people/{ana}", {"role": "admin"}),
        ("PATCH", "/v1/people/{ana}", {"active": False}),
    ],
    ids=["key revoked", "role lowered", "role raised", "owner deactivated"],
)
async def test_a_token_ends_when_what_stood_behind_it_changes(
    directory: Directory, method: str, path: str, body: dict[str, Any] | None
) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    await published_signing_keys(directory)
    token = (await directory.call("acme/ana", "POST", "/v1/tokens")).json()["token"]
    assert (await (await verifier(directory)).authenticate(f"Bearer {token}")).person_id == ana.person_id
    where = path.format(key=api_key_id(directory.keys["acme/ana"]), ana=ana.person_id)
    done = await directory.call("acme/admin", method, where, body, match=None if method == "DELETE" else 1)
    assert done.status_code in {200, 204}
    assert (await directory.call(token, "GET", "/v1/people/me")).status_code == 401
    with pytest.raises(Unauthenticated):
        await (await verifier(directory)).authenticate(f"Bearer {token}")


async def test_a_token_outlives_the_end_of_another_key_of_its_owner(directory: Directory) -> None:
    await directory.tenant("acme")
    ana = await directory.person("acme", "ana")
    body = {"person_id": str(ana.person_id), "name": "laptop"}
    other = (await directory.call("acme/admin", "POST", "/v1/api-keys", body)).json()["credential"]["credential_id"]
    token = (await directory.call("acme/ana", "POST", "/v1/tokens")).json()["token"]
    assert (await directory.call("acme/admin", "DELETE", f"/v1/api-keys/{other}")).status_code == 204
    assert (await directory.call(token, "GET", "/v1/people/me")).status_code == 200


async def test_a_token_is_no_way_to_another_token(directory: Directory) -> None:
    await directory.tenant("acme")
    token = (await directory.call("acme/admin", "POST", "/v1/tokens")).json()["token"]
    assert (await directory.call(token, "POST", "/v1/tokens")).status_code == 403
    assert (await directory.call("acme/admin", "POST", "/v1/tokens", {"ttl_seconds": 601})).status_code == 422


async def test_a_rotated_key_signs_when_everybody_knows_it_and_the_former_still_verifies(directory: Directory) -> None:
    await directory.tenant("home", operator=True)
    await directory.tenant("acme")
    await published_signing_keys(directory)
    before = (await directory.call("acme/admin", "POST", "/v1/tokens")).json()["token"]
    assert (await directory.call("acme/admin", "POST", "/v1/signing-keys")).status_code == 403
    await directory.rows("UPDATE signing_key SET created_at = created_at - interval '1 hour'")
    rotated = await directory.call("home/admin", "POST", "/v1/signing-keys")
    assert rotated.status_code == 201
    others = await verifier(directory)
    during = (await directory.call("acme/admin", "POST", "/v1/tokens")).json()["token"]
    former = (await others.authenticate(f"Bearer {before}")).credential_id
    assert (await others.authenticate(f"Bearer {during}")).credential_id == former
    await directory.rows("UPDATE signing_key SET created_at = created_at - interval '31 seconds'")
    after = (await directory.call("acme/admin", "POST", "/v1/tokens")).json()["token"]
    assert (await others.authenticate(f"Bearer {after}")).credential_id == rotated.json()["kid"] != former
    await directory.rows("UPDATE signing_key SET expires_at = now() - interval '1 s' WHERE kid = $1", former)
    await once(directory.database, lambda: None)
    with pytest.raises(Unauthenticated):
        await (await verifier(directory)).authenticate(f"Bearer {before}")
    assert (await directory.call(before, "GET", "/v1/people/me")).status_code == 401


async def test_a_private_key_opens_only_with_the_master_key(directory: Directory) -> None:
    await directory.tenant("acme")
    wrapped = [bytes(row["wrapped_private"]) for row in await directory.rows("SELECT wrapped_private FROM signing_key")]
    assert wrapped
    assert not [value for value in wrapped if b'"d"' in value or b"Ed25519" in value]
    assert b'"d"' in unwrap(MASTER, wrapped[0], credentials.PURPOSE)
    with pytest.raises(SecretError):
        unwrap(bytes(32), wrapped[0], credentials.PURPOSE)


async def test_seeding_again_changes_nothing_and_shows_no_key(directory: Directory) -> None:
    now = datetime.now(UTC)
    async with directory.database.begin() as tx:
        first = await seed(tx, check(PACK), now)
    assert first.administrator_key is not None
    assert (await directory.call(first.administrator_key, "GET", "/v1/people/me")).json()["role"] == "admin"
    before = await directory.rows("SELECT count(*) AS rows FROM outbox")
    async with directory.database.begin() as tx:
        second = await seed(tx, check(PACK), now)
    assert (second.created, second.administrator_key, second.machine_key) == (False, None, None)
    assert await directory.rows("SELECT count(*) AS rows FROM outbox") == before
    assert second.administrator_id == first.administrator_id
    async with directory.database.begin() as tx:
        third = await seed(tx, check(PACK), now, renew_key=True)
    assert third.administrator_key not in (None, first.administrator_key)
    sections = await directory.rows("SELECT key FROM outbox WHERE topic = 'policy.published'")
    assert sorted(row["key"].decode() for row in sections) == sorted(f"demo/{one.SECTION}" for one in SECTIONS)


async def test_the_first_seeded_tenant_runs_the_installation(directory: Directory) -> None:
    now = datetime.now(UTC)
    async with directory.database.begin() as tx:
        home = await seed(tx, check(PACK), now, tenant_id="home")
        other = await seed(tx, check(PACK), now, tenant_id="other")
    assert home.administrator_key
    assert other.administrator_key
    body = {"tenant_id": "third", "name": "Third"}
    assert (await directory.call(other.administrator_key, "POST", "/v1/tenants", body)).status_code == 403
    assert (await directory.call(home.administrator_key, "POST", "/v1/tenants", body)).status_code == 201
