"""The engines that tests run against: given ones, or the test engines of this checkout, started on first use."""

from __future__ import annotations

import os
from dataclasses import dataclass

from deploy.local import supervise
from deploy.local.engines import VARIABLES


@dataclass(frozen=True, kw_only=True)
class Engines:
    """Where Kafka, PostgreSQL (its administrator) and OpenSearch answer."""

    kafka_url: str
    database_url: str
    opensearch_url: str


def engines() -> Engines:
    """Take the addresses of the environment; start or take over the test engines for those not given."""
    missing = [name for name, variable in VARIABLES.items() if not os.environ.get(variable)]
    started = supervise.start_test_engines(missing).environment() if missing else {}
    addresses = {variable: os.environ.get(variable) or started[variable] for variable in VARIABLES.values()}
    return Engines(
        kafka_url=addresses["KAFKA_URL"],
        database_url=addresses["DATABASE_URL"],
        opensearch_url=addresses["OPENSEARCH_URL"],
    )
