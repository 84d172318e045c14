"""`python -m tests.support.invariants --kafka … --database …`: prints what does not hold; status 1 if anything."""

from __future__ import annotations

import argparse
import asyncio
from pathlib import Path

from tests.support.invariants import Places, told, violations
from tests.support.invariants.checks import CHECKS


def main() -> int:
    """The program."""
    parser = argparse.ArgumentParser(prog="python -m tests.support.invariants", description=__doc__)
    parser.add_argument("--kafka", required=True, metavar="HOST:PORT")
    parser.add_argument("--database", required=True, metavar="URL", help="the administrator's address")
    parser.add_argument("--opensearch", default="", metavar="URL", help="without it the index is not looked at (I9)")
    parser.add_argument("--sink", default="", metavar="URL", help="without it what arrived is not counted (I4)")
    parser.add_argument("--prefix", default="", help="of the topics")
    parser.add_argument("--suffix", default="", help="of the databases")
    parser.add_argument("--index-prefix", default="")
    parser.add_argument("--tenant", action="append", default=[], help="only this one; may be given again")
    parser.add_argument("--accepted", type=Path, help="file of message ids that were accepted, one a line")
    parser.add_argument("--canary", action="append", default=[], metavar="TENANT=STRING")
    parser.add_argument("--only", action="append", default=[], choices=CHECKS)
    given = parser.parse_args()
    places = Places(
        kafka_url=given.kafka,
        database_url=given.database,
        opensearch_url=given.opensearch.rstrip("/"),
        sink_url=given.sink.rstrip("/"),
        prefix=given.prefix,
        suffix=given.suffix,
        index_prefix=given.index_prefix,
    )
    only = [
        name
        for name in given.only or CHECKS
        if (name != "I9" or places.opensearch_url) and (name != "I4" or places.sink_url)
    ]
    accepted = given.accepted.read_text(encoding="utf-8").split() if given.accepted else []
    canaries = {text: tenant for tenant, _, text in (canary.partition("=") for canary in given.canary)}
    findings = asyncio.run(violations(places, accepted=accepted, canaries=canaries, tenants=given.tenant, only=only))
    print(told(findings))  # noqa: T201 - the answer of the program
    return 1 if findings else 0


if __name__ == "__main__":
    raise SystemExit(main())
