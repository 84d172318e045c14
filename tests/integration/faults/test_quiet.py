"""Before anything is broken: the service under fault does its work, and the checker would say if it did not."""

from __future__ import annotations

import pytest

from tests.support.faults.lab import Lab
from tests.support.faults.records import rule, traffic

pytestmark = pytest.mark.engines


async def test_a_run_without_faults_has_no_findings(lab: Lab) -> None:
    await lab.send([*traffic(lab.random, 30, 20), *(rule(f"r{n % 5}", n) for n in range(20))])
    worker = await lab.start(parts="bus,relay,replica")
    await lab.verify()
    assert await worker.terminate() == 0
