"""Every operation, with valid and invalid requests: no 5xx, nothing its OpenAPI does not say."""

from __future__ import annotations

import pytest

from shared.contracts.directory import Role
from tests.integration.escalation.conftest import Service
from tests.integration.escalation.facts import created
from tests.support.openapi import check_api

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_every_operation_answers_as_documented(service: Service) -> None:
    await service.staffed()
    await service.handle(await created(service, label="P1"))
    report = await check_api(service.app, headers=service.caller(Role.ADMIN).headers, examples=5)
    assert len(report.operations) == 15
