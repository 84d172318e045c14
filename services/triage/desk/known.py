"""What directory told: rules compiled once per publication, tenants' languages, requesters."""

from __future__ import annotations

import hashlib
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from uuid import UUID

import orjson
import structlog
from pydantic import ValidationError

from services.triage.domain.ruleset import SECTIONS, Compiled, Ruleset, compiled
from shared.contracts.directory import PersonChanged, PolicyPublished, TenantChanged
from shared.db import Tx
from shared.explain import explain
from shared.replica import Replica

MOST_COMPILED = 16
"""Different rules kept compiled, those used last; each takes 2 to 4 MB, and tenants with the same pack share one."""

logger = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Missing:
    """A section that has not arrived: `<tenant>/<section>`."""

    key: str


@dataclass(frozen=True, slots=True)
class _Remembered:
    stamp: tuple[object, ...]
    """The publications it was made of."""
    digest: bytes
    ruleset: Ruleset


class Known:
    """Reads the replica; a ruleset is remembered by the publications it is made of."""

    def __init__(self) -> None:
        self._replica: Replica
        self._rulesets: dict[str, _Remembered] = {}
        self._compiled: OrderedDict[bytes, Compiled] = OrderedDict()

    def read(self, replica: Replica) -> None:
        """Read this replica; it tells us of changes, so it is made after us."""
        self._replica = replica

    async def rulesets(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, Ruleset | Missing]:
        """Each tenant's rules, or the first section of them that has not arrived."""
        wanted = sorted(set(tenants))
        keys = [f"{tenant}/{section}" for tenant in wanted for section in SECTIONS]
        published = await self._replica.get_many(PolicyPublished, keys, tx=tx)
        about = await self._replica.get_many(TenantChanged, wanted, tx=tx)
        return {tenant: self._ruleset(tenant, published, about.get(tenant)) for tenant in wanted}

    async def ruleset(self, tenant: str, tx: Tx | None = None) -> Ruleset | None:
        """One tenant's rules, or None while a section is missing."""
        found = (await self.rulesets([tenant], tx))[tenant]
        return found if isinstance(found, Ruleset) else None

    def _ruleset(
        self, tenant: str, published: dict[str, PolicyPublished], about: TenantChanged | None
    ) -> Ruleset | Missing:
        sections = []
        for section in SECTIONS:
            event = published.get(f"{tenant}/{section}")
            if event is None:
                return Missing(f"{tenant}/{section}")
            sections.append(event)
        stamp = (
            *((event.pack, event.pack_version, event.published_at) for event in sections),
            about.version if about else 0,
        )
        remembered = self._rulesets.get(tenant)
        if remembered is not None and remembered.stamp == stamp:
            self._compiled.move_to_end(remembered.digest)
            return remembered.ruleset
        digest = _digest(*sections)
        try:
            ruleset = Ruleset(
                compiled=self._compile(digest, *sections),
                version=sections[0].pack_version,
                languages=about.languages if about else (),
            )
        except ValidationError as error:
            # Of a later release, say: tickets wait for one that can be read, which is better than being parked.
            section = "priorities" if error.title == "Priorities" else "triage"
            logger.error("section of a pack cannot be read", tenant=tenant, section=section, reason=explain(error))
            return remembered.ruleset if remembered is not None else Missing(f"{tenant}/{section}")
        self._rulesets[tenant] = _Remembered(stamp, digest, ruleset)
        return ruleset

    def _compile(self, digest: bytes, triage: PolicyPublished, priorities: PolicyPublished) -> Compiled:
        known = self._compiled.get(digest)
        if known is None:
            known = self._compiled[digest] = compiled(triage.document, priorities.document)
            if len(self._compiled) > MOST_COMPILED:
                gone, _ = self._compiled.popitem(last=False)
                self._rulesets = {tenant: one for tenant, one in self._rulesets.items() if one.digest != gone}
        self._compiled.move_to_end(digest)
        return known

    async def people(self, person_ids: Iterable[UUID], tx: Tx) -> dict[UUID, PersonChanged]:
        """Those that directory has told of; nothing waits for the others."""
        wanted = list(dict.fromkeys(person_ids))
        if not wanted:
            return {}
        found = await self._replica.get_many(PersonChanged, wanted, tx=tx)
        return {person.person_id: person for person in found.values()}


def _digest(triage: PolicyPublished, priorities: PolicyPublished) -> bytes:
    """The same for sections that are equal word for word, whoever they belong to."""
    return hashlib.sha256(orjson.dumps([triage.document, priorities.document], option=orjson.OPT_SORT_KEYS)).digest()
