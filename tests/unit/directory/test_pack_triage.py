"""The default pack's matrix is seed 000's; what is wrong with a triage section is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.directory.domain.pack_check import PackRefusedError, check
from shared.contracts.pack import TriageRules

DEFAULT = (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()


@pytest.fixture(scope="module")
def section() -> TriageRules:
    return TriageRules.model_validate(check(DEFAULT).sections["triage"])


def test_the_default_thresholds_are_those_of_seed_000_section_4_2(section: TriageRules) -> None:
    assert {one.impact: one.more_than for one in section.impact.affected_customers} == {
        "critical": 1000,
        "major": 100,
        "moderate": 10,
    }
    assert section.impact.fewer == "minor"


@pytest.mark.parametrize(
    ("old", "new", "pointer", "marked", "says"),
    [
        (
            "    - {impact: minor, priority: P4}\n",
            "",
            "/matrix",
            "  matrix:\n",
            "impact minor with urgency critical",
        ),
        (
            "    - {impact: critical, priority: P2}\n",
            "    - {impact: critical, priority: P2}\n    - {impact: critical, urgency: low, priority: P3}\n",
            "/matrix/2",
            "{impact: critical, urgency: low,",
            "never reached",
        ),
        (
            "{impact: major, priority: P3}",
            "{impact: major, priority: P7}",
            "/matrix/4/priority",
            "P7}",
            "none of the pri",
        ),
        ("unknown_priority: P3 ", "unknown_priority: P8 ", "/unknown_priority", "P8 ", "none of the priorities"),
        ("- name: no_hurry\n", "- name: urgent\n", "/signals/", None, "defined twice"),
        ("{tier: premium, escalate", "{tier: enterprise, escalate", "/tiers/1/tier", "{tier: enterprise, esc", "twice"),
        ("[Notfall, Notfälle,", "[.. Notfall,", "/signals/0/words/de/0", "[.. Notfall", "begins and ends with a word"),
        ("{P1: tier2}", "{P1: tier2}\n  address_queues: {nobody: tier2}", "/address_queues", "{nobody", "match"),
        ("[Notfall, Notfälle,", '["No*",', "/signals/0/words/de/0", '["No*"', "at least three letters"),
    ],
)
def test_a_mistake_is_told_with_its_line(old: str, new: str, pointer: str, marked: str | None, says: str) -> None:
    assert DEFAULT.count(old) == 1, old
    text = DEFAULT.replace(old, new)
    with pytest.raises(PackRefusedError) as refused:
        check(text)
    problem = next(p for p in refused.value.problems if p.pointer.startswith(f"/triage{pointer}"))
    assert says in problem.message
    if marked is not None:
        assert text.count(marked) == 1, marked
        assert problem.mark.line == text[: text.index(marked)].count("\n") + 1


def test_queues_of_addresses_that_the_order_leaves_out_are_worth_a_warning() -> None:
    order, queues = "queue_order: [priority, address, language", "  address_queues: {billing@acme.example: billing}\n"
    used = DEFAULT.replace(f"  {order}", f"{queues}  {order}")
    assert not check(used).warnings
    pack = check(used.replace(order, "queue_order: [priority, language"))
    assert [(problem.pointer, problem.warning) for problem in pack.warnings] == [("/triage/address_queues", True)]


def test_a_priority_without_an_estimate_is_worth_a_warning() -> None:
    pack = check(DEFAULT.replace("P3: 2880, P4: 7200}", "P3: 2880}"))
    assert [(problem.pointer, problem.warning) for problem in pack.warnings] == [("/triage/eta_minutes", True)]
