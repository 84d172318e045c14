"""The values triage works with: what a text says, what is known of a ticket, what was decided."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

from pydantic import JsonValue

from shared.contracts.decision import Reason, Triage

MAX_TEXT = 64
"""Characters of a value taken from a hint."""
_LANGUAGE = re.compile(r"[A-Za-z]{2,3}(?:[-_][A-Za-z0-9]{2,8})*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A signal, product or topic that a text speaks of."""

    name: str
    words: str
    """The words that say so, as the pack knows them."""
    in_subject: bool = False
    denied: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Findings:
    """What texts say, without the texts."""

    signals: tuple[Found, ...] = ()
    """By name, each once; what is said outweighs what is denied."""
    products: tuple[Found, ...] = ()
    topics: tuple[Found, ...] = ()
    """Named `<product>/<topic>`."""
    affected: int | None = None
    """The greatest number of people said to be affected."""
    language: str | None = None
    """ISO 639; None where the text is too short to tell."""

    def join(self, later: Findings) -> Findings:
        """What both say; the language is that of the first that has one."""
        numbers = [number for number in (self.affected, later.affected) if number is not None]
        return Findings(
            signals=united((*self.signals, *later.signals)),
            products=united((*self.products, *later.products)),
            topics=united((*self.topics, *later.topics)),
            affected=max(numbers, default=None),
            language=self.language or later.language,
        )

    def but_language(self, language: str | None) -> Findings:
        """The same in another language."""
        return replace(self, language=language)


def united(found: Iterable[Found]) -> tuple[Found, ...]:
    """One of each name, in the order of names: said before denied, the subject before the body, then by the words."""
    found = list(found)
    if len(found) < 2:
        return tuple(found)
    best: dict[str, Found] = {}
    for one in sorted(found, key=lambda f: (f.denied, not f.in_subject, f.words)):
        best.setdefault(one.name, one)
    return tuple(best[name] for name in sorted(best))


@dataclass(frozen=True, slots=True, kw_only=True)
class Said:
    """What the channel or the sender said of a ticket, as far as it can be read."""

    product: str | None = None
    category: str | None = None
    impact: str | None = None
    urgency: str | None = None
    priority: str | None = None
    affected_customers: int | None = None
    language: str | None = None
    inbound_address: str | None = None
    """Which of the tenant's own addresses it was sent to; by the ticket, not by a hint."""

    @classmethod
    def of(cls, hints: Mapping[str, JsonValue]) -> Said:
        """Hints as they came; what has another type or no sense counts as not said."""
        if not hints:
            return cls()
        number = hints.get("affected_customers")
        valid = isinstance(number, int) and not isinstance(number, bool) and 0 <= number < 2**53
        return cls(
            product=_text(hints.get("product")),
            category=_text(hints.get("category")),
            impact=_text(hints.get("impact")),
            urgency=_text(hints.get("urgency")),
            priority=_text(hints.get("priority")),
            affected_customers=number if valid and isinstance(number, int) else None,
            language=language_tag(_text(hints.get("language"))),
        )


def language_tag(text: str | None) -> str | None:
    """A BCP 47 tag in its usual spelling, or None for what is none."""
    if text is None or not _LANGUAGE.fullmatch(text):
        return None
    first, *others = text.replace("_", "-").split("-")
    return "-".join([first.lower(), *(part.upper() if len(part) == 2 else part for part in others)])


def _text(value: JsonValue) -> str | None:
    if not isinstance(value, str):
        return None
    text = " ".join("".join(c if c.isprintable() else " " for c in value).split())[:MAX_TEXT]
    return text or None


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """Everything a decision is made from, beside the rules."""

    said: Said = Said()
    findings: Findings = Findings()
    tier: str | None = None
    """The requester's support tier."""
    language: str | None = None
    """The requester's own language."""
    tenant_languages: tuple[str, ...] = ()
    """The first is the default."""
    least_impact: str | None = None
    """What earlier messages have led to: never lowered by later ones."""
    least_urgency: str | None = None

    def but(self, **values: object) -> Facts:
        """The same with other values."""
        return replace(self, **values)  # type: ignore[arg-type]  # as dataclasses.replace


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What was decided, why, and how sure that is."""

    triage: Triage
    reasons: tuple[Reason, ...]
    confidence: float
