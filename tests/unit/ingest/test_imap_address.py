"""Which hosts a mailbox may be on: judged before anything connects."""

from __future__ import annotations

from typing import Any

import pytest

from services.ingest.channels import imap
from shared.egress.rules import networks


def account(host: str, **given: Any) -> imap.Account:
    values = {"port": 1, "tls": "tls", "username": "u", "password": "p", "folder": "INBOX", "writable": False, **given}
    return imap.Account(host=host, **values)


@pytest.mark.parametrize(
    "host", ["127.0.0.1", "10.1.2.3", "169.254.169.254", "::1", "64:ff9b::7f00:1", "2002:7f00:1::"]
)
def test_an_address_that_is_not_public_or_carries_another_one_is_refused(host: str) -> None:
    with pytest.raises(imap.MailboxError, match="not a public address") as refused:
        imap.Connection.open(account(host))
    assert refused.value.problem == "address"


def test_without_encryption_only_networks_that_the_operator_opened_are_read() -> None:
    with pytest.raises(imap.MailboxError, match="without encryption") as refused:
        imap.Connection.open(account("1.1.1.1", tls="none"))
    assert refused.value.problem == "tls"


def test_a_network_that_the_operator_opened_is_connected_to() -> None:
    with pytest.raises(imap.MailboxError) as away:
        imap.Connection.open(account("127.0.0.1", tls="none", allowed_networks=networks("10.0.0.0/8, 127.0.0.0/8")))
    assert away.value.problem == "connect"
