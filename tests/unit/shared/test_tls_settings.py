"""TLS to the engines: what is demanded of an address, and files that hold no authority."""

from __future__ import annotations

from pathlib import Path

import pytest

from cli.installation import administrator
from deploy.containers.certificates import Authority
from services.tickets.settings import Settings
from shared.settings import SettingsError, verified

URL = "postgresql://tickets:pw@db.example:5432/tickets"


def test_an_authority_demands_its_certificate_and_the_servers_name() -> None:
    assert verified(URL, "/run/secrets/ca") == f"{URL}?sslmode=verify-full&sslrootcert=/run/secrets/ca"
    assert verified(f"{URL}?application_name=x", "/ca").endswith(
        "?application_name=x&sslmode=verify-full&sslrootcert=/ca"
    )


@pytest.mark.parametrize("url", [URL, f"{URL}?sslmode=disable", ""])
def test_an_address_that_says_itself_what_it_demands_stays_as_it_is(url: str) -> None:
    assert verified(url, "/ca" if "sslmode" in url or not url else "") == url


def test_every_service_and_the_command_line_go_by_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    authority = tmp_path / "ca.pem"
    authority.write_text(Authority().certificate())
    monkeypatch.setenv("DATABASE_CA_FILE", str(authority))
    monkeypatch.setenv("TICKETS_DATABASE_URL", URL)
    monkeypatch.setenv("DATABASE_URL", URL)
    assert Settings.load().database_url.get_secret_value() == verified(URL, str(authority))
    assert administrator() == verified(URL, str(authority))


@pytest.mark.parametrize("variable", ["DATABASE_CA_FILE", "KAFKA_CA_FILE"])
@pytest.mark.parametrize(("content", "why"), [(None, "No such file"), ("not a certificate", "NO_CERTIFICATE")])
def test_a_file_without_an_authority_is_refused_at_the_start(
    variable: str, content: str | None, why: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    monkeypatch.setenv(variable, str(path))
    with pytest.raises(SettingsError, match=f"{variable}: .*{why}"):
        Settings.load()
