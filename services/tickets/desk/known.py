"""What directory told: packs compiled once per publication, people, our own inbound addresses."""

from __future__ import annotations

from collections.abc import Iterable
from uuid import UUID

import structlog
from pydantic import ValidationError

from services.tickets.domain.policy import SECTIONS, Missing, Pack
from services.tickets.domain.workflow import Machine
from shared.contracts import ids
from shared.contracts.directory import PersonChanged, PolicyPublished, TenantChanged
from shared.contracts.pack import Assignment, Numbering, Priorities, Satisfaction, Workflow
from shared.db import Tx
from shared.explain import explain
from shared.replica import Replica

_Version = tuple[object, ...]

logger = structlog.get_logger(__name__)


class Known:
    """Reads the replica; compiled packs are remembered by the publications they are made of."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._packs: dict[str, tuple[_Version, Pack]] = {}
        self._inbound: dict[str, tuple[int, frozenset[UUID]]] = {}

    async def packs(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, Pack | Missing]:
        """Each tenant's pack, or the first section of it that has not arrived."""
        wanted = list(tenants)
        keys = [f"{tenant}/{section}" for tenant in wanted for section in SECTIONS]
        published = await self._replica.get_many(PolicyPublished, keys, tx=tx)
        return {tenant: self._pack(tenant, published) for tenant in wanted}

    async def pack(self, tenant: str, tx: Tx | None = None) -> Pack | None:
        """One tenant's pack, or None while a section is missing."""
        found = (await self.packs([tenant], tx))[tenant]
        return found if isinstance(found, Pack) else None

    async def satisfaction(self, tenant: str, tx: Tx | None = None) -> Satisfaction | None:
        """How a tenant's requesters are asked; None while the section has not arrived or cannot be read."""
        event = await self._replica.get(PolicyPublished, f"{tenant}/{Satisfaction.SECTION}", tx=tx)
        if event is None:
            return None
        try:
            return Satisfaction.model_validate(event.document)
        except ValidationError as error:
            logger.error(
                "section of a pack cannot be read", tenant=tenant, section="satisfaction", reason=explain(error)
            )
            return None

    def _pack(self, tenant: str, published: dict[str, PolicyPublished]) -> Pack | Missing:
        sections = []
        for section in SECTIONS:
            event = published.get(f"{tenant}/{section}")
            if event is None:
                return Missing(f"{tenant}/{section}")
            sections.append(event)
        version = tuple((event.pack, event.pack_version, event.published_at) for event in sections)
        known = self._packs.get(tenant)
        if known is not None and known[0] == version:
            return known[1]
        workflow, priorities, assignment, numbering = (event.document for event in sections)
        try:
            pack = Pack(
                machine=Machine(Workflow.model_validate(workflow)),
                priorities=Priorities.model_validate(priorities),
                assignment=Assignment.model_validate(assignment),
                numbering=Numbering.model_validate(numbering),
            )
        except ValidationError as error:
            # Of a later release, say: messages wait for one that can be read, which is better than being parked.
            section = error.title.lower()
            logger.error("section of a pack cannot be read", tenant=tenant, section=section, reason=explain(error))
            return known[1] if known is not None else Missing(f"{tenant}/{section}")
        self._packs[tenant] = (version, pack)
        return pack

    async def people(self, person_ids: Iterable[UUID], tx: Tx | None = None) -> dict[UUID, PersonChanged]:
        """Those that directory has told of; nothing waits for the others."""
        found = await self._replica.get_many(PersonChanged, list(dict.fromkeys(person_ids)), tx=tx)
        return {person.person_id: person for person in found.values()}

    async def inbound(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, frozenset[UUID]]:
        """The person ids that a tenant's own inbound addresses would have: they take part in nothing."""
        found: dict[str, frozenset[UUID]] = {}
        for tenant, event in (await self._replica.get_many(TenantChanged, list(tenants), tx=tx)).items():
            known = self._inbound.get(tenant)
            if known is None or known[0] != event.version:
                addresses = frozenset(ids.person_id(tenant, address) for address in event.inbound_addresses)
                known = self._inbound[tenant] = (event.version, addresses)
            found[tenant] = known[1]
        return found
