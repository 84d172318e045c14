"""Mails of our own, in eleven languages, decided by the default pack as a careful dispatcher would."""

from __future__ import annotations

from typing import Any

import pytest
import yaml

from tests.unit.triage.desk import ROOT, decided, default, label

SAMPLES = ROOT / "tests" / "samples" / "triage"
MAILS: list[dict[str, Any]] = yaml.safe_load((SAMPLES / "mails.yaml").read_text())
SHORT: list[tuple[list[str], str, str]] = yaml.safe_load((SAMPLES / "short.yaml").read_text())


@pytest.mark.parametrize("mail", MAILS, ids=[mail["id"] for mail in MAILS])
def test_a_mail_is_decided_as_a_dispatcher_would(mail: dict[str, Any]) -> None:
    decision = decided(default(), mail["subject"], mail["text"])
    wanted = mail["priority"] if isinstance(mail["priority"], list) else [mail["priority"]]
    assert label(decision) in wanted, decision.reasons
    assert decision.triage.language == mail["language"]
    if "category" in mail:
        assert decision.triage.category == mail["category"]


@pytest.mark.parametrize(("wanted", "subject", "text"), SHORT, ids=[subject for _, subject, _ in SHORT])
def test_a_few_words_are_decided_as_a_dispatcher_would(wanted: list[str], subject: str, text: str) -> None:
    assert label(decided(default(), subject, text)) in wanted
