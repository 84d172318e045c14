"""The section `notifications`: mistakes are told with the line they stand in."""

from __future__ import annotations

from pathlib import Path

import pytest

from services.directory.domain.pack_check import PackRefusedError, check

PACK = (Path(__file__).parents[3] / "deploy" / "policies" / "default.yaml").read_text()


def refused(old: str, new: str) -> str:
    assert PACK.count(old) >= 1, old
    with pytest.raises(PackRefusedError) as caught:
        check(PACK.replace(old, new, 1))
    return str(caught.value)


def line_of(text: str) -> int:
    return PACK[: PACK.index(text)].count("\n") + 1


def test_the_default_pack_has_no_fault_and_no_warning() -> None:
    assert check(PACK).warnings == ()


def test_an_unknown_variable_is_told_with_the_line_of_the_text_and_of_the_template() -> None:
    told = refused("is ticket {{ ticket.number }}; somebody", "is ticket {{ ticket.nmber }}; somebody")
    assert "notifications.templates.acknowledgement.words.en.text: line 3 of the template" in told
    assert "did you mean 'number'" in told
    assert f"line {line_of('Dear {{ recipient.name') - 1}," in told


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ('"PAGE: {{ page.reason }}"', '"PAGE: {{ page.reason"', "unexpected end of template"),
        ("channels: [app], template: assignment}", "channels: [app], template: asignment}", "not one of the templates"),
        (
            "{event: sla.warning, to: [assignee]",
            "{event: sla.warning, when: {author: [agent]}, to: [assignee]",
            "says nothing of",
        ),
        ("{event: sla.warning, to: [assignee]", "{event: sla.warning, to: [person]", "names no 'person'"),
        ("{event: sla.warning, to: [assignee]", "{event: sla.warned, to: [assignee]", "event"),
        (
            "to: [assignee], channels: [app], template: sla_warning",
            "to: [everybody], channels: [app], template: sla_warning",
            "to",
        ),
        ("channels: [app], template: sla_warning", "channels: [sms], template: sla_warning", "channels"),
        ("per_address_and_hour: 5", "per_address_and_hour: 5000", "1000"),
    ],
)
def test_other_mistakes_are_told(old: str, new: str, said: str) -> None:
    assert said in refused(old, new)


def test_a_template_nobody_uses_is_worth_a_word() -> None:
    found = check(
        PACK.replace(
            "{event: sla.warning, to: [assignee], channels: [app], template: sla_warning}",
            "{event: sla.warning, to: [assignee], channels: [app], template: escalation}",
            1,
        )
    )
    assert ["no rule uses the template 'sla_warning'" in str(warning) for warning in found.warnings] == [True]
