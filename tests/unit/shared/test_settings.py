"""Where a setting comes from: arguments, a service's own variable, the common one, files of secrets."""

from __future__ import annotations

from pathlib import Path
from typing import ClassVar

import pytest
from pydantic_settings import SettingsConfigDict

from shared.settings import ServiceSettings, SettingsError, variable


class Sample(ServiceSettings):
    model_config = SettingsConfigDict(env_prefix="SAMPLE_", frozen=True, extra="ignore")
    SERVICE: ClassVar[str] = "sample"


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    for name in ("KAFKA_PASSWORD", "SAMPLE_KAFKA_PASSWORD", "SAMPLE_DATABASE_URL", "DATABASE_URL", "MASTER_KEY"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SECRETS_DIR", str(tmp_path))
    return tmp_path


def test_secrets_come_from_files_without_the_newline_behind_them(folder: Path) -> None:
    (folder / "sample_database_url").write_text("postgresql://sample:s3@db/sample\n")
    (folder / "kafka_password").write_text("everybody's\n")
    settings = Sample.load()
    assert settings.database_url.get_secret_value() == "postgresql://sample:s3@db/sample"
    assert settings.kafka_password.get_secret_value() == "everybody's"
    assert "s3@" not in settings.printable()


def test_a_services_own_file_goes_before_the_common_one_and_a_variable_before_both(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (folder / "kafka_password").write_text("everybody's")
    (folder / "sample_kafka_password").write_text("its own")
    assert Sample.load().kafka_password.get_secret_value() == "its own"
    monkeypatch.setenv("KAFKA_PASSWORD", "set")
    assert Sample.load().kafka_password.get_secret_value() == "set"


def test_the_administrators_address_is_not_a_services(folder: Path) -> None:
    (folder / "database_url").write_text("postgresql://postgres@db/postgres")
    assert Sample.load().database_url.get_secret_value() == ""
    assert variable("DATABASE_URL") == "postgresql://postgres@db/postgres"


def test_a_secret_that_cannot_be_read_is_refused_by_name(folder: Path) -> None:
    (folder / "master_key").mkdir()
    with pytest.raises(SettingsError, match="MASTER_KEY"):
        Sample.load()


def test_without_the_folder_there_are_no_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SECRETS_DIR", "/nowhere/at/all")
    assert Sample.load().master_key.get_secret_value() == ""
    assert variable("MASTER_KEY") is None
