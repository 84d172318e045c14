"""The default pack's rules, and small packs of a test's own."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import Any

from services.directory.domain.pack_check import check
from services.triage.domain.facts import Decision, Facts, Findings, Found, Said
from services.triage.domain.ruleset import Ruleset, compiled

ROOT = Path(__file__).parents[3]
PRIORITIES: dict[str, Any] = {
    "levels": [{"rank": rank, "label": f"P{rank}"} for rank in (1, 2, 3, 4)],
    "default": "P3",
}
SMALL: dict[str, Any] = {
    "impact": {"affected_customers": [{"more_than": 10, "impact": "moderate"}]},
    "urgency": {},
    "matrix": [{"impact": "critical", "urgency": "critical", "priority": "P1"}, {"priority": "P3"}],
}


@cache
def default() -> Ruleset:
    """The pack every tenant starts with; the desk's language is English."""
    sections = check((ROOT / "deploy" / "policies" / "default.yaml").read_text()).sections
    return Ruleset(compiled=compiled(sections["triage"], sections["priorities"]), version=7, languages=("en",))


def small(**parts: Any) -> Ruleset:
    """A pack with nothing in it but these parts."""
    return Ruleset(compiled=compiled({**SMALL, **parts}, PRIORITIES), version=1, languages=("en",))


def decided(
    ruleset: Ruleset, subject: str = "", text: str = "", hints: dict[str, Any] | None = None, **facts: Any
) -> Decision:
    """What the rules make of a ticket."""
    findings = ruleset.lexicon.read(subject, text)
    return ruleset.decide(
        Facts(said=Said.of(hints or {}), findings=findings, tenant_languages=ruleset.languages, **facts)
    )


def label(decision: Decision) -> str | None:
    return decision.triage.priority.label if decision.triage.priority else None


def signals(ruleset: Ruleset, text: str, subject: str = "") -> set[str]:
    """Names of what a text says; denied ones with a `-`."""
    return {("-" if one.denied else "") + one.name for one in ruleset.lexicon.read(subject, text).signals}


def found(*names: str) -> Findings:
    """Findings of these signals in a body."""
    return Findings(signals=tuple(Found(name=name, words=name) for name in sorted(names)))


def rule(decision: Decision, field: str) -> str:
    """Which rule decided a field."""
    return next(reason.rule for reason in decision.reasons if reason.field == field)
