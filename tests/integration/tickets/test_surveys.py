"""Requesters say how it was, by a link and without logging in: once per cycle and person, while it counts."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

import httpx2
import pytest

from shared.auth import survey_token
from shared.contracts.directory import Role
from tests.integration.tickets.conftest import MASTER, Service, message, person, reply, ticket_id
from tests.support.api import Caller

pytestmark = pytest.mark.engines

KEY = survey_token.key_of(MASTER)


async def _solved(service: Service, **satisfaction: Any) -> tuple[UUID, Caller]:
    """Rita's solved ticket, and Ann's key."""
    await service.tenant(satisfaction={"enabled": True, **satisfaction})
    await service.agent("ann", await service.team())
    ann = service.caller("ann", Role.AGENT)
    first = message("rita", subject="<b>Printer</b>", hints=None, source="first")
    await service.handle(first)
    await _solve(service, ann, ticket_id(first))
    return ticket_id(first), ann


async def _solve(service: Service, ann: Caller, ticket: UUID) -> None:
    answer = await service.call(ann, "POST", f"/v1/tickets/{ticket}/transitions", {"to": "solved", "resolution": "r"})
    assert answer.status_code == 200, answer.text


def _link(ticket: UUID, cycle: int = 1, who: str = "rita", tenant: str = "acme") -> str:
    return f"/v1/surveys/{survey_token.make(KEY, tenant, ticket, cycle, person(who))}"


async def _answer(service: Service, link: str, score: object, comment: str | None = None) -> httpx2.Response:
    body = {"score": score} | ({"comment": comment} if comment is not None else {})
    return await service.http.post(link, json=body)


async def test_the_page_asks_and_asking_has_no_effect(service: Service) -> None:
    ticket, _ = await _solved(service)
    page = await service.http.get(f"{_link(ticket)}?score=4")
    assert (page.status_code, page.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert "&lt;b&gt;Printer" in page.text
    assert "<b>" not in page.text
    assert 'value="4" checked' in page.text
    assert "<script" not in page.text
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["referrer-policy"] == "no-referrer"
    assert page.headers["cache-control"] == "no-store"
    assert await service.published("ticket.rated") == []


async def test_an_answer_counts_is_told_and_shown(service: Service) -> None:
    ticket, ann = await _solved(service)
    answered = await _answer(service, _link(ticket), 2, "  Slow.  ")
    assert (answered.status_code, answered.json()["score"]) == (200, 2)
    (rated,) = await service.published("ticket.rated")
    assert (rated["cycle"], rated["score"], rated["comment"]) == (1, 2, "Slow.")
    assert rated["actor"] == {"kind": "person", "id": str(person("rita")), "role": "customer"}
    shown = (await service.call(ann, "GET", f"/v1/tickets/{ticket}")).json()
    assert [(one["score"], one["comment"]) for one in shown["ratings"]] == [(2, "Slow.")]
    admin = service.caller("root", Role.ADMIN)
    audit = (await service.call(admin, "GET", f"/v1/tickets/{ticket}/audit?verify=true&limit=200")).json()
    assert audit["verified"] is True
    assert audit["items"][-1]["action"] == "rated"
    committed = await service.one("SELECT string_agg(commitments::text, '') FROM audit")
    assert "Slow." not in committed, "the chain holds commitments; the words can be erased"


async def test_the_form_answers_with_a_page_in_the_requesters_language(service: Service) -> None:
    ticket, _ = await _solved(service)
    await service.rows("UPDATE ticket SET language = 'de-AT'")
    refused = await service.http.post(_link(ticket), data={"score": "9", "comment": "x"})
    assert (refused.status_code, "von 1 bis 5" in refused.text) == (422, True)
    taken = await service.http.post(_link(ticket), data={"score": "5", "comment": "Gut & schnell\0"})
    assert (taken.status_code, "Danke" in taken.text) == (200, True)
    assert await service.one("SELECT comment FROM rating") == "Gut & schnell"


async def test_an_answer_may_be_changed_for_an_hour_and_then_stands(service: Service) -> None:
    ticket, _ = await _solved(service)
    link = _link(ticket)
    assert (await _answer(service, link, 1)).status_code == 200
    assert (await _answer(service, link, 1)).status_code == 200
    assert len(await service.published("ticket.rated")) == 1, "the same again is no news"
    assert (await _answer(service, link, 4, "better now")).status_code == 200
    assert [one["score"] for one in await service.published("ticket.rated")] == [1, 4]
    await service.forward(timedelta(minutes=61))
    late = await _answer(service, link, 5)
    assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (409, "survey-answered")
    assert (await service.http.get(link)).status_code == 409
    assert await service.one("SELECT score FROM rating") == 4


async def test_each_cycle_and_each_person_answers_for_itself(service: Service) -> None:
    ticket, ann = await _solved(service)
    await _answer(service, _link(ticket), 1)
    await _answer(service, _link(ticket, who="carl"), 3)
    await service.handle(reply(message("rita", source="first"), "rita"))
    await service.call(ann, "POST", f"/v1/tickets/{ticket}/transitions", {"to": "open"})
    early = await _answer(service, _link(ticket, 2), 5)
    assert (early.status_code, early.json()["type"].rpartition("/")[2]) == (409, "survey-not-solved")
    await _solve(service, ann, ticket)
    assert (await _answer(service, _link(ticket, 2), 5)).status_code == 200
    rows = await service.rows("SELECT cycle, score FROM rating ORDER BY cycle, score")
    assert [tuple(row) for row in rows] == [(1, 1), (1, 3), (2, 5)]


async def test_a_link_that_is_too_old_or_not_ours_is_worth_nothing(service: Service) -> None:
    ticket, _ = await _solved(service, expires_days=2)
    forged = _link(ticket)[:-1] + ("A" if not _link(ticket).endswith("A") else "B")
    foreign = _link(ticket, tenant="evil")
    for bad in ("/v1/surveys/nonsense", forged[:-4] + "AAAA", foreign):
        assert (await service.http.get(bad)).status_code == 404, bad
        assert (await _answer(service, bad, 5)).status_code == 404, bad
    await service.forward(timedelta(days=3))
    late = await _answer(service, _link(ticket), 5)
    assert (late.status_code, late.json()["type"].rpartition("/")[2]) == (410, "survey-expired")
    assert (await service.http.get(_link(ticket))).status_code == 410
    assert await service.published("ticket.rated") == []


async def test_a_desk_that_does_not_ask_takes_no_answer(service: Service) -> None:
    ticket, _ = await _solved(service, enabled=False)
    assert (await _answer(service, _link(ticket), 5)).status_code == 410


@pytest.mark.parametrize(
    ("content", "kind", "status"),
    [
        (b'{"score": 6}', "application/json", 422),
        (b'{"score": "many"}', "application/json", 422),
        (b'{"score": 5, "admin": true}', "application/json", 422),
        (b"[]", "application/json", 422),
        (b"score=5", "text/plain", 415),
        (b"score=%ff%fe&comment=%00", "application/x-www-form-urlencoded", 422),
        (b"score=5&comment=" + b"x" * 70_000, "application/x-www-form-urlencoded", 413),
    ],
)
async def test_nonsense_is_refused_and_changes_nothing(
    service: Service, content: bytes, kind: str, status: int
) -> None:
    ticket, _ = await _solved(service)
    answer = await service.http.post(_link(ticket), content=content, headers={"Content-Type": kind})
    assert answer.status_code == status, answer.text
    assert await service.one("SELECT count(*) FROM rating") == 0
