"""The certificates of engines that a checkout starts itself."""

from __future__ import annotations

import ssl
from pathlib import Path

import pytest

from deploy.containers.certificates import Authority, write


def handshake(asking: ssl.SSLContext, serving: ssl.SSLContext, host: str) -> str | None:
    """The version of TLS that both agree on, in memory; raises what the client says of the certificate."""
    there, back = ssl.MemoryBIO(), ssl.MemoryBIO()
    client = asking.wrap_bio(back, there, server_hostname=host)
    server = serving.wrap_bio(there, back, server_side=True)
    for one in (client, server, client):
        try:
            one.do_handshake()
        except ssl.SSLWantReadError:
            continue
    return client.version()


@pytest.mark.parametrize("host", ["127.0.0.1", "postgres"])
def test_a_strict_client_believes_them_for_the_hosts_they_name_and_for_no_other(host: str, tmp_path: Path) -> None:
    authority, certificate, key = write(tmp_path, Authority(), host)
    serving = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    serving.load_cert_chain(certificate, key)
    asking = ssl.create_default_context(cafile=str(authority))
    asking.verify_flags |= ssl.VERIFY_X509_STRICT
    assert handshake(asking, serving, host) == "TLSv1.3"
    with pytest.raises(ssl.SSLCertVerificationError, match="mismatch"):
        handshake(asking, serving, "localhost")
