"""Every operation, with valid and invalid requests: no 5xx, nothing its OpenAPI does not say."""

from __future__ import annotations

import pytest

from shared.contracts.directory import Role
from tests.integration.tickets.conftest import Service, message
from tests.support.openapi import check_api

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_every_operation_answers_as_documented(service: Service) -> None:
    await service.tenant()
    team = await service.team()
    await service.agent("ann", team, capacity=100)
    await service.handle(*(message("rita") for _ in range(3)))
    admin = service.caller("rita", Role.ADMIN)
    report = await check_api(service.app, headers=admin.headers, examples=4)
    assert len(report.operations) == 24
