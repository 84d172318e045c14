"""A tenant's rules as triage uses them: read from its pack and compiled once per publication."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from pydantic import JsonValue

from services.triage.domain.deciding import decide
from services.triage.domain.facts import Decision, Facts
from services.triage.domain.lexicon import Lexicon
from services.triage.domain.rules import Rules
from shared.contracts.pack import Priorities, TriageRules

SECTIONS = ("triage", "priorities")
"""Sections without which nothing is decided; a missing one is waited for, never defaulted."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Compiled:
    """Rules and words; the same for every tenant whose sections are word for word the same."""

    rules: Rules
    lexicon: Lexicon


@dataclass(frozen=True, slots=True, kw_only=True)
class Ruleset:
    """One tenant's rules in force."""

    compiled: Compiled
    version: int
    """Of the pack in which the section was published."""
    languages: tuple[str, ...] = ()
    """The tenant's own; the first is the default."""

    @property
    def lexicon(self) -> Lexicon:
        """The words."""
        return self.compiled.lexicon

    @property
    def rules(self) -> Rules:
        """What follows from them."""
        return self.compiled.rules

    def decide(self, facts: Facts) -> Decision:
        """The decision from these facts."""
        return decide(self.compiled.rules, facts)


def compiled(triage: Mapping[str, JsonValue], priorities: Mapping[str, JsonValue]) -> Compiled:
    """The rules in two sections of a pack. Raises pydantic's ValidationError, whose title is the section's model."""
    rules = TriageRules.model_validate(triage)
    return Compiled(rules=Rules(rules, Priorities.model_validate(priorities)), lexicon=Lexicon(rules))
