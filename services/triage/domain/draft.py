"""A decision in the making, and how its reasons are worded."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from services.triage.domain.facts import Found
from shared.contracts.decision import Reason

GIVEN, TEXT, TIER, NOTHING = 1.0, 0.75, 0.6, 0.3
"""How sure a field is by where it comes from."""


@dataclass(slots=True)
class Draft:
    """A decision in the making: values, their reasons, how sure each is."""

    values: dict[str, Any] = field(default_factory=dict)
    reasons: list[Reason] = field(default_factory=list)
    sureness: dict[str, float] = field(default_factory=dict)

    def set(self, name: str, value: object, rule: str, text: str, sure: float = GIVEN) -> None:
        """Decide a field for a reason."""
        self.values[name] = value
        self.reasons.append(Reason(field=name, rule=rule, text=text))
        self.sureness[name] = sure


def where(found: Found) -> str:
    """Where it is said."""
    return "The subject" if found.in_subject else "The text"


def says(found: Found) -> str:
    """What is said, as a sentence."""
    return f"{where(found)} says “{found.words}”."
