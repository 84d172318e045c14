"""What `make compose-test` calls passed, without a container."""

from __future__ import annotations

import pytest

from tests.containers.load import Verdict
from tests.containers.report import Report
from tests.support.invariants import Finding


@pytest.mark.parametrize(
    "wrong",
    [
        {"accepted": 0},
        {"lost": ["a"]},
        {"doubled": ["a"]},
        {"findings": [Finding("I7", "a", "went back")]},
        {"unseen": {"deliveries"}},
    ],
    ids=lambda wrong: next(iter(wrong)),
)
def test_whatever_is_wrong_or_was_not_looked_at_fails_the_journal(wrong: dict[str, object]) -> None:
    right: dict[str, object] = {"accepted": 10, "lost": [], "doubled": [], "findings": [], "unseen": set()}
    assert Verdict(**right).passed  # type: ignore[arg-type]  # one table for all fields
    assert not Verdict(**right | wrong).passed  # type: ignore[arg-type]


def test_one_failed_check_is_said_and_counted_and_figures_are_no_checks() -> None:
    report = Report()
    report.figure("cold start", "51 s")
    report.check("the demo", "42 passed", passed=True)
    assert report.failed == 0
    assert report.table().endswith("all 1 checks passed")
    report.check("sla rolled", "2 lost", passed=False)
    assert report.failed == 1
    assert "NO  sla rolled" in report.table()
    assert report.table().endswith("1 of 2 checks failed")
