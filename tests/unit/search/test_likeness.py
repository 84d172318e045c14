"""When two reports are the same: what people vary must not matter, what templates share must not suffice."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.search.domain import likeness, sketch
from services.search.domain.likeness import SUGGEST, Candidate, Report
from services.search.domain.wording import GENERIC, Gist, gist, is_automatic

NOON = datetime(2026, 3, 2, 12, tzinfo=UTC)


def report(subject: str, text: str = "", *, at: int = 0, **more: Any) -> Report:
    given: dict[str, Any] = {
        "ticket_id": uuid4(),
        "tenant_id": "acme",
        "number": "INC-1",
        "gist": gist(subject, text),
        "requester_id": uuid4(),
        "opened_at": NOON + timedelta(seconds=at),
        "channel": "email",
    }
    return Report(**(given | more))


OUTAGE = report(
    "Report portal not reachable since 10:15", "Hi,\n\nthe report portal shows error 502 (bad gateway).\n\nTove"
)

SAME = {
    "another order of words": ("Since 10:15 not reachable: report portal", "It shows a bad gateway, error 502."),
    "typos": ("Reprot portal not reacheable", "the report portal shows error 502 (bad gatewy)"),
    "a signature and a closing": (
        "report portal: error 502, not reachable",
        "Good morning,\nthe report portal is not reachable.\n\nKind regards\nMichael Okafor\nHead of Everything\nHarbour Ltd",
    ),
    "quoted text below": (
        "Fwd: Report portal not reachable",
        "Error 502, bad gateway.\n\nOn Mon, 2 Mar 2026 at 10:20, Bob wrote:\n> Did you feed the cat?\n> It was hungry.",
    ),
    "a greeting in another language": ("Report portal not reachable", "Sehr geehrte Damen und Herren,\nerror 502."),
    "capitals, reply marks and brackets": ("RE: AW: [EXTERNAL] REPORT PORTAL NOT REACHABLE!!!", "ERROR 502"),
    "all of it in the text": ("Help please", "The report portal is not reachable, error 502 bad gateway"),
}

OTHER = {
    "the same common words": ("Problem with my account", "Hello, please help, it does not work."),
    "another system in the same words": ("Telephone not reachable since 10:15", "Nobody answers at reception."),
    "one word in common": ("Portal for new colleagues", "When does it open?"),
}


@pytest.mark.parametrize("how", SAME)
def test_one_outage_is_recognised_under(how: str) -> None:
    other = report(*SAME[how], at=1)
    assert likeness.score(other, OUTAGE) >= SUGGEST
    assert likeness.score(other, OUTAGE) == likeness.score(OUTAGE, other)


@pytest.mark.parametrize("how", OTHER)
def test_another_matter_is_not_taken_for_it_by(how: str) -> None:
    assert likeness.score(report(*OTHER[how], at=1), OUTAGE) < SUGGEST


def test_two_invoices_are_two_matters_and_one_error_code_is_one() -> None:
    assert (
        likeness.score(report("Invoice 4711 wrong", "The amount of 4711."), report("Invoice 4712 wrong", "Of 4712."))
        < SUGGEST
    )
    first = report("Sync stops", "The log says ERR-5021 at night")
    assert set(keys(first)) & set(keys(report("Nightly job broken", "It ends in ERR-5021 each time")))


@pytest.mark.parametrize(
    "subject",
    [
        "Out of Office: Re: Portal",
        "Automatic reply: hello",
        "Abwesenheitsnotiz: bis Montag",
        "Undeliverable: offer",
        "Read: minutes",
    ],
)
def test_what_mail_programs_write_is_known_by_its_subject(subject: str) -> None:
    assert is_automatic(subject)
    assert not is_automatic(f"Problem: {subject}") or subject.startswith("Read")


@pytest.mark.parametrize(
    ("subject", "text"), [("Help", "Please help me"), ("", ""), ("Problem", "It does not work any more!")]
)
def test_what_says_nothing_has_no_keys_and_is_like_nothing(subject: str, text: str) -> None:
    one = report(subject, text)
    assert keys(one) == ()
    assert likeness.score(one, report(subject, text)) == 0.0


def test_alerts_of_one_template_are_not_duplicates_of_each_other() -> None:
    first = report("[FIRING:1] HighLatency gateway frankfurt", "latency above 500 ms", channel="alert")
    second = report("[FIRING:1] HighLatency gateway frankfurt", "latency above 500 ms", channel="alert")
    assert likeness.score(first, second) == 0.0
    assert likeness.score(first, report("High latency of gateway frankfurt", "latency above 500 ms")) > 0


def test_only_older_tickets_of_the_tenant_are_named_the_likeliest_first() -> None:
    new = report("Report portal not reachable", "error 502 bad gateway", at=10)
    exact = report("Report portal not reachable", "error 502 bad gateway", at=5, requester_id=new.requester_id)
    younger = report("Report portal not reachable", "error 502 bad gateway", at=11)
    foreign = report("Report portal not reachable", "error 502 bad gateway", at=1, tenant_id="beta")
    found = likeness.likeliest(
        new, [Candidate(report=one, source="recent") for one in (OUTAGE, younger, foreign, exact, exact, new)]
    )
    assert [one.ticket_id for one in found] == [exact.ticket_id, OUTAGE.ticket_id]
    assert found[0].score == 1.0
    assert (found[0].same_requester, found[1].same_requester) == (True, False)
    assert "portal" in found[1].reason


def test_the_same_candidates_found_twice_are_one_decision() -> None:
    new = report("Report portal not reachable", "error 502", at=10)
    candidates = [
        Candidate(report=report("Report portal not reachable", "error 502", at=n), source="index") for n in range(3)
    ]
    named = likeness.likeliest(new, candidates)
    one, again = (likeness.decision(new, 1, order, full=True) for order in (named, named[::-1]))
    assert one.decision_id == again.decision_id
    assert likeness.decision(new, 1, named[:2], full=True).decision_id != one.decision_id


WORDS = st.lists(
    st.text("abcdefghijklmnopqrstuvwxyz", min_size=4, max_size=9).filter(lambda word: word not in GENERIC),
    min_size=8,
    max_size=20,
    unique=True,
)


@given(WORDS, st.randoms(use_true_random=False))
def test_the_order_of_words_never_matters(words: list[str], draw: Any) -> None:
    shuffled = draw.sample(words, len(words))
    one, other = (
        report(" ".join(words[:4]), " ".join(words[4:])),
        report(" ".join(words[:4]), " ".join(sorted(words[4:]))),
    )
    assert likeness.score(one, other) == (1.0 if likeness.score(one, one) else 0.0)
    assert keys(report(" ".join(words))) == keys(report(" ".join(shuffled)))


LETTERS = st.text("abcdeé漢字の1 .-|>\n[]\0", max_size=200)


@given(LETTERS, LETTERS)
def test_any_text_has_a_gist_that_is_stored_and_read_back(subject: str, text: str) -> None:
    found = gist(subject, text)
    assert Gist.of_text(found.text()) == found
    assert len(found.words) == len(set(found.words)) <= 48
    assert 0.0 <= likeness.alike(found, gist(text, subject)) <= 1.0
    sketch.keys("acme", found)


def test_keys_of_two_tenants_never_meet() -> None:
    assert not set(sketch.keys("acme", OUTAGE.gist)) & set(sketch.keys("beta", OUTAGE.gist))


def keys(one: Report) -> tuple[int, ...]:
    return tuple(sorted(sketch.keys(one.tenant_id, one.gist)))
