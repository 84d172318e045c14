"""Encryption both ways: our listener offers STARTTLS, and a mail server must prove who it is."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest

from deploy.containers import certificates
from deploy.containers.certificates import Authority
from services.ingest.channels.smtp import Reception
from tests.integration.ingest.conftest import TOKEN_KEY, Ingest, aside
from tests.integration.ingest.test_smtp import mail
from tests.support.imap import PASSWORD, USER, imap_server
from tests.support.waiting import eventually

pytestmark = pytest.mark.engines


async def test_a_mail_is_taken_over_starttls(ingest: Ingest, tmp_path: Path) -> None:
    authority, cert, key = certificates.write(tmp_path, Authority(), "127.0.0.1")
    await ingest.tenant("acme", "support@acme.example")
    settings = ingest.settings.model_copy(
        update={"smtp_port": 0, "smtp_cert_file": str(cert), "smtp_key_file": str(key)}
    )
    reception = Reception(settings, ingest.database, ingest.mailroom, ingest.measures, token_key=TOKEN_KEY)
    listening = asyncio.create_task(reception.run())

    async def up() -> bool:
        return reception.port != 0

    await eventually(up)

    def send() -> tuple[str, dict[str, Any]]:
        with smtplib.SMTP("127.0.0.1", reception.port, timeout=30) as client:
            client.starttls(context=ssl.create_default_context(cafile=str(authority)))
            assert isinstance(client.sock, ssl.SSLSocket)
            version = client.sock.version() or ""
            return version, client.sendmail("ann@customer.example", ["support@acme.example"], mail(1))

    version, refused = await aside(send)
    assert (version, refused) == ("TLSv1.3", {})
    assert [event.subject for event in await ingest.received()] == ["Help 1"]
    listening.cancel()
    await asyncio.wait([listening])


async def test_a_mailbox_is_read_only_where_its_server_proves_who_it_is(ingest: Ingest, tmp_path: Path) -> None:
    authority, cert, key = certificates.write(tmp_path, Authority(), "127.0.0.1")
    with imap_server(cert=cert, key=key) as server:
        body = {
            "host": "127.0.0.1",
            "port": server.port,
            "tls": "starttls",
            "username": USER,
            "password": PASSWORD,
        }
        made = await ingest.call("acme/admin", "POST", "/v1/mailboxes", body)
        path = f"/v1/mailboxes/{UUID(made.json()['mailbox_id'])}/check"
        strange = (await ingest.call("acme/admin", "POST", path)).json()
        assert (strange["ok"], strange["problem"]) == (False, "tls")
        assert "certificate" in strange["detail"].lower()
        ingest.mailboxes._settings = ingest.settings.model_copy(update={"imap_ca_file": str(authority)})
        assert (await ingest.call("acme/admin", "POST", path)).json()["ok"] is True
