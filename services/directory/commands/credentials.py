"""API keys, signing keys, tokens."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import UUID

import orjson

from services.directory.commands.caller import Caller
from services.directory.domain.inputs import NewApiKey
from services.directory.domain.people import Person
from services.directory.domain.tenancy import INSTALLATION, VERIFIES_LONGER, ApiKey, SigningKey, signer
from services.directory.store import credentials, people
from shared import outbox
from shared.auth import Permission, Principal, allows, issue, new_api_key, new_signing_key, public_part, unwrap, wrap
from shared.contracts.manifest import CREDENTIAL_CHANGED
from shared.db import Tx
from shared.envelope import Answer, Delete
from shared.problem import Problem, invalid, not_found

PURPOSE = "signing-key"
"""What the master key's child for signing keys is derived for."""


async def add_key(tx: Tx, caller: Caller, wanted: NewApiKey, now: datetime) -> tuple[str, ApiKey]:
    """Make an API key; the key itself, which is kept nowhere, and what is kept. `now` is real time.

    Raises 422 for a person who does not exist here or may not act, and for an expiry in the past.
    """
    caller.require(Permission.CREDENTIAL_WRITE)
    if wanted.expires_at is not None and wanted.expires_at <= now:
        raise invalid(["expires_at"], "is in the past")
    person = await people.get(tx, caller.tenant_id, wanted.person_id)
    if person is None or not person.active:
        raise invalid(["person_id"], "there is no such active person")
    secret, credential_id = new_api_key()
    key = ApiKey(
        tenant_id=caller.tenant_id,
        credential_id=credential_id,
        person_id=person.person_id,
        role=person.role,
        name=wanted.name,
        created_at=now,
        expires_at=wanted.expires_at,
    )
    await credentials.add(tx, key, caller.person_id)
    await outbox.add(tx, [caller.emit(key.event())])
    return secret, key


async def revoke(tx: Tx, caller: Caller, credential_id: str, now: datetime) -> None:
    """End an API key: its own person may, or an administrator. Repeating it changes nothing. Raises 404."""
    key = await credentials.get(tx, caller.tenant_id, credential_id)
    if key is None or not (may_administer(caller.principal) or key.person_id == caller.person_id):
        raise not_found("API key")
    if key.revoked_at is None:
        await credentials.revoke(tx, key, now)
        await outbox.add(tx, [tombstone(key)])


def may_administer(principal: Principal) -> bool:
    """Whether the principal sees and ends the keys of others."""
    return allows(principal, Permission.CREDENTIAL_WRITE)


def tombstone(key: ApiKey) -> Delete:
    """Makes every service forget a key."""
    return Delete(CREDENTIAL_CHANGED.name, key.credential_id, key.tenant_id)


async def revoke_all(tx: Tx, person: Person) -> list[Answer]:
    """End every key of a person who may not act any more; the tombstones."""
    keys = await credentials.renew(tx, person.tenant_id, person.person_id)
    for key in keys:
        await credentials.revoke(tx, key, tx.instant)
    return [tombstone(key) for key in keys]


async def renew(tx: Tx, caller: Caller, tenant_id: str, person_id: UUID | None = None) -> list[Answer]:
    """Tell the keys of a person, or of a whole tenant, anew, with the role that counts now."""
    return [caller.emit(key.event()) for key in await credentials.renew(tx, tenant_id, person_id)]


async def suspend_all(tx: Tx, tenant_id: str) -> list[Answer]:
    """Make every service forget the keys of a tenant, which keeps them for its return."""
    return [tombstone(key) for key in await credentials.renew(tx, tenant_id)]


async def rotate(tx: Tx, caller: Caller, master: bytes, now: datetime) -> SigningKey:
    """Sign with a new key from now on; the former one verifies what it signed until that has expired."""
    keys = await credentials.signing_keys(tx, lock=True)
    answers: list[Answer] = []
    for key in keys:
        if key.expires_at is None:
            former = replace(key, version=key.version + 1, expires_at=now + VERIFIES_LONGER)
            await credentials.replace_signing_key(tx, former)
            answers.append(caller.emit(former.event()))
    private = new_signing_key()
    key = SigningKey(
        kid=str(private["kid"]),
        public_key=public_part(private),
        wrapped_private=wrap(master, orjson.dumps(private), PURPOSE),
        created_at=now,
    )
    await credentials.add_signing_key(tx, key)
    await outbox.add(tx, [*answers, caller.emit(key.event())])
    return key


async def ensure_signing_key(tx: Tx, caller: Caller, master: bytes, now: datetime) -> bool:
    """Make the first signing key; False when there is a current one."""
    if any(key.expires_at is None for key in await credentials.signing_keys(tx, lock=True)):
        return False
    await rotate(tx, caller, master, now)
    return True


async def forget_expired(tx: Tx, now: datetime, limit: int) -> int:
    """Make every service forget keys past their time; how many."""
    keys = await credentials.expired(tx, now, limit)
    for key in keys:
        await credentials.revoke(tx, key, now)
    gone = await credentials.forget_signing_keys(tx, now)
    answers: list[Answer] = [tombstone(key) for key in keys]
    answers += [Delete(CREDENTIAL_CHANGED.name, kid, INSTALLATION) for kid in gone]
    await outbox.add(tx, answers)
    return len(answers)


async def token(tx: Tx, principal: Principal, master: bytes, now: datetime, ttl: timedelta) -> str:
    """A signed token of whoever shows an API key of a person.

    Raises 403 when the caller came with a token: it would live on for ever by renewing itself.
    """
    key = await credentials.get(tx, principal.tenant_id, principal.credential_id)
    if key is None or principal.person_id is None:
        raise Problem(403, "api-key-needed", "API key needed", "A token is given for an API key, not for a token.")
    current = signer(await credentials.signing_keys(tx), now)
    if current is None:
        raise Problem(503, "unavailable", "Temporarily unavailable", "There is no signing key yet.")
    return issue(orjson.loads(unwrap(master, current.wrapped_private, PURPOSE)), principal, now, ttl)
