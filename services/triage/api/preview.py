"""A dry run: what would be decided about a text, and why."""

from __future__ import annotations

from dataclasses import replace
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, JsonValue, StringConstraints

from services.triage.desk.known import Known
from services.triage.domain.facts import Facts, Found, Said, language_tag
from services.triage.domain.text import MAX_CHARS
from shared.auth import Permission, Principal
from shared.contracts.decision import Reason, Triage
from shared.contracts.pack import Name
from shared.http import Router, SingleLine, problems, requires
from shared.problem import FieldError, Problem

Reader = Annotated[Principal, requires(Permission.POLICY_READ)]


class Draft(BaseModel):
    """A ticket that does not exist."""

    model_config = ConfigDict(extra="forbid", use_attribute_docstrings=True)

    subject: SingleLine = ""
    text: Annotated[str, StringConstraints(max_length=100_000)] = ""
    """Only the first 16,000 characters are read."""
    hints: Annotated[dict[str, JsonValue], Field(max_length=50)] = Field(default_factory=dict)
    """What a channel would say: `affected_customers`, `impact`, `urgency`, `priority`, `product`, `category`, …"""
    inbound_address: Annotated[str, StringConstraints(max_length=320)] | None = None
    """Which of the tenant's own addresses it was sent to."""
    tier: Name | None = None
    """The requester's support tier."""
    language: Annotated[str, StringConstraints(max_length=35)] | None = None
    """The requester's own, BCP 47."""


class Spoken(BaseModel):
    """Something the text speaks of."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    name: str
    """A signal of the pack, a product, or `<product>/<topic>`."""
    words: str
    """The words that say so; others may stand where there is a `…`."""
    in_subject: bool
    denied: bool
    """`no data loss`: it counts for nothing."""


class Preview(BaseModel):
    """What would be decided."""

    model_config = ConfigDict(use_attribute_docstrings=True)

    decision: Triage
    reasons: list[Reason]
    confidence: float
    policy_version: int
    signals: list[Spoken]
    products: list[Spoken]
    topics: list[Spoken]
    affected: int | None
    """The greatest number of people said to be affected."""


def routes(known: Known) -> Router:
    """Path operations that store nothing."""
    router = Router(tags=["triage"])

    @router.post("/v1/triage/preview", responses=problems(503))
    async def preview_decision(draft: Draft, principal: Reader) -> Preview:
        """What the rules in force for the caller's tenant make of a text; nothing is stored or published."""
        language = language_tag(draft.language)
        if draft.language is not None and language is None:
            wrong = FieldError.at(["language"], "not a BCP 47 tag such as pt-BR")
            raise Problem(422, "invalid", "Invalid request", errors=[wrong])
        ruleset = await known.ruleset(principal.tenant_id)
        if ruleset is None:
            raise Problem(
                503,
                "policy-missing",
                "Policy missing",
                "This tenant has no triage rules yet; apply a pack.",
                headers={"Retry-After": "5"},
            )
        findings = ruleset.lexicon.read(draft.subject, draft.text[:MAX_CHARS])
        decision = ruleset.decide(
            Facts(
                said=replace(Said.of(draft.hints), inbound_address=draft.inbound_address),
                findings=findings,
                tier=draft.tier,
                language=language,
                tenant_languages=ruleset.languages,
            )
        )
        return Preview(
            decision=decision.triage,
            reasons=list(decision.reasons),
            confidence=decision.confidence,
            policy_version=ruleset.version,
            signals=[_spoken(one) for one in findings.signals],
            products=[_spoken(one) for one in findings.products],
            topics=[_spoken(one) for one in findings.topics],
            affected=findings.affected,
        )

    return router


def _spoken(found: Found) -> Spoken:
    return Spoken(name=found.name, words=found.words, in_subject=found.in_subject, denied=found.denied)
