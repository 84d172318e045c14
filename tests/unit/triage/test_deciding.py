"""From findings, hints and tier to a decision: seed 000 §3.2, §4.1-4.3; seed 001 §6.3."""

from __future__ import annotations

import itertools
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.triage.domain.facts import Facts, Findings, Found, Said
from shared.contracts.decision import Impact, Urgency
from shared.contracts.pack.triage import IMPACTS, URGENCIES
from tests.unit.triage.desk import decided, default, found, label, rule, small

MATRIX = {
    "critical": {"critical": "P1", "high": "P2", "medium": "P2", "low": "P2"},
    "major": {"critical": "P1", "high": "P2", "medium": "P3", "low": "P3"},
    "moderate": {"critical": "P2", "high": "P3", "medium": "P4", "low": "P4"},
    "minor": {"critical": "P4", "high": "P4", "medium": "P4", "low": "P4"},
}
"""Seed 000 §4.2, calculate_priority."""


@pytest.mark.parametrize(("impact", "urgency"), list(itertools.product(IMPACTS, URGENCIES)))
def test_the_matrix_is_the_seeds(impact: str, urgency: str) -> None:
    decision = decided(default(), hints={"impact": impact, "urgency": urgency})
    assert decision.triage.matrix_priority is not None
    assert decision.triage.matrix_priority.label == label(decision) == MATRIX[impact][urgency]
    assert rule(decision, "priority") == "matrix"


def test_the_scales_of_pack_and_contract_are_the_same() -> None:
    assert tuple(Impact) == IMPACTS
    assert tuple(Urgency) == URGENCIES


@pytest.mark.parametrize(
    ("customers", "impact"),
    [
        (0, "minor"),
        (10, "minor"),
        (11, "moderate"),
        (100, "moderate"),
        (101, "major"),
        (1000, "major"),
        (1001, "critical"),
    ],
)
def test_impact_follows_from_the_number_of_customers(customers: int, impact: str) -> None:
    decision = decided(default(), "System outage", "Everything is down", {"affected_customers": customers})
    assert (decision.triage.impact, rule(decision, "impact")) == (impact, "impact.affected_customers")


def test_what_the_sender_says_beats_the_text_and_a_number_beats_a_word() -> None:
    hints = {"impact": "High", "urgency": "LOW"}
    decision = decided(default(), "System outage", "Everything is down", hints)
    assert (decision.triage.impact, decision.triage.urgency) == ("major", "low")
    decision = decided(default(), "System outage", "", {**hints, "affected_customers": 3})
    assert decision.triage.impact == "minor"


def test_a_sender_who_says_nothing_sensible_has_said_nothing() -> None:
    odd = {"impact": "gigantic", "urgency": ["x"], "affected_customers": -4, "priority": "P0", "product": {}}
    assert decided(default(), "Hello", "", odd).triage == decided(default(), "Hello").triage


@pytest.mark.parametrize(
    ("text", "impact", "urgency"),
    [
        ("The platform is down.", "critical", "critical"),
        ("The platform is down, but no hurry.", "critical", "low"),
        ("The platform is down, no hurry, no wait, it is urgent!", "critical", "critical"),
        ("The platform is down, only for me.", "minor", "critical"),
        ("The export does not work.", "moderate", "medium"),
        ("The export does not work for 250 users.", "major", "medium"),
        ("The export does not work: 250 customers cannot pay.", "critical", "critical"),
        ("2 users see something odd.", "moderate", "medium"),
        ("30 users see something odd.", "moderate", "medium"),
        ("300 customers have a question.", "major", "low"),
        ("The platform is down for 3 users.", "critical", "critical"),
        ("This is not urgent.", "moderate", "low"),
        ("Just a typo.", "minor", "low"),
    ],
)
def test_the_worst_that_is_said_counts_and_calming_words_are_believed(text: str, impact: str, urgency: str) -> None:
    decision = decided(default(), "", text)
    assert (decision.triage.impact, decision.triage.urgency) == (impact, urgency)


@pytest.mark.parametrize(
    ("text", "least"),
    [
        ("This is an emergency", "P1"),
        ("We have a data loss", "P1"),
        ("We had a security breach", "P1"),
        ("We are losing revenue", "P1"),
        ("Service is degraded", "P2"),
        ("There are regional outages", "P2"),
        ("This is an SLA breach", "P2"),
        ("This is a contract violation", "P2"),
        ("The feature does not work", "P3"),
        ("There are performance issues", "P3"),
        ("A configuration problem", "P3"),
        ("The documentation is incomplete", "P3"),
        ("I have a question", "P4"),
        ("A minor bug", "P4"),
        ("An enhancement request", "P4"),
    ],
)
def test_the_prioritisation_rules_of_seed_001_hold(text: str, least: str) -> None:
    decision = decided(default(), "", text)
    assert label(decision) is not None
    assert str(label(decision)) <= least
    if least == "P4":
        assert label(decision) in {"P3", "P4"}


def test_emergency_sets_the_p1_flag_whatever_the_matrix_says() -> None:
    decision = decided(default(), "Emergency", "Only me, just a typo.")
    assert (label(decision), decision.triage.matrix_priority and decision.triage.matrix_priority.label) == ("P1", "P4")
    assert decision.triage.tags == ("p1_flag",)
    assert label(decided(default(), "Not an emergency", "Just a typo.")) == "P4"


def test_a_ticket_of_which_nothing_is_known_is_not_called_minor() -> None:
    decision = decided(default(), "Hello", "See the picture.")
    assert (label(decision), rule(decision, "priority")) == ("P3", "unknown_priority")
    assert decision.confidence < 0.5


def test_a_stated_priority_stands_unless_what_is_said_demands_more() -> None:
    assert label(decided(default(), "Hello", "", {"priority": "p4"})) == "P4"
    assert label(decided(default(), "Hello", "", {"priority": "P1"})) == "P1"
    assert label(decided(default(), "Emergency", "", {"priority": "P4"})) == "P1"


@pytest.mark.parametrize(
    ("facts", "queue", "by"),
    [
        ({}, None, None),
        ({"tier": "enterprise"}, "tier2", "tier.enterprise"),
        ({"tier": "premium"}, None, None),
        ({"tier": "unheard_of"}, None, None),
        ({"language": "es"}, "spanish", "languages.es"),
        ({"language": "es-MX"}, "spanish", "languages.es"),
        ({"language": "fr", "tier": "enterprise"}, "french", "languages.fr"),
        ({"language": "ja"}, "translation", "languages.other"),
        ({"language": "en-GB"}, None, None),
    ],
)
def test_queues_follow_language_and_tier(facts: dict[str, Any], queue: str | None, by: str | None) -> None:
    decision = decided(default(), "The export does not work", "", **facts)
    assert decision.triage.queue == queue
    if by is not None:
        assert rule(decision, "queue") == by


def test_the_tenants_own_languages_need_no_translation() -> None:
    findings = Findings(language="de")
    german = default().decide(Facts(findings=findings, tenant_languages=("de", "en")))
    assert (german.triage.queue, german.triage.tags) == (None, ())
    foreign = default().decide(Facts(findings=findings, tenant_languages=("en",)))
    assert (foreign.triage.queue, foreign.triage.tags) == ("translation", ("translation_required",))


def test_the_most_urgent_go_to_tier_2_before_anything_else_is_asked() -> None:
    decision = decided(default(), "緊急事態", "システムに接続できません。", language="ja")
    assert (label(decision), decision.triage.queue) == ("P1", "tier2")
    assert "translation_required" in decision.triage.tags


@pytest.mark.parametrize(
    ("subject", "sent_to", "queue", "by"),
    [
        ("The invoice is wrong", "Billing@acme.example", "billing", "address_queues.billing@acme.example"),
        ("The invoice is wrong", "support@acme.example", "tier2", "tier.enterprise"),
        ("The invoice is wrong", None, "tier2", "tier.enterprise"),
        ("Emergency", "billing@acme.example", "on_call", "priority_queues.P1"),
    ],
)
def test_what_is_sent_to_an_address_of_its_own_has_its_queue(
    subject: str, sent_to: str | None, queue: str, by: str
) -> None:
    ruleset = small(
        signals=[{"name": "emergency", "words": {"en": ["emergency"]}, "impact": "critical", "urgency": "critical"}],
        tiers=[{"tier": "enterprise", "queue": "tier2"}],
        priority_queues={"P1": "on_call"},
        address_queues={"billing@Acme.example": "billing"},
    )
    said = Said(inbound_address=sent_to)
    decision = ruleset.decide(Facts(said=said, findings=ruleset.lexicon.read(subject, ""), tier="enterprise"))
    assert (decision.triage.queue, rule(decision, "queue")) == (queue, by)


@pytest.mark.parametrize(
    ("product", "text", "queue"),
    [
        ("erlmcp_core", "The registry answers wrongly", "tier2"),
        ("erlmcp_core", "Our sessions are odd", "tier2"),
        ("ERLMCP_CORE", "Strange token", "tier1"),
        ("erlmcp_transports", "The transport layer is odd", "tier2"),
        ("erlmcp_transports", "Odd connections", "tier1"),
        ("erlmcp_observability", "Metrics look odd", "tier2"),
        ("erlmcp_observability", "The dashboard looks odd", "tier1"),
        ("erlmcp_core", "Something is odd", None),
        ("toaster", "The registry answers wrongly", None),
    ],
)
def test_products_are_routed_by_topic(product: str, text: str, queue: str | None) -> None:
    """Seed 000 §3.2, By Product."""
    assert decided(default(), "", text, {"product": product}).triage.queue == queue


def test_a_product_is_recognised_by_its_name_in_the_text() -> None:
    decision = decided(default(), "erlmcp-core: registry issue", "It returns stale names.")
    assert (decision.triage.product, decision.triage.queue) == ("erlmcp_core", "tier2")


def test_language_is_given_or_the_requesters_or_the_texts_or_the_desks() -> None:
    text = "Seit heute Morgen ist das Portal nicht erreichbar."
    assert decided(default(), "", text, {"language": "pt_br"}, language="fr").triage.language == "pt-BR"
    assert decided(default(), "", text, language="fr").triage.language == "fr"
    assert decided(default(), "", text).triage.language == "de"
    assert decided(default(), "", "ok").triage.language == "en"


def test_tiers_carry_their_escalation_path_and_estimates_follow_priority() -> None:
    paths = {tier: decided(default(), tier=tier).triage.escalate_after_minutes for tier in ("enterprise", "premium")}
    assert paths == {"enterprise": 120, "premium": 240}
    assert decided(default(), "Emergency").triage.eta_minutes == 240
    assert decided(default(), "Just a typo").triage.eta_minutes == 7200


def test_the_category_has_the_greatest_weight_and_the_subject_weighs_more() -> None:
    made = [
        {"name": "a", "category": "alpha", "words": {"en": ["apple"]}},
        {"name": "b", "category": "beta", "subcategory": "first", "words": {"en": ["banana"]}, "weight": 2},
        {"name": "c", "category": "beta", "subcategory": "second", "words": {"en": ["cherry"]}},
    ]
    ruleset = small(signals=made)
    assert decided(ruleset, "", "apple banana").triage.category == "beta"
    assert decided(ruleset, "apple", "banana").triage.category == "alpha"
    assert decided(ruleset, "apple", "banana cherry cherry").triage.category == "alpha"  # 3 to 3: by name
    assert decided(ruleset, "", "cherry banana").triage.subcategory == "first"
    assert decided(ruleset, "", "banana", {"category": "alpha"}).triage.category == "alpha"


def test_a_matrix_of_a_tenants_own_is_read_from_its_first_line() -> None:
    ruleset = small(
        matrix=[{"urgency": "high", "priority": "P2"}, {"impact": "minor", "priority": "P4"}, {"priority": "P3"}]
    )
    assert label(decided(ruleset, hints={"impact": "minor", "urgency": "high"})) == "P2"
    assert label(decided(ruleset, hints={"impact": "minor", "urgency": "low"})) == "P4"
    assert label(decided(ruleset, hints={"impact": "major", "urgency": "low"})) == "P3"


_NAMES = st.sampled_from([signal.name for signal in default().rules.triage.signals])
_FOUND = st.builds(Found, name=_NAMES, words=st.just("words"), in_subject=st.booleans(), denied=st.booleans())
_FACTS = st.builds(
    Facts,
    said=st.builds(
        Said,
        impact=st.none() | st.sampled_from([*IMPACTS, "High", "?"]),
        urgency=st.none() | st.sampled_from([*URGENCIES, "asap", "?"]),
        priority=st.none() | st.sampled_from(["P1", "p4", "P9"]),
        affected_customers=st.none() | st.integers(0, 5000),
        product=st.none() | st.sampled_from(["erlmcp_core", "toaster"]),
        category=st.none() | st.just("own"),
        language=st.none() | st.sampled_from(["de", "pt-BR"]),
    ),
    findings=st.builds(
        lambda found_, affected, language: Findings(
            signals=tuple({one.name: one for one in found_}.values()), affected=affected, language=language
        ),
        st.lists(_FOUND, max_size=6),
        st.none() | st.integers(0, 10**6),
        st.none() | st.sampled_from(["en", "ja", "es"]),
    ),
    tier=st.none() | st.sampled_from(["enterprise", "essential", "unknown"]),
    language=st.none() | st.just("fr"),
    tenant_languages=st.sampled_from([(), ("en",), ("de", "fr")]),
    least_impact=st.none() | st.sampled_from(IMPACTS),
    least_urgency=st.none() | st.sampled_from(URGENCIES),
)


@given(_FACTS)
def test_whatever_is_known_there_is_a_decision_and_each_field_has_one_reason(facts: Facts) -> None:
    decision = default().decide(facts)
    triage = decision.triage
    assert triage.priority is not None
    assert (triage.impact in IMPACTS, triage.urgency in URGENCIES) == (True, True)
    named = [reason.field for reason in decision.reasons]
    assert sorted(named) == sorted(triage.model_dump(exclude_defaults=True))
    assert all(reason.text.endswith(".") and reason.rule for reason in decision.reasons)
    assert 0 <= decision.confidence <= 1
    assert facts.least_impact is None or IMPACTS.index(triage.impact) <= IMPACTS.index(facts.least_impact)


@given(_FACTS, _FOUND)
def test_more_said_in_a_later_message_never_lowers_the_priority(facts: Facts, more: Found) -> None:
    first = default().decide(facts)
    before = first.triage
    assert before.priority is not None
    later = facts.but(
        findings=facts.findings.join(Findings(signals=(more,))),
        least_impact=before.impact,
        least_urgency=before.urgency,
    )
    after = default().decide(later).triage
    assert after.priority is not None
    stated = facts.said.priority is not None
    unknown = rule(first, "priority") == "unknown_priority"
    assert stated or unknown or after.priority.rank <= before.priority.rank


def test_findings_of_signals_that_a_newer_pack_no_longer_has_are_passed_over() -> None:
    assert small().decide(Facts(findings=found("outage"))).triage.category is None
