"""What directory told: policies compiled once per publication, zones of tenants and people."""

from __future__ import annotations

from collections.abc import Mapping
from uuid import UUID

import structlog
from pydantic import ValidationError

from services.sla.domain.policy import SECTIONS, Missing, Policy, Setting, Zones
from shared.contracts.directory import PersonChanged, PolicyPublished, TenantChanged
from shared.contracts.pack import Calendars, SlaTargets, Workflow
from shared.db import Tx
from shared.explain import explain
from shared.replica import Replica

_Version = tuple[object, ...]

logger = structlog.get_logger(__name__)


class Known:
    """Reads the replica; compiled policies are remembered by the publications they are made of."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._policies: dict[str, tuple[_Version, Policy]] = {}

    async def settings(
        self, requesters: Mapping[UUID, tuple[str, UUID | None]], tx: Tx | None = None
    ) -> dict[UUID, Setting | Missing]:
        """The setting of each ticket, by the ticket's tenant and requester; or what has not arrived for it."""
        tenants = sorted({tenant for tenant, _ in requesters.values()})
        policies = {tenant: await self.policy(tenant, tx) for tenant in tenants}
        zones = {
            t.tenant_id: t.timezone for t in (await self._replica.get_many(TenantChanged, tenants, tx=tx)).values()
        }
        asked = {
            person
            for tenant, person in requesters.values()
            if person is not None and isinstance(known := policies[tenant], Policy) and known.asks_requesters
        }
        people = await self._replica.get_many(PersonChanged, sorted(asked), tx=tx) if asked else {}
        found: dict[UUID, Setting | Missing] = {}
        for ticket, (tenant, person) in requesters.items():
            policy = policies[tenant]
            if isinstance(policy, Missing):
                found[ticket] = policy
            elif tenant not in zones:
                found[ticket] = Missing("tenant", tenant)
            else:
                requester = people.get(str(person))
                # Nothing waits for a requester: whose zone is not known yet has the tenant's until it is.
                zone = requester.timezone if requester is not None and requester.tenant_id == tenant else None
                found[ticket] = Setting(policy, Zones(tenant=zones[tenant], requester=zone))
        return found

    async def policy(self, tenant: str, tx: Tx | None = None) -> Policy | Missing:
        """A tenant's policy, or the first section of it that has not arrived."""
        keys = [f"{tenant}/{section}" for section in SECTIONS]
        published = await self._replica.get_many(PolicyPublished, keys, tx=tx)
        for key in keys:
            if key not in published:
                return Missing("policy", key)
        events = [published[key] for key in keys]
        version = tuple((event.pack, event.pack_version, event.published_at) for event in events)
        known = self._policies.get(tenant)
        if known is not None and known[0] == version:
            return known[1]
        workflow, calendars, sla = (event.document for event in events)
        try:
            machine = Workflow.model_validate(workflow)
            policy = Policy(
                states={state.name: state for state in machine.states},
                initial=machine.initial,
                calendars={one.name: one for one in Calendars.model_validate(calendars).calendars},
                sla=SlaTargets.model_validate(sla),
                version=events[2].pack_version,
                in_force_at=max(event.published_at for event in events),
            )
        except ValidationError as error:
            # Of a later release, say: tickets wait for one that can be read, which is better than being parked.
            section = next((key for key, model in zip(keys, _MODELS, strict=True) if model in error.title), keys[-1])
            logger.error("section of a pack cannot be read", tenant=tenant, section=section, reason=explain(error))
            return known[1] if known is not None else Missing("policy", section)
        self._policies[tenant] = (version, policy)
        return policy


_MODELS = ("Workflow", "Calendars", "SlaTargets")
