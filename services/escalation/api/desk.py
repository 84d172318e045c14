"""What every route shares: the parts of the service, one transaction per change."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

from starlette.requests import Request
from starlette.responses import Response

from services.escalation.desk import casework
from services.escalation.desk.known import Known
from services.escalation.domain.policy import Policy
from services.escalation.measures import Measures
from shared.db import Database, Tx, is_retryable
from shared.http import Cursor, correlation, traceparent
from shared.problem import Problem

ATTEMPTS = 10
"""How often a change is run again at once when the database saw a conflict."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk:
    """The parts of the service that routes use."""

    database: Database
    known: Known
    wake: Callable[[], None]
    """Tells the relay that something was committed."""
    cursor: Cursor
    measures: Measures

    async def policy(self, tenant: str, tx: Tx | None = None) -> Policy:
        """The tenant's escalation section. Raises 503 while it has not arrived."""
        policy = await self.known.policy(tenant, tx)
        if policy is None:
            raise Problem(
                503,
                "policy-missing",
                "Policy missing",
                "This tenant has no escalation section yet; apply a policy pack.",
                headers={"Retry-After": "5"},
            )
        return policy

    async def transact(self, once: Callable[[Tx], Awaitable[Response]]) -> Response:
        """Run one transaction, again at once after a conflict; the relay is woken when it has committed."""
        for attempt in range(ATTEMPTS):
            try:
                async with self.database.begin() as tx:
                    response = await once(tx)
                self.wake()
                return response
            except Exception as error:
                if attempt + 1 == ATTEMPTS or not is_retryable(error):
                    raise
        raise AssertionError("the last attempt returns or raises")


def emitting(request: Request, tx: Tx) -> casework.MakeEmit:
    """Facts that this request causes."""
    return lambda one, fact: casework.emitted(
        one, fact, tx.instant, correlation=correlation(request), traceparent=traceparent(request)
    )
