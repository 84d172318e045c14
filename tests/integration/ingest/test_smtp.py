"""The SMTP listener in real conversations: 250 means stored, and nothing is lost while an engine is away."""

from __future__ import annotations

import asyncio
import smtplib
import socket
from email import policy
from email.message import EmailMessage

import asyncpg
import pytest

from shared.auth import mail_token
from shared.contracts import ids
from shared.contracts.message import Channel, Parent
from tests.integration.ingest.conftest import TOKEN_KEY, Ingest, aside
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


def mail(number: int = 0, body: str = "It is broken.", **headers: str) -> bytes:
    """A plain mail."""
    made = EmailMessage()
    made["From"] = "Ann Example <ann@customer.example>"
    made["To"] = "support@acme.example"
    made["Subject"] = f"Help {number}"
    made["Date"] = "Sat, 21 Nov 2026 10:00:00 +0000"
    made["Message-ID"] = f"<m{number}@customer.example>"
    for name, value in headers.items():
        made[name.replace("_", "-")] = value
    made.set_content(body)
    return made.as_bytes(policy=policy.SMTP)


async def test_a_mail_answered_250_is_stored_with_its_bytes(smtp: Ingest) -> None:
    assert await smtp.mail(mail(1), "support@acme.example") == {}
    (event,) = await smtp.received()
    assert (event.tenant_id, event.channel, event.subject) == ("acme", Channel.EMAIL, "Help 1")
    assert (event.sender.address, event.sender.name) == ("ann@customer.example", "Ann Example")
    assert event.body.text == "It is broken."
    assert event.external_id == "m1@customer.example"
    assert not event.automatic
    assert event.original is not None
    assert await smtp.blobs.get("acme", event.original.sha256) == mail(1)


async def test_an_unknown_recipient_is_refused_and_the_known_one_served(smtp: Ingest) -> None:
    refused = await smtp.mail(mail(), "nobody@acme.example", "support@acme.example", "a@elsewhere.example")
    assert {address: code for address, (code, _) in refused.items()} == {
        "nobody@acme.example": 550,
        "a@elsewhere.example": 550,
    }
    assert len(await smtp.received()) == 1


async def test_tags_case_and_postmaster_find_their_tenant(smtp: Ingest) -> None:
    assert await smtp.mail(mail(1), "Support+VIP@ACME.example") == {}
    assert await smtp.mail(mail(2), "postmaster@beta.example") == {}
    assert [event.tenant_id for event in await smtp.received()] == ["acme", "beta"]


async def test_a_tenant_with_domains_and_no_addresses_takes_all_their_mail(smtp: Ingest) -> None:
    await smtp.tenant("gamma", domains=("gamma.example",))
    assert await smtp.mail(mail(), "anything@gamma.example") == {}


async def test_recipients_of_two_tenants_become_one_message_each(smtp: Ingest) -> None:
    await smtp.mail(mail(), "support@acme.example", "sales@acme.example", "help@beta.example")
    acme, beta = await smtp.received()
    assert (acme.tenant_id, beta.tenant_id) == ("acme", "beta")
    assert acme.message_id != beta.message_id
    assert await smtp.database.fetchval("SELECT accounts FROM message WHERE tenant_id = 'acme'") == [
        "support@acme.example",
        "sales@acme.example",
    ]


async def test_one_mail_to_two_addresses_is_one_message_that_remembers_both(smtp: Ingest) -> None:
    received = b"Received: from x by y; Sat, 21 Nov 2026 10:00:01 +0000\r\n"
    await smtp.mail(mail(1), "support@acme.example")
    await smtp.mail(received + mail(1), "sales@acme.example")
    assert len(await smtp.received()) == 1
    accounts = await smtp.database.fetchval("SELECT accounts FROM message")
    assert sorted(accounts) == ["sales@acme.example", "support@acme.example"]


async def test_another_mail_under_a_copied_message_id_is_not_swallowed(smtp: Ingest) -> None:
    await smtp.mail(mail(1, "first"), "support@acme.example")
    await smtp.mail(mail(1, "forged"), "support@acme.example")
    assert [event.body.text for event in await smtp.received()] == ["first", "forged"]


async def test_an_answer_joins_its_parents_conversation(smtp: Ingest) -> None:
    await smtp.mail(mail(1), "support@acme.example")
    await smtp.mail(mail(2, In_Reply_To="<m1@customer.example>"), "support@acme.example")
    await smtp.mail(mail(3, References="<m0@customer.example> <m1@customer.example>"), "support@acme.example")
    first, *answers = await smtp.received()
    for answer in answers:
        assert answer.conversation_id == first.conversation_id
        assert (answer.parent, answer.parent_message_id) == (Parent.KNOWN, first.message_id)


async def test_a_thread_of_another_tenant_is_never_joined(smtp: Ingest) -> None:
    await smtp.mail(mail(1), "support@acme.example")
    await smtp.mail(mail(2, In_Reply_To="<m1@customer.example>"), "help@beta.example")
    first, second = await smtp.received()
    assert second.parent == Parent.UNKNOWN
    assert second.conversation_id != first.conversation_id


async def test_two_answers_to_an_unseen_mail_at_once_share_a_conversation(smtp: Ingest) -> None:
    answers = [mail(n, In_Reply_To="<unseen@customer.example>") for n in range(1, 9)]
    await asyncio.gather(*(smtp.mail(one, "support@acme.example") for one in answers))
    await smtp.mail(mail(0).replace(b"m0@", b"unseen@"), "support@acme.example")
    events = await smtp.received()
    assert len(events) == 9
    assert len({event.conversation_id for event in events}) == 1


async def test_a_signed_reply_address_names_its_ticket(smtp: Ingest) -> None:
    await smtp.mail(mail(1), "support@acme.example")
    (first,) = await smtp.received()
    ticket = ids.ticket_id("acme", first.message_id)
    address = mail_token.address(TOKEN_KEY, "acme", ticket, "acme.example")
    await smtp.mail(mail(2), address.upper())
    answer = (await smtp.received())[-1]
    assert answer.token_ticket_id == ticket
    assert (answer.conversation_id, answer.parent_message_id) == (first.conversation_id, first.message_id)


async def test_a_forged_or_foreign_token_is_an_ordinary_mail(smtp: Ingest) -> None:
    ticket = ids.ticket_id("acme", ids.message_id("acme", "email", "x"))
    foreign = mail_token.address(TOKEN_KEY, "acme", ticket, "beta.example")
    await smtp.mail(mail(1), foreign)
    await smtp.mail(mail(2), "reply+aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa@beta.example")
    assert [event.token_ticket_id for event in await smtp.received()] == [None, None]


async def test_a_mail_too_large_is_refused_before_and_after_its_data(smtp: Ingest) -> None:
    smtp.reception.most_bytes = 100_000
    with pytest.raises(smtplib.SMTPResponseException) as refused:
        await smtp.mail(mail(body="x" * 70 + "\n") + b"y" * 200_000, "support@acme.example")
    assert refused.value.smtp_code == 552
    assert not await smtp.received()


async def test_lines_of_any_length_are_taken(smtp: Ingest) -> None:
    raw = mail(1).rstrip() + b"\r\n" + b"long " * 60_000 + b"\r\n..dots\r\n"
    with socket.create_connection(("127.0.0.1", smtp.reception.port)) as client:
        answer = await aside(_converse, client, raw, "support@acme.example")
    assert answer.startswith(b"250")
    (event,) = await smtp.received()
    assert (await smtp.text(event)).count("long") == 60_000
    assert (await smtp.text(event)).endswith(".dots")


async def test_a_bare_line_feed_does_not_end_a_mail(smtp: Ingest) -> None:
    raw = mail(1) + b"x\n.\nMAIL FROM:<evil@x.example>\r\n\n.\r\nstill the same mail\r\n"
    with socket.create_connection(("127.0.0.1", smtp.reception.port)) as client:
        answer = await aside(_converse, client, raw, "support@acme.example")
    assert answer.startswith(b"250")
    (event,) = await smtp.received()
    assert "still the same mail" in (event.body.text or "")


async def test_a_report_with_the_null_return_path_is_automatic(smtp: Ingest) -> None:
    await smtp.mail(mail(1), "support@acme.example", sender="")
    (event,) = await smtp.received()
    assert event.automatic


async def test_nothing_is_lost_while_the_database_is_away(
    smtp: Ingest, admin: asyncpg.Connection[asyncpg.Record]
) -> None:
    name = await admin.fetchval("SELECT current_database()")
    role = "scratch_data"
    await smtp.mail(mail(1), "support@acme.example")
    # A session that got its recipient accepted, and then the database goes.
    client = await aside(smtplib.SMTP, "127.0.0.1", smtp.reception.port)
    await aside(client.ehlo)
    await aside(client.mail, "ann@customer.example")
    assert (await aside(client.rcpt, "support@acme.example"))[0] == 250
    await admin.execute(f'REVOKE CONNECT ON DATABASE "{name}" FROM PUBLIC')
    await admin.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1 AND usename = $2", name, role
    )
    code, _ = await aside(client.data, mail(2))
    assert code == 451
    with pytest.raises(smtplib.SMTPRecipientsRefused) as refused:
        await smtp.mail(mail(2), "support@acme.example")
    assert refused.value.recipients["support@acme.example"][0] == 451
    await admin.execute(f'GRANT CONNECT ON DATABASE "{name}" TO PUBLIC')

    async def taken() -> bool:
        try:
            return await smtp.mail(mail(2), "support@acme.example") == {}
        except smtplib.SMTPException:
            return False

    await eventually(taken)
    client.close()
    assert [event.subject for event in await smtp.received()] == ["Help 1", "Help 2"]


async def test_a_sender_that_hangs_up_before_the_answer_may_send_again(smtp: Ingest) -> None:
    def hang_up() -> None:
        client = smtplib.SMTP("127.0.0.1", smtp.reception.port)
        client.ehlo()
        client.mail("a@b.example")
        client.rcpt("support@acme.example")
        client.docmd("DATA")
        client.send(mail(7) + b".\r\n")
        client.close()

    await asyncio.gather(*(aside(hang_up) for _ in range(3)))
    assert await smtp.mail(mail(7), "support@acme.example") == {}
    assert len(await smtp.received()) == 1


async def test_too_many_connections_are_asked_to_come_again(smtp: Ingest) -> None:
    smtp.reception.most_connections = 2
    first, second = (socket.create_connection(("127.0.0.1", smtp.reception.port)) for _ in range(2))
    await aside(first.recv, 100)
    await aside(second.recv, 100)
    third = socket.create_connection(("127.0.0.1", smtp.reception.port))
    assert (await aside(third.recv, 100)).startswith(b"421")
    for client in (first, second, third):
        client.close()


async def test_forty_mails_at_once_are_forty_messages(smtp: Ingest) -> None:
    await asyncio.gather(*(smtp.mail(mail(n), "support@acme.example") for n in range(40)))
    assert len(await smtp.received()) == 40


def _converse(client: socket.socket, raw: bytes, recipient: str) -> bytes:
    """The answer to a mail sent byte by byte as given."""
    answers = client.makefile("rb")

    def answer() -> bytes:
        while True:
            line = answers.readline()
            if line[3:4] == b" ":
                return line

    answer()
    for line in (b"EHLO x", b"MAIL FROM:<a@b.example>", b"RCPT TO:<" + recipient.encode() + b">", b"DATA"):
        client.sendall(line + b"\r\n")
        assert answer()[:1] in {b"2", b"3"}
    client.sendall(raw + b"\r\n.\r\n")
    return answer()
