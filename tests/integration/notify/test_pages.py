"""Pages: sent at once, not when they are cancelled or too old, and answered once by who was paged."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import UUID, uuid4

import pytest

from shared.contracts import ids
from shared.contracts.escalation import PageCancelled, PageRequested
from tests.integration.notify.mail_facts import ANA, paged, received
from tests.integration.notify.mail_ground import Ground, ground
from tests.integration.notify.mail_sink import Sink
from tests.support.databases import ScratchDatabases
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def cancelled(page: PageRequested) -> PageCancelled:
    return PageCancelled(
        tenant_id="acme",
        ticket_id=page.ticket_id,
        page_id=page.page_id,
        escalation_id=page.escalation_id,
        person_id=page.person_id,
        reason="acknowledged",
    )


async def link_in_mail(mails: Ground) -> str:
    (mail,) = await mails.mailed(ANA)
    part = mail.get_body(("plain",))
    assert part is not None
    link: str = next(word for word in part.get_content().split() if "/v1/pages/" in word)
    return link.removeprefix("https://desk.example")


async def test_a_page_is_mailed_and_shown_at_once_and_asked_for_twice_it_is_sent_once(mails: Ground) -> None:
    page = paged()
    await mails.tell(page, page)
    found = await mails.settled(2)
    assert {(one.channel, one.state, one.page_id) for one in found} == {
        ("email", "delivered", page.page_id),
        ("app", "delivered", page.page_id),
    }
    (mail,) = await mails.mailed(ANA)
    assert mail["Subject"] == "PAGE: P1 ticket [INC-2026-000001] is unacknowledged"
    (told,) = await mails.published("notification.delivered")
    assert told["page_id"] == str(page.page_id)
    shown = (await mails.call("GET", "/v1/notifications/notices", "agent")).json()["items"]
    assert [(one["title"], one["urgent"]) for one in shown] == [
        ("PAGE: P1 ticket INC-2026-000001 is unacknowledged", True)
    ]


async def test_a_page_cancelled_before_it_is_handed_over_is_not_sent(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    async with ground(databases, tmp_path, sink, working=False) as mails:
        page, other = paged(), paged()
        await mails.tell(page, other, cancelled(page))
        mails.work()
        await mails.settled(4)
        states = {one.page_id: one.state for one in await mails.deliveries(channel="email")}
        assert states == {page.page_id: "cancelled", other.page_id: "delivered"}
        assert len(sink.got) == 1


async def test_a_cancellation_that_comes_first_counts(mails: Ground) -> None:
    page = paged()
    await mails.tell(cancelled(page), page)
    found = await mails.settled(2)
    assert {one.state for one in found} == {"cancelled"}
    assert not mails.sink.got


async def test_a_cancellation_between_two_attempts_counts(mails: Ground) -> None:
    mails.sink.at_data = ["451 4.3.0 Try later"]
    page = paged()
    await mails.tell(page)

    async def postponed() -> bool:
        return bool(await mails.deliveries(answer="451 4.3.0 Try later", state="waiting"))

    await eventually(postponed)
    await mails.tell(cancelled(page))
    await mails.forward(minutes=1)
    assert {one.state for one in await mails.settled(2)} == {"cancelled", "delivered"}
    assert not mails.sink.got
    assert await mails.database.fetchval("SELECT count(*) FROM task") == 0


async def test_a_page_too_old_to_act_on_fails_and_escalation_hears_of_it(mails: Ground) -> None:
    page = paged(minutes=-1)
    (failed,) = await mails.tell(page)
    assert failed.event.model_dump()["reason"] == "expired"
    assert failed.event.model_dump()["page_id"] == page.page_id
    old = paged(minutes=600)
    (failed,) = await mails.tell(received(old, at=datetime.now(UTC) - timedelta(hours=2)))
    assert failed.event.model_dump()["page_id"] == old.page_id
    assert not mails.sink.got


async def test_a_page_that_ends_while_the_server_is_away_is_not_sent_late(
    databases: ScratchDatabases, tmp_path: Path, sink: Sink
) -> None:
    async with ground(databases, tmp_path, sink, working=False) as mails:
        await mails.tell(paged(minutes=5))
        await mails.forward(minutes=6)
        mails.work()
        await mails.settled(2)
        (failed,) = await mails.published("notification.failed")
        assert failed["reason"] == "expired"
        assert not sink.got


async def test_looking_at_a_link_answers_nothing_and_its_buttons_answer_once(mails: Ground) -> None:
    page = paged()
    await mails.tell(page)
    path = await link_in_mail(mails)
    for _ in range(3):
        shown = await mails.http.get(path)
        assert shown.status_code == 200
        assert shown.headers["content-type"].startswith("text/html")
        assert "form-action 'self'" in shown.headers["content-security-policy"]
        assert "Acknowledge" in shown.text
    assert (await mails.http.head(path)).status_code in {200, 405}
    assert await mails.published("page.response") == []
    form = {"answer": "acknowledged"}
    for said in (form, form, {"answer": "declined"}):
        answered = await mails.http.post(path, data=said)
        assert answered.status_code == 200
        assert "have <strong>acknowledged</strong>" in answered.text
    (told,) = await mails.published("page.response")
    assert told == {
        "tenant_id": "acme",
        "ticket_id": str(page.ticket_id),
        "page_id": str(page.page_id),
        "escalation_id": str(page.escalation_id),
        "person_id": str(ids.person_id("acme", ANA)),
        "answer": "acknowledged",
        "channel": "link",
        "answered_at": told["answered_at"],
    }


async def test_links_that_are_not_ours_lead_nowhere(mails: Ground) -> None:
    await mails.tell(paged())
    path = await link_in_mail(mails)
    forged = path[:-1] + ("A" if path[-1] != "A" else "B")
    for wrong in (forged, f"/v1/pages/{'A' * 43}", f"/v1/pages/{uuid4()}"):
        assert (await mails.http.get(wrong)).status_code in {404, 422}
        assert (await mails.http.post(wrong, data={"answer": "acknowledged"})).status_code in {404, 422}
    assert (await mails.http.post(path, data={"answer": "perhaps"})).status_code == 422
    assert await mails.published("page.response") == []


async def test_words_in_a_page_do_nothing_in_a_browser(mails: Ground) -> None:
    page = paged().model_copy(update={"reason": "<script>alert(1)</script>"})
    await mails.tell(page)
    shown = await mails.http.get(await link_in_mail(mails))
    assert "<script>" not in shown.text
    assert "&lt;script&gt;" in shown.text


async def test_who_is_logged_in_answers_their_own_pages_only(mails: Ground) -> None:
    page = paged()
    await mails.tell(page)
    body = {"answer": "declined"}
    for who, status in (("lead", 404), ("stranger", 404), ("agent", 200), ("agent", 200)):
        answer = await mails.call("POST", f"/v1/pages/{page.page_id}/response", who, json=body)
        assert answer.status_code == status, answer.text
    again = await mails.call("POST", f"/v1/pages/{page.page_id}/response", "agent", json={"answer": "acknowledged"})
    assert again.status_code == 409
    (told,) = await mails.published("page.response")
    assert (told["answer"], told["channel"]) == ("declined", "app")
    (listed,) = (await mails.call("GET", "/v1/pages", "agent")).json()["items"]
    assert (UUID(listed["page_id"]), listed["answer"]) == (page.page_id, "declined")


async def test_a_cancelled_page_says_so_and_takes_no_answer(mails: Ground) -> None:
    page = paged()
    await mails.tell(page)
    path = await link_in_mail(mails)
    await mails.tell(cancelled(page))
    assert "not needed any more" in (await mails.http.get(path)).text
    assert "not needed any more" in (await mails.http.post(path, data={"answer": "acknowledged"})).text
    answer = await mails.call("POST", f"/v1/pages/{page.page_id}/response", "agent", json={"answer": "acknowledged"})
    assert answer.status_code == 409
    assert await mails.published("page.response") == []
