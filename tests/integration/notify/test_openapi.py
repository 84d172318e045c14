"""Every operation on notifications and pages, with valid and invalid requests: nothing its OpenAPI does not say."""

from __future__ import annotations

import pytest

from tests.integration.notify.mail_facts import paged, replied
from tests.integration.notify.mail_ground import Ground
from tests.support.openapi import check_api

pytestmark = [pytest.mark.engines, pytest.mark.slow]


async def test_every_operation_answers_as_documented(mails: Ground) -> None:
    await mails.tell(replied(), paged())
    await mails.settled()
    report = await check_api(mails.app, headers=mails.callers["lead"].headers, examples=3)
    assert len(report.operations) == 12
