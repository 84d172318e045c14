"""Putting packs in force, and taking them back."""

from __future__ import annotations

from dataclasses import dataclass

from pydantic import JsonValue

from services.directory.commands.caller import Caller
from services.directory.domain.pack_check import Pack, PackRefusedError, check
from services.directory.domain.pack_diff import Difference, changed_sections, compare
from services.directory.domain.tenancy import PackVersion, policy_key, published
from services.directory.store import packs, tenants
from shared import outbox
from shared.contracts.manifest import POLICY_PUBLISHED
from shared.db import Tx
from shared.envelope import Answer, Delete
from shared.http import stale
from shared.problem import Problem, conflict, not_found


@dataclass(frozen=True, slots=True, kw_only=True)
class Applied:
    """What became of a pack."""

    pack: PackVersion
    differences: list[Difference]
    sections: list[str]
    """Those published, or withdrawn; none when the pack says what was in force already."""


async def apply(
    tx: Tx, caller: Caller, pack: Pack, expected: int | None = None, rolled_back_to: int | None = None
) -> Applied:
    """Put a checked pack in force as the tenant's next version; publish the sections that changed.

    The same text again is no new version. Raises 412 when the version in force is not `expected` (0 for none).
    """
    await _hold(tx, caller)
    latest = await packs.latest(tx, caller.tenant_id)
    current = latest.version if latest else 0
    if expected is not None and expected != current:
        raise stale()
    in_force = await packs.sections(tx, caller.tenant_id)
    changed = changed_sections(in_force, pack.sections)
    if latest is not None and latest.text == pack.text and not changed:
        return Applied(pack=latest, differences=[], sections=[])
    version = PackVersion(
        tenant_id=caller.tenant_id,
        version=current + 1,
        name=pack.name,
        text=pack.text,
        applied_by=caller.person_id,
        applied_at=tx.instant,
        rolled_back_to=rolled_back_to,
    )
    documents = {section: pack.sections.get(section) for section in changed}
    await packs.add(tx, version, documents)
    await outbox.add(tx, [_answer(tx, caller, version, section, document) for section, document in documents.items()])
    return Applied(pack=version, differences=compare(in_force, pack.sections), sections=changed)


def _answer(
    tx: Tx, caller: Caller, version: PackVersion, section: str, document: dict[str, JsonValue] | None
) -> Answer:
    if document is None:
        return Delete(POLICY_PUBLISHED.name, policy_key(caller.tenant_id, section), caller.tenant_id)
    return caller.emit(published(version, section, document, tx.instant))


async def rollback(tx: Tx, caller: Caller, to: int | None, expected: int | None = None) -> Applied:
    """Put an earlier version in force again, as a new version; without `to` the one before the present.

    Raises 404 when there is no such version, 409 when there is nothing before, or this release refuses it.
    """
    await _hold(tx, caller)
    latest = await packs.latest(tx, caller.tenant_id)
    if latest is None or (to is None and latest.version == 1):
        raise conflict("nothing-to-roll-back", "Nothing to roll back", "There is no earlier version of the pack.")
    wanted = await packs.get(tx, caller.tenant_id, latest.version - 1 if to is None else to)
    if wanted is None:
        raise not_found("version of the pack")
    try:
        pack = check(wanted.text)
    except PackRefusedError as error:
        raise conflict(
            "version-refused", "Version refused", f"Version {wanted.version} is not accepted any more: {error}"
        ) from error
    return await apply(tx, caller, pack, expected, rolled_back_to=wanted.version)


async def difference(tx: Tx, tenant_id: str, pack: Pack) -> tuple[int, list[Difference]]:
    """The version in force, and what would change if the pack were applied."""
    latest = await packs.latest(tx, tenant_id)
    return latest.version if latest else 0, compare(await packs.sections(tx, tenant_id), pack.sections)


async def _hold(tx: Tx, caller: Caller) -> None:
    """One change of a tenant's pack at a time, so that versions have no gaps and publications keep their order."""
    if await tenants.lock(tx, caller.tenant_id) is None:
        raise Problem(404, "not-found", "Not found", "There is no such tenant.")
