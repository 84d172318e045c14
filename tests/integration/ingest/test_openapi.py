"""Every operation, with valid and invalid requests: no 5xx, nothing its OpenAPI does not say."""

from __future__ import annotations

import pytest

from tests.integration.ingest.conftest import Ingest, message
from tests.support.openapi import check_api

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_every_operation_answers_as_documented(ingest: Ingest) -> None:
    await ingest.submit({"messages": [message(n) for n in range(3)]})
    headers = {"Authorization": f"Bearer {ingest.key('acme/admin')}"}
    report = await check_api(ingest.app, headers=headers, examples=3)
    assert len(report.operations) == 22
    assert 202 in report.statuses("POST /v1/messages")
    assert 201 in report.statuses("POST /v1/attachments")
