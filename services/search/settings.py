"""What search is told by its environment (prefix `SEARCH_`)."""

from __future__ import annotations

from typing import ClassVar

from pydantic import AliasChoices, Field, SecretStr, field_validator
from pydantic_settings import SettingsConfigDict

from shared.http import HttpSettings


class Settings(HttpSettings):
    """Settings of search."""

    model_config = SettingsConfigDict(env_prefix="SEARCH_", frozen=True, extra="ignore", populate_by_name=True)

    SERVICE: ClassVar[str] = "search"

    opensearch_url: str = Field(
        "http://127.0.0.1:9200",
        validation_alias=AliasChoices("SEARCH_OPENSEARCH_URL", "OPENSEARCH_URL"),
        description="http(s):// address of OpenSearch, without credentials.",
    )
    opensearch_username: str = Field("", description="User of OpenSearch; empty where it asks for none.")
    opensearch_password: SecretStr = Field(SecretStr(""), description="That user's password.")
    opensearch_ca_file: str = Field("", description="CA certificate of OpenSearch; empty for the system's.")
    index_prefix: str = Field(
        "", pattern="^[a-z0-9-]*$", description="Put before the names of indexes and aliases, to share an engine."
    )
    shards: int = Field(1, ge=1, le=64, description="Shards of a new index; tenants are routed to one each.")
    replicas: str = Field("0-1", description="Copies of each shard, by the number of nodes (auto_expand_replicas).")
    linger_seconds: float = Field(
        0.2, ge=0.01, le=5, description="Between two looks for changed tickets, unless the last one found many."
    )
    search_seconds: float = Field(2.0, gt=0, le=30, description="Longest time a search may take.")
    bulk_seconds: float = Field(20.0, gt=0, le=120, description="Longest time one write to the index may take.")
    operator_tenant: str = Field(
        "", description="Tenant whose administrators may rebuild the index; empty where every tenant's may."
    )
    duplicate_share: float = Field(
        0.2, ge=0, le=1, description="Share of time in which the index may be asked for duplicates; 0 for never."
    )
    duplicate_delay_seconds: float = Field(
        1.6, ge=0, le=60, description="After its creation a ticket is checked against the index; by then others are in."
    )
    duplicate_patience_seconds: float = Field(
        120.0, gt=0, description="A check against the index that waited longer is left out and counted as such."
    )
    duplicate_minutes: float = Field(
        120.0, gt=0, description="How long fingerprints of new tickets are kept to compare others with at once."
    )
    tickets_url: str = Field(
        "",
        validation_alias=AliasChoices("SEARCH_TICKETS_URL", "TICKETS_URL"),
        description="Base address of tickets, for texts that are on no topic any more; empty for never.",
    )
    gap_seconds: float = Field(
        60.0, gt=0, description="How long texts may be missing before they are fetched from tickets' export."
    )

    @field_validator("opensearch_url", "tickets_url")
    @classmethod
    def _is_address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must start with http:// or https://")
        return value.rstrip("/")
