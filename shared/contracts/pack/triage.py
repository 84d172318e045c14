"""What triage decides from: impact, urgency, matrix, rules, queues, estimates (seed 000 §3-4, seed 001 §6.3).

Words are whole words, whatever their case and accents. A phrase may say `payment*` (any ending), `site|portal`
(either), and `..` (up to three words in between, none of them a denial): `cannot|unable .. log|sign in`.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, ClassVar, Literal, Self

from pydantic import AfterValidator, Field, StringConstraints, model_validator

from shared.contracts.pack.section import Label, Minutes, Name, Part, Section

ImpactName = Literal["critical", "major", "moderate", "minor"]
"""Worst first; the values of `shared.contracts.decision.Impact`."""
UrgencyName = Literal["critical", "high", "medium", "low"]
"""Most urgent first; the values of `shared.contracts.decision.Urgency`."""
Tag = Annotated[str, StringConstraints(pattern=r"^[a-z0-9][a-z0-9_.:-]{0,39}$")]
Language = Annotated[str, StringConstraints(pattern=r"^[a-z]{2,3}$")]
"""ISO 639, without a region."""
InboundAddress = Annotated[str, StringConstraints(pattern=r"^[^@\s]+@[^@\s]+$", max_length=320)]
GAP = ".."
"""Up to three words in between."""
QueueRule = Literal["priority", "address", "language", "tier", "product"]
MOST_FORMS = 64
"""How many word sequences one phrase may stand for by words that are two (`can't`)."""


def _sensible(phrase: str) -> str:
    pieces = [piece.split("|") for piece in phrase.split()]
    if not pieces or [GAP] in (pieces[0], pieces[-1]):
        raise ValueError("a phrase begins and ends with a word")
    forms = 1
    for piece in pieces:
        if piece == [GAP]:
            continue
        plain = [word.removesuffix("*") for word in piece]
        if not all(any(c.isalnum() or c == "?" for c in word) for word in plain):
            raise ValueError(f"{'|'.join(piece)!r} has a place without a word")
        if any("*" in bare or (bare != word and len(bare) < 3) for bare, word in zip(plain, piece, strict=True)):
            raise ValueError(f"{'|'.join(piece)!r}: * stands for any ending, after at least three letters")
        forms *= 1 + sum(not word.isalnum() for word in plain)
    if forms > MOST_FORMS:
        raise ValueError(f"stands for {forms} phrases, at most {MOST_FORMS}; write several")
    return phrase


Phrase = Annotated[str, StringConstraints(min_length=1, max_length=600), AfterValidator(_sensible)]
Words = dict[Language, Annotated[tuple[Phrase, ...], Field(max_length=150)]]
"""Phrases by language, for those who maintain them; every text is read with all of them."""


class Threshold(Part):
    """More customers than this are affected."""

    more_than: Annotated[int, Field(ge=0)]
    impact: ImpactName


class ImpactRules(Part):
    """How far a problem reaches (seed 000 §4.2, assess_impact)."""

    affected_customers: Annotated[tuple[Threshold, ...], Field(max_length=20)]
    """The highest threshold that is passed."""
    fewer: ImpactName = "minor"
    """Where a number is given that passes none."""
    default: ImpactName = "moderate"
    """Where nothing says anything."""
    called: dict[str, ImpactName] = Field(default_factory=dict, max_length=50)
    """What senders' own words mean, beside the four: `{high: major}`."""


class UrgencyRules(Part):
    """How soon a problem hurts."""

    default: UrgencyName = "medium"
    called: dict[str, UrgencyName] = Field(default_factory=dict, max_length=50)
    """What senders' own words mean, beside the four: `{normal: medium}`."""


class MatrixLine(Part):
    """One line of the matrix; what it leaves out may be anything. The first line that fits holds."""

    impact: ImpactName | None = None
    urgency: UrgencyName | None = None
    priority: Label

    def fits(self, impact: str, urgency: str) -> bool:
        """Whether the line speaks of these."""
        return self.impact in (None, impact) and self.urgency in (None, urgency)


class Signal(Part):
    """Something a text can say, and what follows from it."""

    name: Name
    words: Words
    category: Label | None = None
    subcategory: Label | None = None
    weight: Annotated[float, Field(gt=0, le=100)] = 1.0
    """How much it counts for its category; the category with the greatest sum is taken."""
    impact: ImpactName | None = None
    urgency: UrgencyName | None = None
    stated: bool = False
    """The writer says impact or urgency in so many words: `no hurry` is believed over what the matter suggests."""
    only_in_subject: bool = False
    """What a body says in passing (`how long will it take?`) is a request's matter where its subject says it."""
    denied_urgency: UrgencyName | None = None
    """Stated by a denial: `not urgent` says low."""
    at_least: Label | None = None
    """The lowest priority a ticket has in which this is said, whatever the matrix gives."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=10)] = ()


class ProductTopic(Part):
    """Which queue has a product's topic (seed 000 §3.2, By Product)."""

    name: Name
    words: Words
    queue: Name | None = None
    """None: where the ticket is."""


class Product(Part):
    """A product, how it is called, and who knows what of it."""

    name: Annotated[str, StringConstraints(min_length=1, max_length=64)]
    called: Annotated[tuple[Phrase, ...], Field(max_length=50)] = ()
    """Beside its name, which is looked for too."""
    queue: Name | None = None
    """For what no topic speaks of."""
    topics: Annotated[tuple[ProductTopic, ...], Field(max_length=50)] = ()


class TierRule(Part):
    """What a customer's support tier means (seed 000 §3.2, By Customer Tier)."""

    tier: Name
    queue: Name | None = None
    urgency: UrgencyName | None = None
    """Where neither sender nor text says anything of it."""
    escalate_after_minutes: Minutes | None = None
    """A hint for whoever escalates."""
    tags: Annotated[tuple[Tag, ...], Field(max_length=10)] = ()


class LanguageRules(Part):
    """Who reads what (seed 000 §3.2, By Language). The tenant's own languages need no rule."""

    general: Annotated[tuple[Language, ...], Field(max_length=50)] = ()
    """Read by everybody."""
    queues: Annotated[dict[Language, Name], Field(max_length=50)] = Field(default_factory=dict)
    other_queue: Name | None = None
    """For languages that nobody reads."""
    other_tags: Annotated[tuple[Tag, ...], Field(max_length=10)] = ()


class Counting(Part):
    """How texts say how many are affected: a number before a word for people."""

    people: Words = Field(default_factory=dict)
    numbers: dict[Language, dict[str, Annotated[int, Field(ge=0)]]] = Field(default_factory=dict)


class Negation(Part):
    """How texts deny: `not`, and what may stand between it and what is denied."""

    words: Words = Field(default_factory=dict)
    between: Words = Field(default_factory=dict)


class TriageRules(Section):
    """What triage decides from: impact, urgency, matrix, rules, queues, estimates (seed 000 §3-4, seed 001 §6.3)."""

    SECTION: ClassVar[str] = "triage"

    impact: ImpactRules
    urgency: UrgencyRules
    matrix: Annotated[tuple[MatrixLine, ...], Field(min_length=1, max_length=32)]
    unknown_priority: Label | None = None
    """At least this, while nothing says how far a problem reaches or how soon it hurts; None: the matrix alone."""
    subject_weight: Annotated[float, Field(ge=1, le=100)] = 3.0
    """How much more a word in the subject counts for the category."""
    signals: Annotated[tuple[Signal, ...], Field(max_length=200)] = ()
    products: Annotated[tuple[Product, ...], Field(max_length=100)] = ()
    tiers: Annotated[tuple[TierRule, ...], Field(max_length=20)] = ()
    languages: LanguageRules = LanguageRules()
    priority_queues: Annotated[dict[Label, Name], Field(max_length=9)] = Field(default_factory=dict)
    """Queues of whole priorities (seed 000 §5.2: P1 goes to Tier 2)."""
    address_queues: Annotated[dict[InboundAddress, Name], Field(max_length=500)] = Field(default_factory=dict)
    """Queues of what is sent to one of the tenant's own addresses, whatever its case: `billing@acme.example`."""
    queue_order: tuple[QueueRule, ...] = ("priority", "address", "language", "tier", "product")
    """Whose queue is taken where several rules name one; a kind that is left out names none."""
    eta_minutes: Annotated[dict[Label, Minutes], Field(max_length=9)] = Field(default_factory=dict)
    """Estimated elapsed minutes to resolution, by priority."""
    counting: Counting = Counting()
    negation: Negation = Negation()

    @model_validator(mode="after")
    def _complete(self) -> Self:
        for impact, urgency in self.uncovered():
            raise ValueError(f"no line of the matrix is for impact {impact} with urgency {urgency}")
        for what, names in (
            ("signal", [signal.name for signal in self.signals]),
            ("product", [product.name.casefold() for product in self.products]),
            ("tier", [tier.tier for tier in self.tiers]),
        ):
            twice = {name for name in names if names.count(name) > 1}
            if twice:
                raise ValueError(f"{what} {min(twice)!r} is defined twice")
        return self

    def uncovered(self) -> Iterator[tuple[str, str]]:
        """Combinations for which the matrix has no line."""
        for impact in IMPACTS:
            for urgency in URGENCIES:
                if not any(line.fits(impact, urgency) for line in self.matrix):
                    yield impact, urgency


IMPACTS: tuple[ImpactName, ...] = ("critical", "major", "moderate", "minor")
URGENCIES: tuple[UrgencyName, ...] = ("critical", "high", "medium", "low")
