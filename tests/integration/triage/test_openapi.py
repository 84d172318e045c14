"""Every operation, with valid and invalid requests: no 5xx, nothing its OpenAPI does not say."""

from __future__ import annotations

import pytest

from shared.contracts.directory import Role
from tests.integration.triage.conftest import Desk, Ticket, stopped
from tests.support.openapi import check_api

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_every_operation_answers_as_documented(desk: Desk) -> None:
    await desk.tenant()
    ticket = Ticket(subject="Question")
    await desk.publish(ticket.created("How can I do this?"))
    await desk.decisions(ticket)
    admin = await desk.known(Role.ADMIN)
    # Loops draw random waits, which Hypothesis takes for its own.
    await stopped(desk.running)
    report = await check_api(desk.app, headers=admin.headers, examples=6)
    assert report.operations == {
        "POST /v1/triage/preview",
        "GET /v1/triage/tickets/{ticket_id}",
        "GET /v1/triage/corrections",
    }
