"""What directory told: each tenant's escalation section, read once per publication."""

from __future__ import annotations

from collections.abc import Iterable

import structlog
from pydantic import ValidationError

from services.escalation.domain.policy import Policy
from shared.contracts.directory import PolicyPublished, TenantChanged
from shared.contracts.pack import EscalationPaths
from shared.db import Tx
from shared.explain import explain
from shared.replica import Replica

logger = structlog.get_logger(__name__)


class Known:
    """Reads the replica; a section that was read is remembered by its publication."""

    def __init__(self, replica: Replica) -> None:
        self._replica = replica
        self._policies: dict[str, tuple[PolicyPublished, Policy]] = {}

    @staticmethod
    def key(tenant: str) -> str:
        """Under which key a tenant's section is published."""
        return f"{tenant}/{EscalationPaths.SECTION}"

    async def policies(self, tenants: Iterable[str], tx: Tx | None = None) -> dict[str, Policy]:
        """The section of each tenant that has one."""
        wanted = list(dict.fromkeys(tenants))
        published = await self._replica.get_many(PolicyPublished, [self.key(one) for one in wanted], tx=tx)
        found = {}
        for tenant in wanted:
            event = published.get(self.key(tenant))
            policy = self._policy(tenant, event) if event is not None else None
            if policy is not None:
                found[tenant] = policy
        return found

    async def policy(self, tenant: str, tx: Tx | None = None) -> Policy | None:
        """One tenant's section."""
        return (await self.policies([tenant], tx)).get(tenant)

    async def timezone(self, tenant: str, tx: Tx | None = None) -> str:
        """The tenant's zone, for schedules that name none."""
        event = await self._replica.get(TenantChanged, tenant, tx=tx)
        return event.timezone if event is not None else "UTC"

    def _policy(self, tenant: str, event: PolicyPublished) -> Policy | None:
        known = self._policies.get(tenant)
        if known is not None and known[0] == event:
            return known[1]
        try:
            section = EscalationPaths.model_validate(event.document)
        except ValidationError as error:
            # Of a later release, say: the last one that could be read is obeyed, else events wait.
            logger.error("section of a pack cannot be read", tenant=tenant, section="escalation", reason=explain(error))
            return known[1] if known is not None else None
        policy = Policy(section=section, version=(event.pack, event.pack_version))
        self._policies[tenant] = (event, policy)
        return policy
