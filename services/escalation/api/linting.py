"""The linter."""

from __future__ import annotations

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from services.escalation.api.desk import Desk
from services.escalation.api.models import FindingView, LintView
from services.escalation.desk import casework
from services.escalation.domain.lint import lint
from services.escalation.store import schedules
from shared.auth import Permission, Principal
from shared.http import Router, requires

AHEAD = timedelta(days=366)
"""How far overrides are looked at."""


def routes(desk: Desk) -> Router:
    """The linter's path operation."""
    router = Router(tags=["escalations"])

    @router.get("/v1/escalations/lint")
    async def lint_escalation(principal: Annotated[Principal, requires(Permission.POLICY_READ)]) -> LintView:
        """What would go wrong with the policy in force, the schedules and the people there are now."""
        tenant = principal.tenant_id
        policy = await desk.policy(tenant)
        async with desk.database.begin() as tx:
            people = (await casework.staff_of(tx, [tenant], tx.instant))[tenant]
            rotations = await schedules.of_tenants(tx, [tenant])
            overrides = await schedules.overrides(tx, [tenant], tx.instant, tx.instant + AHEAD)
            now = tx.instant
        found = lint(policy.section, people, rotations, {name: those for (_, name), those in overrides.items()}, now)
        errors = sum(one.severity == "error" for one in found)
        return LintView(
            errors=errors,
            warnings=len(found) - errors,
            findings=[FindingView(**asdict(one)) for one in found],
        )

    return router
