"""Settings every service has, read from the environment and refused with the name of what is wrong.

A service's own prefix comes first: `TICKETS_KAFKA_URL` overrides `KAFKA_URL` for tickets alone. Secrets may be given
as files in `/run/secrets` (`SECRETS_DIR`), named like the variables in lower case; a variable that is set wins.
`--print-config` shows them with secrets hidden.
"""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import ssl
import sys
from pathlib import Path
from typing import Any, ClassVar, Self
from urllib.parse import quote, urlsplit, urlunsplit

from pydantic import Field, SecretStr, ValidationError, ValidationInfo, field_validator
from pydantic.fields import FieldInfo
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict
from typing_extensions import override

SECRETS = Path("/run/secrets")
"""Where Compose and Kubernetes put secrets; `SECRETS_DIR` names another folder."""


class SettingsError(Exception):
    """The environment does not configure this service; says which variable and why."""


class ServiceSettings(BaseSettings):
    """What every service needs to know; a subclass adds its own and names its prefix."""

    model_config = SettingsConfigDict(frozen=True, extra="ignore", secrets_dir=None)

    SERVICE: ClassVar[str]
    SOCKETS: ClassVar[bool] = False
    """Whether it takes WebSockets; the others need not load what that takes."""

    kafka_url: str = Field("127.0.0.1:9092", description="Kafka bootstrap servers, host:port separated by commas.")
    kafka_username: str = Field("", description="SASL SCRAM-SHA-512 user; empty for a plaintext listener.")
    kafka_password: SecretStr = Field(SecretStr(""), description="SASL password.")
    kafka_ca_file: str = Field("", description="CA certificate for TLS to Kafka; empty for no TLS.")
    database_ca_file: str = Field(
        "", description="CA certificate for TLS to PostgreSQL, whose name is verified too; empty for what the URL says."
    )
    database_url: SecretStr = Field(
        SecretStr(""), description="postgresql:// address of this service's own database, with its data role."
    )
    topic_prefix: str = Field("", description="Put before every topic and group, to share a broker.")
    blobs_url: str = Field("", description="Where blobs live: file:///folder or s3://bucket/prefix.")
    master_key_file: str = Field("", description="File (0600) with the 32-byte master key in hex.")
    master_key: SecretStr = Field(SecretStr(""), description="The master key in hex; wins over the file.")
    http_host: str = Field("127.0.0.1", description="Address the API and the health endpoints listen on.")
    http_port: int = Field(8000, ge=0, le=65535, description="Port of the API and the health endpoints; 0 for any.")
    log_level: str = Field("info", pattern="^(debug|info|warning|error)$", description="Least severe level logged.")
    drain_seconds: float = Field(25.0, gt=0, description="How long a stopping process may finish what it began.")
    linger_milliseconds: int = Field(10, ge=0, le=1000, description="Longest wait for a fuller batch under load.")
    poll_interval_milliseconds: int = Field(
        300_000, ge=1000, description="max.poll.interval of consumers: a silent one loses its partitions after this."
    )
    session_timeout_milliseconds: int = Field(10_000, ge=1000, description="Consumer group session timeout.")
    inbox_days: int = Field(67, ge=1, description="Inbox partitions older than this go: topic + DLQ retention + 7.")
    crash_at: str = Field("", description="Fault tests only: crash point to die at, name:count.")

    @field_validator("kafka_ca_file", "database_ca_file")
    @classmethod
    def _is_an_authority(cls, path: str) -> str:
        """Refused at the start: without its authority a client would only say that the engine does not answer."""
        if path:
            try:
                ssl.create_default_context(cafile=path)
            except OSError as error:
                msg = f"no CA certificate (PEM) can be read from {path}: {error.strerror or 'it holds none'}"
                raise ValueError(msg) from error
        return path

    @field_validator("database_url")
    @classmethod
    def _with_authority(cls, url: SecretStr, info: ValidationInfo) -> SecretStr:
        """Every connection, wherever it is opened, goes by this address."""
        return SecretStr(verified(url.get_secret_value(), info.data.get("database_ca_file", "")))

    @classmethod
    @override
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,
        file_secret_settings: PydanticBaseSettingsSource,
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Arguments, then the service's own variables, then the common ones, then secret files."""
        del dotenv_settings, file_secret_settings
        return init_settings, env_settings, _Common(settings_cls), _Files(settings_cls)

    @classmethod
    def load(cls) -> Self:
        """Read the environment. Raises SettingsError naming each variable that is wrong."""
        try:
            return cls()
        except ValidationError as error:
            prefix = cls.model_config.get("env_prefix", "")
            lines = [f"{prefix}{str(e['loc'][0]).upper()}: {e['msg']}" for e in error.errors() if e["loc"]]
            raise SettingsError("\n".join(lines)) from error

    def group(self, suffix: str = "") -> str:
        """The consumer group of this service, or of one of its mechanisms (`replica`)."""
        name = f"{self.SERVICE}.{suffix}" if suffix else self.SERVICE
        return self.topic_prefix + name

    def topic(self, name: str) -> str:
        """The broker's name of a topic of the manifest."""
        return self.topic_prefix + name

    def printable(self) -> str:
        """JSON with secrets hidden, also those inside addresses."""
        values: dict[str, Any] = {}
        for name, value in self:
            values[name] = ("**********" if value.get_secret_value() else "") if isinstance(value, SecretStr) else value
        return json.dumps(values, indent=2, default=str)


class _Common(PydanticBaseSettingsSource):
    """Variables without a prefix, which all services of an installation share (`KAFKA_URL`)."""

    SHARED: ClassVar[frozenset[str]] = frozenset(
        {
            "kafka_url",
            "kafka_username",
            "kafka_password",
            "kafka_ca_file",
            "database_ca_file",
            "topic_prefix",
            "blobs_url",
            "master_key_file",
            "master_key",
            "log_level",
            "drain_seconds",
            "linger_milliseconds",
            "poll_interval_milliseconds",
            "session_timeout_milliseconds",
            "inbox_days",
            "crash_at",
            "http_host",
        }
    )

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One value from the environment without a prefix."""
        del field
        return (os.environ.get(field_name.upper()) if field_name in self.SHARED else None), field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        """Every value that is set."""
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


class _Files(PydanticBaseSettingsSource):
    """Files of the secrets folder: own ones (`tickets_database_url`) before common ones (`kafka_password`)."""

    @override
    def get_field_value(self, field: FieldInfo, field_name: str) -> tuple[Any, str, bool]:
        """One value from a file."""
        del field
        prefix = str(self.settings_cls.model_config.get("env_prefix", ""))
        value = secret_file(prefix + field_name)
        if value is None and field_name in _Common.SHARED:
            value = secret_file(field_name)
        return value, field_name, False

    @override
    def __call__(self) -> dict[str, Any]:
        """Every value there is a file for."""
        if not _secrets().is_dir():
            return {}
        found = {}
        for name, field in self.settings_cls.model_fields.items():
            value, key, _ = self.get_field_value(field, name)
            if value is not None:
                found[key] = value
        return found


def secret_file(name: str) -> str | None:
    """The content of a secret's file without the white space around it; None when there is none.

    Raises SettingsError when it may not be read: a service that starts without its secret would only fail later.
    """
    path = _secrets() / name.lower()
    try:
        return path.read_text(encoding="utf-8").strip()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except (OSError, UnicodeDecodeError) as error:
        raise SettingsError(f"{name.upper()}: {path} cannot be read: {type(error).__name__}") from error


def verified(url: str, ca_file: str) -> str:
    """A PostgreSQL address that demands TLS, a certificate of that authority and the host's own name in it.

    Unchanged without a file, or where the address says itself what it demands (`sslmode`).
    """
    parts = urlsplit(url)
    if not url or not ca_file or "sslmode=" in parts.query:
        return url
    demanded = f"sslmode=verify-full&sslrootcert={quote(ca_file)}"
    return urlunsplit(parts._replace(query=f"{parts.query}&{demanded}" if parts.query else demanded))


def variable(name: str) -> str | None:
    """A variable of the environment or, where it is not set, the secret's file of that name."""
    value = os.environ.get(name)
    return secret_file(name) if value is None else value


def _secrets() -> Path:
    return Path(os.environ.get("SECRETS_DIR") or SECRETS)


def master_key(settings: ServiceSettings) -> bytes:
    """The 32-byte master key; made on first use in a 0600 file when only a file is named.

    Raises SettingsError when there is none, or it is not 32 bytes of hex.
    """
    text = settings.master_key.get_secret_value()
    if not text and settings.master_key_file:
        text = _key_file(Path(settings.master_key_file))
    try:
        key = bytes.fromhex(text)
    except ValueError as error:
        msg = "MASTER_KEY: not hexadecimal"
        raise SettingsError(msg) from error
    if len(key) != 32:
        msg = "MASTER_KEY or MASTER_KEY_FILE: 32 bytes in hex are needed; `openssl rand -hex 32` makes one"
        raise SettingsError(msg)
    return key


def _key_file(path: Path) -> str:
    if not path.exists():
        # Linked into place whole: two services starting together must neither make two keys nor read half of one.
        draft = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
        try:
            descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w") as out:
                out.write(secrets.token_hex(32))
                out.flush()
                os.fsync(out.fileno())
            with contextlib.suppress(FileExistsError):
                os.link(draft, path)
            draft.unlink()
        except OSError as error:
            msg = f"MASTER_KEY_FILE: {error.strerror}: {path}"
            raise SettingsError(msg) from error
    return path.read_text().strip()


def refuse(error: SettingsError) -> None:
    """Say what is wrong and end the process with status 2."""
    print(f"configuration refused:\n{error}", file=sys.stderr)  # noqa: T201 - before logging is set up
    raise SystemExit(2)
