"""POST /v1/messages: accepted means stored, repeated means the same."""

from __future__ import annotations

import asyncio
import base64
from uuid import UUID

import pytest

from shared.contracts import ids
from shared.contracts.message import Channel, Parent
from tests.integration.ingest.conftest import Ingest, message, person

pytestmark = pytest.mark.engines


async def test_an_accepted_message_is_stored_and_will_be_published(ingest: Ingest) -> None:
    told = await ingest.submit(message(1, channel="web", hints={"product": "portal", "tags": ["login"]}))
    (event,) = await ingest.received()
    assert told["status"] == "accepted"
    assert event.message_id == UUID(told["message_id"])
    assert event.conversation_id == UUID(told["conversation_id"])
    assert ids.ticket_id("acme", event.message_id) == UUID(told["ticket_id"])
    assert (event.channel, event.subject, event.parent) == (Channel.WEB, "Cannot log in 1", Parent.NONE)
    assert event.sender.person_id == person("acme", "USER1@customer.example")
    assert (event.hints.product, event.hints.tags) == ("portal", ("login",))
    assert ingest.woken


async def test_the_same_idempotency_key_gives_the_same_ids_and_one_effect(ingest: Ingest) -> None:
    first = await ingest.submit(message(), Idempotency_Key="k-1")
    again = await ingest.submit(message(), Idempotency_Key="k-1")
    assert again == first | {"status": "duplicate"}
    assert len(await ingest.received()) == 1


async def test_a_key_used_for_another_message_is_refused_and_stores_nothing(ingest: Ingest) -> None:
    await ingest.submit(message(1), Idempotency_Key="k-1")
    answer = await ingest.call("acme/service", "POST", "/v1/messages", message(2), Idempotency_Key="k-1")
    assert answer.status_code == 422
    assert answer.json()["type"].endswith("idempotency-key-reused")
    assert len(await ingest.received()) == 1


async def test_two_integrations_may_call_different_messages_by_the_same_source_id(ingest: Ingest) -> None:
    await ingest.submit(message(1, source_id="1"), "acme/service")
    await ingest.submit(message(2, source_id="1"), "acme/service#other")
    assert len(await ingest.received()) == 2


async def test_a_hundred_at_once_with_ten_keys_are_ten_messages(ingest: Ingest) -> None:
    answers = await asyncio.gather(
        *(ingest.submit(message(n % 10), Idempotency_Key=f"key-{n % 10}") for n in range(100))
    )
    assert len({answer["message_id"] for answer in answers}) == 10
    assert sum(answer["status"] == "accepted" for answer in answers) == 10
    assert len(await ingest.received()) == 10
    assert await ingest.database.fetchval("SELECT count(*) FROM message") == 10


async def test_two_processes_that_get_the_same_key_store_one_message(ingest: Ingest) -> None:
    from services.ingest.intake import Intake  # noqa: PLC0415
    from services.ingest.mailroom import Mailroom  # noqa: PLC0415, F401

    other = Intake(ingest.database, lambda: None, ingest.measures)
    drafts = [await _draft(ingest, f"s-{n}") for n in range(50)]
    outcomes = await asyncio.gather(*(taker.accept([draft]) for draft in drafts for taker in (ingest.intake, other)))
    assert sum(one.status == "accepted" for (one,) in outcomes) == 50
    assert len(await ingest.received()) == 50


async def test_a_batch_of_a_thousand_is_stored_in_order(ingest: Ingest) -> None:
    told = await ingest.submit({"messages": [message(n, source_id=f"s-{n}") for n in range(1000)]})
    assert (told["accepted"], told["duplicate"], told["invalid"]) == (1000, 0, 0)
    events = await ingest.received()
    assert [event.external_id for event in events] == [f"s-{n}" for n in range(1000)]
    assert [one["message_id"] for one in told["results"]] == [str(event.message_id) for event in events]


async def test_a_repeated_batch_tells_the_same_ids(ingest: Ingest) -> None:
    batch = {"messages": [message(n, source_id=f"s-{n}") for n in range(20)]}
    first = await ingest.submit(batch)
    again = await ingest.submit({"messages": [*batch["messages"], message(20, source_id="s-20")]})
    assert (again["accepted"], again["duplicate"]) == (1, 20)
    assert [r["message_id"] for r in again["results"][:20]] == [r["message_id"] for r in first["results"]]


async def test_a_batch_without_source_ids_is_idempotent_by_its_key(ingest: Ingest) -> None:
    batch = {"messages": [message(n) for n in range(5)]}
    await ingest.submit(batch, Idempotency_Key="b-1")
    again = await ingest.submit(batch, Idempotency_Key="b-1")
    assert again["duplicate"] == 5
    assert len(await ingest.received()) == 5


async def test_batches_with_neither_key_nor_source_ids_are_new_messages_each_time(ingest: Ingest) -> None:
    batch = {"messages": [message(n) for n in range(5)]}
    first, same = await ingest.submit(batch), await ingest.submit(batch)
    others = await ingest.submit({"messages": [message(n) for n in range(10, 15)]})
    for told in (first, same, others):
        assert told["accepted"] == 5, told
    assert len({one["message_id"] for told in (first, same, others) for one in told["results"]}) == 15


async def test_valid_messages_of_a_batch_are_stored_whatever_the_others_are(ingest: Ingest) -> None:
    wrong = [{"sender": {"address": ""}}, message(2, hints={"affected_customers": -1}), 7, message(4, colour="red")]
    told = await ingest.submit({"messages": [message(0), *wrong, message(5)]})
    assert (told["accepted"], told["invalid"]) == (2, 4)
    assert [r["status"] for r in told["results"]] == ["accepted", *["invalid"] * 4, "accepted"]
    assert told["results"][2]["errors"][0]["pointer"] == "/messages/2/hints/affected_customers"
    assert len(await ingest.received()) == 2


async def test_a_batch_in_which_nothing_is_valid_is_refused(ingest: Ingest) -> None:
    answer = await ingest.call("acme/service", "POST", "/v1/messages", {"messages": [{}, {}]})
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"].startswith("/messages/0")


@pytest.mark.parametrize(
    "body",
    [
        [],
        {"messages": []},
        {"messages": [message()] * 1001},
        {"messages": {}},
        {"messages": [], "x": 1},
        "text",
        None,
        5,
    ],
    ids=["list", "none", "1001", "object", "stranger", "string", "null", "number"],
)
async def test_a_body_of_another_form_is_refused(ingest: Ingest, body: object) -> None:
    answer = await ingest.call("acme/service", "POST", "/v1/messages", b"null" if body is None else body)
    assert answer.status_code in {415, 422}
    assert not await ingest.received()


@pytest.mark.parametrize(
    ("change", "pointer"),
    [
        ({"sender": None}, "/sender"),
        ({"sender": {"address": "a@b.c", "role": "admin"}}, "/sender/role"),
        ({"channel": "email"}, "/channel"),
        ({"text": None, "subject": " "}, ""),
        ({"attachments": [{"filename": "x"}]}, "/attachments/0"),
        ({"attachments": [{"filename": "x", "data": "%%%"}]}, "/attachments/0/data"),
        ({"attachments": [{"upload_id": "00000000-0000-0000-0000-000000000000"}]}, "/attachments/0/upload_id"),
        ({"tenant_id": "beta"}, "/tenant_id"),
        ({"hints": {"tags": ["x" * 65]}}, "/hints/tags/0"),
    ],
)
async def test_a_wrong_value_is_refused_with_its_pointer(
    ingest: Ingest, change: dict[str, object], pointer: str
) -> None:
    answer = await ingest.call("acme/service", "POST", "/v1/messages", message() | change)
    assert answer.status_code == 422, answer.text
    assert answer.json()["errors"][0]["pointer"] == pointer
    assert not await ingest.received()


async def test_line_ends_and_controls_leave_subject_and_name(ingest: Ingest) -> None:
    bad = message(
        subject="Hi\r\nBcc: all@x.example\x1b[31m",
        text="a\x0bb\r\nc",
        sender={"address": "a@b.example", "name": "A\nB"},
    )
    await ingest.submit(bad)
    (event,) = await ingest.received()
    assert event.subject == "Hi Bcc: all@x.example[31m"
    assert event.sender.name == "A B"
    assert event.body.text == "ab\nc"


async def test_html_becomes_text_and_a_page_without_anything_remote(ingest: Ingest) -> None:
    page = '<p>Hello <b>you</b></p><script>alert(1)</script><img src="https://t.example/p.gif"><img src="cid:a">'
    await ingest.submit(message(text=None, html=page))
    (event,) = await ingest.received()
    assert event.body.text == "Hello you"
    assert event.body.html_blob is not None
    shown = (await ingest.blobs.get("acme", event.body.html_blob.sha256)).decode()
    assert "script" not in shown
    assert "t.example" not in shown
    assert "cid:a" in shown


async def test_a_long_text_travels_as_a_blob(ingest: Ingest) -> None:
    text = "lorem ipsum " * 10_000
    told = await ingest.submit(message(text=text))
    (event,) = await ingest.received()
    assert event.body.text is None
    assert await ingest.text(event) == text
    original = await ingest.call("acme/service", "GET", f"/v1/messages/{told['message_id']}/original")
    assert original.json()["text"] == text


async def test_attachments_come_within_the_message_or_ahead_of_it(ingest: Ingest) -> None:
    png = b"\x89PNG\r\n\x1a\n" + bytes(100)
    ahead = await ingest.call(
        "acme/service", "POST", "/v1/attachments?filename=..%2F..%2Fshot.jpg", png, Content_Type="image/jpeg"
    )
    assert ahead.status_code == 201, ahead.text
    assert (ahead.json()["filename"], ahead.json()["media_type"]) == ("shot.jpg", "image/png")
    within = {"filename": "a\u202egpj.exe", "data": base64.b64encode(b"MZ...").decode()}
    await ingest.submit(message(attachments=[{"upload_id": ahead.json()["upload_id"]}, within]))
    (event,) = await ingest.received()
    shot, program = event.attachments
    assert (shot.filename, shot.blob.media_type) == ("shot.jpg", "image/png")
    assert await ingest.blobs.get("acme", shot.blob.sha256) == png
    assert program.filename == "agpj.exe"
    assert program.blob.media_type == "application/vnd.microsoft.portable-executable"


async def test_an_answer_joins_the_conversation_it_names(ingest: Ingest) -> None:
    first = await ingest.submit(message(1, source_id="crm-1"))
    for named in (first["message_id"], first["conversation_id"], first["ticket_id"], "crm-1"):
        answer = await ingest.submit(message(2, in_reply_to=named))
        assert answer["conversation_id"] == first["conversation_id"], named
        assert "ticket_id" not in answer
    events = await ingest.received()
    assert {event.parent_message_id for event in events[1:]} == {UUID(first["message_id"])}
    assert {event.parent for event in events[1:]} == {Parent.KNOWN}


async def test_a_message_that_names_a_ticket_is_promised_no_other(ingest: Ingest) -> None:
    told = await ingest.submit(message(ticket_number="INC-2026-000042"))
    assert "ticket_id" not in told


async def test_an_answer_to_something_unknown_opens_a_ticket(ingest: Ingest) -> None:
    told = await ingest.submit(message(in_reply_to="never-heard-of"))
    (event,) = await ingest.received()
    assert event.parent == Parent.UNKNOWN
    assert told["ticket_id"]


async def test_a_customer_writes_only_as_themselves(ingest: Ingest) -> None:
    ingest.key("acme/customer", person("acme", "user1@customer.example"))
    await ingest.submit(message(1), "acme/customer")
    answer = await ingest.call("acme/customer", "POST", "/v1/messages", message(2))
    assert answer.status_code == 422
    assert answer.json()["errors"][0]["pointer"] == "/sender/address"


async def _draft(ingest: Ingest, source: str):  # type: ignore[no-untyped-def]  # noqa: ANN202
    from services.ingest.domain import Draft, participant  # noqa: PLC0415

    return Draft(
        tenant_id="acme",
        message_id=ids.message_id("acme", "api", source),
        channel=Channel.API,
        sender=participant("acme", "a@b.example"),
        fingerprint=source.encode(),
        payload=b"{}",
    )
