"""The default pack escalates as seed 000 §7 says; what is wrong with an escalation section is told with its line."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.directory.domain.pack_check import PackRefusedError, check
from shared.contracts.pack import Cause, EscalationPaths

DEFAULT = (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()


@pytest.fixture(scope="module")
def section() -> EscalationPaths:
    return EscalationPaths.model_validate(check(DEFAULT).sections["escalation"])


def test_the_default_paths_are_those_of_seed_000_section_7_2(section: EscalationPaths) -> None:
    paths = {path.priorities: [(step.name, step.until) for step in path.steps] for path in section.paths}
    assert paths == {
        ("P1",): [("agent", 15), ("team_lead", 30), ("manager", 60), ("director", 120)],
        ("P2",): [("agent", 60), ("team_lead", 120), ("manager", 240)],
        ("P3",): [("agent", 240), ("team_lead", 480)],
        ("P4",): [("agent", 480), ("review", 1440)],
    }


def test_the_default_triggers_have_the_levels_of_seed_000_section_7_1(section: EscalationPaths) -> None:
    levels: dict[int, set[Cause]] = {}
    for trigger in section.triggers:
        levels.setdefault(trigger.level, set()).add(trigger.cause)
    assert levels == {
        1: {Cause.TICKET_CREATED, Cause.TICKET_REOPENED, Cause.PRIORITY_RAISED},
        2: {Cause.TICKET_CREATED, Cause.SLA_BREACHED},
        3: {Cause.SLA_WARNING, Cause.SLA_BREACHED},
        4: {Cause.TAGGED},
        5: {Cause.REPEATED},
    }


def test_a_p1_pages_whoever_is_on_call_and_tells_the_manager_at_its_first_step(section: EscalationPaths) -> None:
    first = section.paths[0].steps[0]
    assert (first.targets[0], first.also) == ("on_call:primary", ("role:manager",))


@pytest.mark.parametrize(
    ("old", "new", "pointer", "marked", "says"),
    [
        ("- name: high ", "- name: critical ", "/paths/1/name", "- name: critical             ", "defined twice"),
        ("priorities: [P4]\n", "priorities: [P3 ]\n", "/paths/3/priorities/0", "[P3 ]", "has a path already"),
        ("manager, until: 240", "manager, until: 120.0", "/paths/1/steps/2/until", "until: 120.0", "not after the one"),
        ("{name: review,", "{name: agent ,", "/paths/3/steps/1/name", "{name: agent ,", "defined twice"),
        ("{level: 5,", "{level: 6,", "/triggers/10/level", "{level: 6,", "less than or equal to 5"),
        (
            "priorities: [P4], step: review, unless",
            "priorities: [P4], step: manager, unless",
            "/triggers/4/step",
            "step: manager, unless",
            "the path 'low' has no step 'manager'",
        ),
        ("cause: repeated,", "path: none, cause: repeated,", "/triggers/10/path", "path: none", "not one of the paths"),
        ("priorities: [P2, P3], step", "priorities: [P2, P9], step", "/triggers/3/priorities/1", "P9]", "'P9' is none"),
        ("tags: [complaint]", "tags: []", "/triggers/9", "- {level: 4", "tags go with cause: tagged"),
        ('[team_lead, "role:team_lead"]}\n        - {name: manager, until: 60', "[lead]}\n        - {name: manager, until: 60",
         "/paths/0/steps/1/targets/0", "[lead]", "pattern"),
    ],
)  # fmt: skip
def test_a_mistake_is_told_with_its_line(old: str, new: str, pointer: str, marked: str, says: str) -> None:
    assert DEFAULT.count(old) == 1, old
    text = DEFAULT.replace(old, new)
    line = text[: text.index(marked)].count("\n") + 1
    with pytest.raises(PackRefusedError) as refused:
        check(text)
    told = {problem.pointer: problem for problem in refused.value.problems}
    problem = told[f"/escalation{pointer}"]
    assert problem.mark.line == line, refused.value
    assert says in problem.message


def test_a_priority_without_a_path_is_worth_a_warning() -> None:
    pack = check(DEFAULT.replace("priorities: [P4]\n", "priorities: []\n"))
    assert any("'P4'" in one.message and "never escalated" in one.message for one in pack.warnings)
