"""Mails over SMTP: who gets which, how they hang together, what the server's answers lead to."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4

import pytest

from shared.auth import mail_token, survey_token
from shared.contracts import ids
from shared.contracts.chat import ChatReplyMissed
from shared.contracts.directory import TenantChanged
from shared.contracts.notification import SuppressionChanged
from tests.integration.notify.mail_facts import (
    ANA,
    DOMAIN,
    MIA,
    SUPPORT,
    WANDA,
    created,
    received,
    replied,
    solved,
    summary,
)
from tests.integration.notify.mail_ground import ACME, MASTER, Ground
from tests.integration.notify.mail_sink import Sink
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def text_of(mail: Any, kind: str = "plain") -> str:
    part = mail.get_body((kind,))
    assert part is not None
    content: str = part.get_content()
    return content.replace("\r\n", "\n")


async def test_a_new_ticket_is_acknowledged_once_in_the_readers_language(mails: Ground) -> None:
    await mails.knows(MIA, "Mia Möller", language="de-AT")
    fact = received(created())
    await mails.tell(fact, fact, created())
    (delivery,) = await mails.settled(1)
    (mail,) = await mails.mailed(MIA)
    assert mail["Subject"] == "Wir haben Ihre Anfrage erhalten: Drucker am Tor 4 – nichts geht mehr [INC-2026-000001]"
    assert mail["From"] == f"Acme Support <{SUPPORT}>"
    assert mail["To"].addresses[0].display_name == "Mia Möller"
    assert mail["Auto-Submitted"] == "auto-replied"
    assert mail["X-Auto-Response-Suppress"] == "All"
    assert mail["In-Reply-To"] == "<first-1@customer.example>"
    assert "Guten Tag Mia Möller" in text_of(mail)
    # Nobody's machine bounces to it (RFC 3834).
    assert mails.sink.got[0][0] in {"", "<>"}
    assert mail["Message-ID"] == f"<{delivery.external_id}>"
    assert delivery.facts is None


async def test_the_reply_address_leads_back_to_the_ticket(mails: Ground) -> None:
    await mails.tell(created())
    (mail,) = await mails.mailed(MIA)
    address = mail["Reply-To"].addresses[0].addr_spec
    assert address.endswith(f"@{DOMAIN}")
    token = mail_token.in_address(address)
    assert token is not None
    key = mail_token.key_of(MASTER)
    assert mail_token.verify(key, "acme", token) == summary().ticket_id
    assert mail_token.verify(key, "other", token) is None


async def test_a_mail_leaves_from_the_address_that_was_written_to_while_it_is_the_desks(mails: Ground) -> None:
    billing, brand = f"Billing@{DOMAIN}", "help@brand.example"
    await mails.learn(ACME.model_copy(update={"version": 2, "inbound_addresses": (SUPPORT, billing, brand)}))
    written_to = {1: billing, 2: brand, 3: "gone@acme.example", 4: None}
    for number, address in written_to.items():
        await mails.tell(created(number, {"inbound_address": address}))
    await mails.settled(4)
    sent = {mail["Subject"].partition("[")[2]: mail for mail in await mails.mailed(MIA, 4)}
    told = {number: sent[f"INC-2026-{number:06}]"] for number in written_to}
    assert {number: mail["From"].addresses[0].addr_spec for number, mail in told.items()} == {
        1: billing,
        2: brand,
        3: SUPPORT,
        4: SUPPORT,
    }
    # Where every mail of a domain is ours, a tag is sure to be taken.
    assert {mail["Reply-To"].addresses[0].domain for mail in told.values()} == {DOMAIN}
    await mails.learn(
        ACME.model_copy(
            update={"version": 3, "inbound_addresses": (SUPPORT, brand), "mail_domains": (DOMAIN, "brand.example")}
        )
    )
    await mails.tell(created(5, {"inbound_address": brand}))
    (mail,) = [mail for mail in await mails.mailed(MIA, 5) if "INC-2026-000005" in mail["Subject"]]
    assert mail["Reply-To"].addresses[0].domain == "brand.example"
    await mails.learn(ACME.model_copy(update={"version": 4, "inbound_addresses": ()}))
    wanda = {"requester_id": str(ids.person_id("acme", WANDA))}
    await mails.tell(created(6, {**wanda, "inbound_address": f"anything@{DOMAIN}"}, address=WANDA))
    (mail,) = await mails.mailed(WANDA)
    assert mail["From"].addresses[0].addr_spec == f"anything@{DOMAIN}", "of a desk that takes all of its domain"


async def test_an_agents_answer_goes_to_requester_and_watchers_in_the_thread(mails: Ground) -> None:
    watcher = ids.person_id("acme", WANDA)
    await mails.tell(created())
    (first,) = await mails.mailed(MIA)
    await mails.settled(1)
    answer = replied(ticket={"watcher_ids": [str(watcher)]}, text="Try the other cable.\nÄÖÜ €")
    await mails.tell(answer)
    _, mail = await mails.mailed(MIA, 2)
    (copy,) = await mails.mailed(WANDA)
    assert mail["References"].split() == ["<first-1@customer.example>", first["Message-ID"]]
    assert mail["In-Reply-To"] == first["Message-ID"]
    assert mail["From"].addresses[0].display_name == "Ana Alvarez"
    assert mail["From"].addresses[0].addr_spec == SUPPORT
    assert mail["Auto-Submitted"] is None
    assert "Try the other cable.\nÄÖÜ €" in text_of(mail)
    assert "Try the other cable.<br>" in text_of(mail, "html")
    assert mail["Message-ID"] != copy["Message-ID"]
    assert [sender for sender, _, _ in mails.sink.got[1:]] == [SUPPORT, SUPPORT]
    await mails.settled(3)
    told = await mails.published("notification.delivered")
    assert {one["external_id"] for one in told} == {one["Message-ID"].strip("<>") for one in (first, mail, copy)}
    assert [one["message_id"] for one in told[1:]] == [str(answer.message.message_id)] * 2
    assert all(one["provider_id"].startswith("250 2.0.0 Ok: queued as") for one in told)


async def test_notes_and_requesters_words_are_mailed_to_nobody(mails: Ground) -> None:
    await mails.tell(
        replied(visibility="internal"), replied(author="requester", address=MIA), replied(ticket={"channel": "chat"})
    )
    assert await mails.deliveries() == []


async def test_an_agents_machine_answers_nobody(mails: Ground) -> None:
    await mails.tell(replied(automatic=True))
    assert await mails.deliveries() == []


async def test_a_solution_is_told_with_a_link_to_the_survey_for_the_requester_alone(mails: Ground) -> None:
    await mails.tell(solved(watcher_ids=[str(ids.person_id("acme", WANDA))]))
    (mail,) = await mails.mailed(MIA)
    (copy,) = await mails.mailed(WANDA)
    assert "A new cable." in text_of(mail)
    link = next(word for word in text_of(mail).split() if "/v1/surveys/" in word)
    assert link.startswith("https://desk.example/v1/surveys/")
    survey = survey_token.verify(survey_token.key_of(MASTER), link.rpartition("/")[2])
    assert survey is not None
    assert (survey.tenant_id, survey.cycle, survey.person_id) == ("acme", 2, ids.person_id("acme", MIA))
    assert "/v1/surveys/" not in text_of(copy)
    assert mail["Auto-Submitted"] == "auto-generated"


async def test_long_texts_and_files_come_from_the_blob_store_and_files_too_large_are_named(mails: Ground) -> None:
    await mails.pack(attachments_bytes=1000)
    text = await mails.blobs.put("acme", ("Långt " * 9000).encode(), "text/plain")
    small = await mails.blobs.put("acme", b"%PDF-1.7 small", "application/pdf")
    large = await mails.blobs.put("acme", b"x" * 2000, "application/zip")
    files = [
        {"filename": name, "blob": blob.model_dump(mode="json")}
        for name, blob in (("Größe.pdf", small), ("all.zip", large))
    ]
    await mails.tell(replied(body={"text_blob": text.model_dump(mode="json")}, attachments=files))
    (mail,) = await mails.mailed(MIA)
    assert text_of(mail).count("Långt") == 9000
    (attached,) = list(mail.iter_attachments())
    assert attached.get_filename() == "Größe.pdf"
    assert attached.get_content() == b"%PDF-1.7 small"
    assert "Too large to be attached: all.zip" in text_of(mail)


# -- silence ------------------------------------------------------------------------------------------------------------


async def test_machines_and_our_own_addresses_are_not_acknowledged(mails: Ground) -> None:
    await mails.learn(
        TenantChanged(
            tenant_id="other",
            version=1,
            name="Other",
            mail_domains=("desk.example",),
            inbound_addresses=("in@x.example",),
        )
    )
    ours = {}
    for number, address in enumerate((SUPPORT, f"support+tag@{DOMAIN}", "in@x.example", "who@desk.example"), start=2):
        ours[number] = await mails.knows(address, "Machine")
        await mails.tell(created(number, {"requester_id": str(ours[number])}, address=address))
    await mails.tell(created(automatic=True))
    found = await mails.settled(4)
    assert {one.reason for one in found} == {"own_address"}
    assert not mails.sink.got


async def test_a_machine_that_hides_it_is_answered_a_few_times_an_hour_and_no_more(mails: Ground) -> None:
    for number in range(1, 21):
        await mails.tell(created(number))
    found = await mails.settled(20)
    assert len(mails.sink.to(MIA)) == 5
    assert sorted(one.reason or "" for one in found) == [""] * 5 + ["limited"] * 15
    await mails.forward(minutes=61)
    at = datetime.now(UTC) + timedelta(minutes=61)
    await mails.tell(received(created(21), at=at))
    await mails.mailed(MIA, 6)


async def test_what_is_read_again_does_not_use_up_what_may_be_answered(mails: Ground) -> None:
    first = received(created(1))
    await mails.tell(*([first] * 10))
    async with mails.database.begin() as tx:
        await mails.mails.telling.tell(tx, [first, received(created(1)), received(created(2))])
    await mails.tell(created(3))
    found = await mails.settled(3)
    assert {one.state for one in found} == {"delivered"}


async def test_a_batch_of_many_is_bounded_as_one_by_one(mails: Ground) -> None:
    batch = [received(created(number)) for number in range(1, 21)]
    async with mails.database.begin() as tx:
        await mails.mails.telling.tell(tx, batch)
    await mails.settled(20)
    assert len(mails.sink.to(MIA)) == 5


async def test_a_suppressed_address_is_not_written_to(mails: Ground) -> None:
    person = ids.person_id("acme", MIA)
    suppression = SuppressionChanged(
        tenant_id="acme",
        suppression_key=f"acme/{person}",
        person_id=person,
        version=1,
        reason="bounced",
        since=datetime.now(UTC),
    )
    await mails.learn(suppression)
    await mails.tell(replied())
    await mails.settled(1)
    (failed,) = await mails.published("notification.failed")
    assert (failed["reason"], failed["attempts"]) == ("suppressed", 0)
    assert not mails.sink.got


async def test_old_facts_are_recorded_and_not_told(mails: Ground) -> None:
    await mails.tell(received(created(), at=datetime.now(UTC) - timedelta(hours=25)))
    (delivery,) = await mails.settled(1)
    assert (delivery.state, delivery.reason) == ("expired", "expired")
    assert not mails.sink.got
    assert await mails.published("notification.failed") == []


# -- what servers answer ------------------------------------------------------------------------------------------------


async def test_a_refusal_for_good_ends_a_delivery_with_the_answer_but_no_address(mails: Ground) -> None:
    mails.sink.at_rcpt = [f"550 5.1.1 <{MIA}>: no such user"]
    await mails.tell(replied())
    (delivery,) = await mails.settled(1)
    assert (delivery.state, delivery.reason, delivery.attempts) == ("failed", "refused", 1)
    (failed,) = await mails.published("notification.failed")
    assert failed["detail"].startswith("550 5.1.1")
    assert "mia" not in failed["detail"].casefold()


async def test_a_refusal_for_now_is_tried_again_later_under_the_same_name(mails: Ground) -> None:
    mails.sink.at_data = ["451 4.7.1 Greylisted"]
    await mails.tell(replied())

    async def postponed() -> bool:
        (one,) = await mails.deliveries()
        return (one.state, one.answer) == ("waiting", "451 4.7.1 Greylisted")

    await eventually(postponed)
    (before,) = await mails.deliveries()
    assert not mails.sink.got
    await mails.forward(minutes=2)
    (mail,) = await mails.mailed(MIA)
    (delivery,) = await mails.settled(1)
    assert mail["Message-ID"] == f"<{before.external_id}>"
    assert (delivery.attempts, delivery.doubtful) == (2, 0)


async def test_what_is_refused_for_a_day_is_given_up_and_may_be_tried_again_by_hand(mails: Ground) -> None:
    mails.sink.at_data = ["452 4.2.2 Mailbox full"] * 20
    await mails.tell(replied())
    for _ in range(12):
        (found,) = await mails.deliveries()
        if found.state == "failed":
            break
        await mails.forward(hours=9)
        await _attempted(mails, found.attempts + 1)
    (delivery,) = await mails.settled(1)
    assert (delivery.state, delivery.reason) == ("failed", "exhausted")
    (failed,) = await mails.published("notification.failed")
    assert failed["reason"] == "exhausted"
    assert failed["attempts"] == 10
    mails.sink.at_data = []
    await mails.forward(days=6)
    assert (await mails.call("POST", f"/v1/notifications/{delivery.id}/retry", "stranger")).status_code == 404
    assert (await mails.call("POST", f"/v1/notifications/{delivery.id}/retry", "customer")).status_code == 403
    answer = await mails.call("POST", f"/v1/notifications/{delivery.id}/retry")
    assert (answer.status_code, answer.json()["state"], answer.json()["reason"]) == (202, "waiting", "retried")
    (mail,) = await mails.mailed(MIA)
    assert mail["Message-ID"] == f"<{delivery.external_id}>"
    assert (await mails.call("POST", f"/v1/notifications/{delivery.id}/retry")).status_code == 409


async def _attempted(mails: Ground, attempts: int) -> None:
    async def done() -> bool:
        (one,) = await mails.deliveries()
        leased = await mails.database.fetchval("SELECT count(*) FROM task WHERE lease_token IS NOT NULL")
        assert one.attempts >= attempts, await mails.database.fetch("SELECT * FROM task")
        return one.state != "sending" and not leased

    await eventually(done)


async def test_a_person_directory_has_not_heard_of_yet_is_waited_for(mails: Ground) -> None:
    newcomer = ids.person_id("acme", "new@customer.example")
    await mails.tell(created(ticket={"requester_id": str(newcomer)}, address="new@customer.example"))
    (waiting,) = await mails.deliveries()
    assert waiting.attempts == 0
    await mails.knows("new@customer.example", "")
    (mail,) = await mails.mailed("new@customer.example")
    assert "Dear customer" in text_of(mail)


async def test_a_person_without_an_address_cannot_be_told(mails: Ground) -> None:
    caller_id = await mails.knows("+49 30 123456", "Somebody on the phone")
    await mails.tell(created(ticket={"requester_id": str(caller_id), "channel": "phone"}))
    await mails.settled(1)
    (failed,) = await mails.published("notification.failed")
    assert failed["reason"] == "no_address"


async def test_connections_are_kept_between_mails(mails: Ground, sink: Sink) -> None:
    for number in range(1, 6):
        await mails.tell(replied(number))
        await mails.mailed(MIA, number)
    assert sink.connections == 1


async def test_the_log_shows_a_desk_everything_and_a_requester_their_own(mails: Ground) -> None:
    await mails.tell(replied(ticket={"watcher_ids": [str(ids.person_id("acme", WANDA))]}))
    await mails.settled(2)
    ticket = str(summary().ticket_id)
    shown = (await mails.call("GET", "/v1/notifications", params={"ticket_id": ticket})).json()["items"]
    assert [(one["template"], one["channel"], one["state"]) for one in shown] == [("reply", "email", "delivered")] * 2
    own = (await mails.call("GET", "/v1/notifications", "customer")).json()["items"]
    assert [one["recipient_id"] for one in own] == [str(ids.person_id("acme", MIA))]
    other = next(one["id"] for one in shown if one["id"] != own[0]["id"])
    assert (await mails.call("GET", f"/v1/notifications/{other}", "customer")).status_code == 404
    assert (await mails.call("GET", f"/v1/notifications/{other}")).status_code == 200
    assert (await mails.call("GET", "/v1/notifications", "stranger")).json()["items"] == []
    first = await mails.call("GET", "/v1/notifications", params={"limit": 1})
    following = await mails.call("GET", "/v1/notifications", params={"limit": 1, "cursor": first.json()["next_cursor"]})
    assert {first.json()["items"][0]["id"], following.json()["items"][0]["id"]} == {one["id"] for one in shown}
    assert following.json()["next_cursor"] is None


async def test_a_missed_answer_in_a_chat_goes_by_mail_whichever_is_heard_first(mails: Ground) -> None:
    for number, missed_first in ((1, True), (2, False)):
        answer = replied(number, {"channel": "chat"}, channel="chat", text=f"Answer {number}")
        missed = ChatReplyMissed(
            tenant_id="acme",
            ticket_id=answer.ticket_id,
            message_id=answer.message.message_id,
            person_id=uuid4(),
            address=f"visitor{number}@web.example",
            left_at=datetime.now(UTC),
        )
        await mails.tell(*((missed, answer) if missed_first else (answer, missed)))
        await mails.tell(missed)
        (mail,) = await mails.mailed(f"visitor{number}@web.example")
        assert f"Answer {number}" in text_of(mail)
    await mails.settled(2)
    assert ANA not in {recipient for _, recipient, _ in mails.sink.got}
