"""Mails of ours: answers find their ticket without a token, bounces find their person, and forged ones nobody."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID, uuid4

import pytest

from services.ingest import handlers
from shared import outbox
from shared.auth import mail_token
from shared.contracts.message import Parent
from shared.contracts.notification import NotificationDelivered, SuppressionChanged
from shared.db import Database
from shared.envelope import Received
from tests.integration.ingest.conftest import TOKEN_KEY, Ingest, message, person
from tests.integration.ingest.test_smtp import mail
from tests.unit.ingest.test_mail_report import FAILED, dsn

pytestmark = pytest.mark.engines

ANN = "ann@customer.example"


async def deliver(ingest: Ingest, ticket_id: UUID, external_id: str = "d1@acme.example", **more: Any) -> None:
    """Notify handed a mail off."""
    given: dict[str, Any] = {"tenant_id": "acme", "channel": "email", "recipient_id": person("acme", ANN)} | more
    event = NotificationDelivered(
        ticket_id=ticket_id,
        delivery_id=uuid4(),
        template="reply",
        attempts=1,
        external_id=external_id,
        delivered_at=datetime.now(UTC),
        **given,
    )
    arrival = Received(
        event=event,
        id=uuid4(),
        type=event.TYPE,
        time=datetime.now(UTC),
        key=event.key,
        topic="notification.delivered",
        partition=0,
        offset=0,
    )
    async with ingest.database.begin() as tx:
        await outbox.add(tx, await handlers.on_notification_delivered(tx, [arrival]))


async def opened(ingest: Ingest) -> UUID:
    """A ticket opened by a mail of Ann's."""
    return UUID((await ingest.submit(message(1)))["ticket_id"])


async def suppressed(database: Database) -> list[SuppressionChanged | None]:
    """What would be published of suppressions; None for a tombstone."""
    rows = await database.fetch("SELECT payload FROM outbox WHERE topic = 'suppression.changed' ORDER BY id")
    return [row["payload"] and SuppressionChanged.model_validate_json(row["payload"]) for row in rows]


async def test_an_answer_to_a_mail_of_ours_joins_its_ticket_without_a_token(smtp: Ingest) -> None:
    ticket = await opened(smtp)
    await deliver(smtp, ticket)
    await smtp.mail(mail(2, In_Reply_To="<d1@acme.example>"), "support@acme.example")
    first, answer = await smtp.received()
    assert answer.conversation_id == first.conversation_id
    assert (answer.parent, answer.parent_message_id) == (Parent.KNOWN, first.message_id)


async def test_a_mail_of_ours_that_carries_a_message_leads_to_that_message(smtp: Ingest) -> None:
    ticket, reply = await opened(smtp), uuid4()
    await deliver(smtp, ticket, message_id=reply)
    await smtp.mail(mail(2, References="<d1@acme.example>"), "support@acme.example")
    first, answer = await smtp.received()
    assert (answer.parent, answer.parent_message_id) == (Parent.KNOWN, reply)
    assert answer.conversation_id == first.conversation_id


async def test_a_ticket_that_no_message_of_ours_opened_is_named_as_by_a_token(smtp: Ingest) -> None:
    ticket = uuid4()
    await deliver(smtp, ticket)
    await smtp.mail(mail(2, In_Reply_To="<d1@acme.example>"), "support@acme.example")
    token = mail_token.address(TOKEN_KEY, "acme", ticket, "acme.example")
    await smtp.mail(mail(3), token)
    by_id, by_token = await smtp.received()
    assert by_id.token_ticket_id == by_token.token_ticket_id == ticket
    assert by_id.conversation_id == by_token.conversation_id


async def test_an_answer_that_is_faster_than_the_event_does_not_mislead_the_next(smtp: Ingest) -> None:
    ticket = await opened(smtp)
    await smtp.mail(mail(2, In_Reply_To="<d1@acme.example>"), "support@acme.example")
    await deliver(smtp, ticket)
    await deliver(smtp, ticket)
    await smtp.mail(mail(3, In_Reply_To="<d1@acme.example>"), "support@acme.example")
    first, early, late = await smtp.received()
    assert early.parent == Parent.UNKNOWN
    assert late.conversation_id == first.conversation_id
    assert late.parent == Parent.KNOWN


async def test_our_mails_are_ours_only_within_their_tenant(smtp: Ingest) -> None:
    await deliver(smtp, await opened(smtp))
    await smtp.mail(mail(2, In_Reply_To="<d1@acme.example>"), "help@beta.example")
    await smtp.mail(dsn(FAILED), "help@beta.example", sender="")
    for foreign in (await smtp.received())[1:]:
        assert foreign.parent == Parent.UNKNOWN
        assert foreign.token_ticket_id is None
    assert await suppressed(smtp.database) == []


async def test_a_mail_of_ours_that_comes_back_opens_no_ticket(smtp: Ingest) -> None:
    await deliver(smtp, await opened(smtp), "m2@customer.example")
    await smtp.mail(mail(2, X_Loop="deskwire"), "support@acme.example")
    first, back = await smtp.received()
    assert back.automatic
    assert (back.parent, back.conversation_id) == (Parent.KNOWN, first.conversation_id)


async def test_a_bounce_suppresses_whom_the_mail_went_to_and_stays_with_its_ticket(smtp: Ingest) -> None:
    await deliver(smtp, await opened(smtp))
    await smtp.mail(dsn(FAILED), "support@acme.example", sender="")
    first, bounce = await smtp.received()
    assert bounce.automatic
    assert (bounce.parent, bounce.conversation_id) == (Parent.KNOWN, first.conversation_id)
    (event,) = await suppressed(smtp.database)
    assert event is not None
    assert (event.person_id, event.reason, event.detail, event.version) == (person("acme", ANN), "bounced", "5.1.1", 1)
    assert event.suppression_key == f"acme/{person('acme', ANN)}"
    assert event.until is not None
    await smtp.mail(dsn(FAILED), "support@acme.example", sender="")
    assert len(await suppressed(smtp.database)) == 1


async def test_a_bounce_that_is_faster_than_the_event_counts_when_it_comes(smtp: Ingest) -> None:
    ticket = await opened(smtp)
    await smtp.mail(dsn(FAILED), "support@acme.example", sender="")
    assert await suppressed(smtp.database) == []
    await deliver(smtp, ticket)
    assert len(await suppressed(smtp.database)) == 1
    assert await smtp.database.fetchval("SELECT count(*) FROM early_report") == 0


async def test_a_report_by_our_signed_address_suppresses_those_we_wrote_to_and_no_others(smtp: Ingest) -> None:
    ticket = await opened(smtp)
    await deliver(smtp, ticket)
    token = mail_token.address(TOKEN_KEY, "acme", ticket, "acme.example")
    other = FAILED.replace("ann@", "boss@")
    await smtp.mail(dsn(other, "Subject: cut off\r\n"), token, sender="")
    assert await suppressed(smtp.database) == []
    await smtp.mail(dsn(FAILED, "Subject: cut off as well\r\n").replace(b"<b1@", b"<b2@"), token, sender="")
    assert [event and event.person_id for event in await suppressed(smtp.database)] == [person("acme", ANN)]


@pytest.mark.parametrize(
    "raw",
    [
        pytest.param(dsn(FAILED, "Message-ID: <somebody-else@x.example>\r\n"), id="not a mail of ours"),
        pytest.param(dsn(FAILED, "Subject: nothing\r\n"), id="no mail named"),
        pytest.param(dsn(FAILED.replace("5.1.1", "4.4.7")), id="temporary"),
        pytest.param(dsn(FAILED.replace("failed", "delayed")), id="delayed"),
        pytest.param(
            dsn(FAILED, Authentication_Results="mx.acme.example; dmarc=fail"), id="not from whom it claims to be"
        ),
    ],
)
async def test_nobody_is_suppressed_by(smtp: Ingest, raw: bytes) -> None:
    await deliver(smtp, await opened(smtp))
    await smtp.mail(raw, "support@acme.example", sender="")
    assert await suppressed(smtp.database) == []
    assert (await smtp.received())[-1].automatic


async def test_suppressions_are_listed_added_and_lifted_with_rising_versions(smtp: Ingest) -> None:
    admin = "acme/admin"
    made = await smtp.call(admin, "POST", "/v1/suppressions", {"address": "Ann@Customer.example", "detail": "asked"})
    assert made.status_code == 201, made.text
    told = made.json()
    assert (told["reason"], told["address"], told["version"]) == ("manual", ANN, 1)
    path = f"/v1/suppressions/{told['person_id']}"
    # It lasts for ever: a bounce has nothing to add.
    await deliver(smtp, await opened(smtp))
    await smtp.mail(dsn(FAILED), "support@acme.example", sender="")
    assert [one["reason"] for one in (await smtp.call(admin, "GET", "/v1/suppressions")).json()["items"]] == ["manual"]
    assert (await smtp.call("beta/admin", "GET", path)).status_code == 404
    assert (await smtp.call("beta/admin", "DELETE", path)).status_code == 404
    assert (await smtp.call("acme/agent", "DELETE", path)).status_code == 403
    assert (await smtp.call(admin, "DELETE", path)).status_code == 204
    assert (await smtp.call(admin, "DELETE", path)).status_code == 404
    assert (await smtp.call(admin, "GET", "/v1/suppressions")).json()["items"] == []
    await smtp.mail(dsn(FAILED).replace(b"<b1@", b"<b2@"), "support@acme.example", sender="")
    first, tombstone, *_ = events = await suppressed(smtp.database)
    assert tombstone is None
    assert first is not None
    assert [event and event.version for event in events] == [1, None, 3]


async def test_a_suppression_of_nonsense_is_refused_by_name(ingest: Ingest) -> None:
    answer = await ingest.call("acme/admin", "POST", "/v1/suppressions", {"address": "nobody", "until": "soon"})
    assert answer.status_code == 422
    assert {error["pointer"] for error in answer.json()["errors"]} == {"/address", "/until"}
