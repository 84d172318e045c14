"""What fault tests send: well-formed facts, states and rules, and traffic made of them."""

from __future__ import annotations

import random
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Literal
from uuid import UUID, uuid4

from shared.contracts.event import Event
from tests.support.faults.contracts import Asked, Noted, Rule, State
from tests.support.faults.journal import Expected


@dataclass(frozen=True, kw_only=True)
class Sent:
    """One record to be sent and what must become of it."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: Sequence[tuple[str, bytes]]
    id: str
    seq: int = 0
    expected: Expected = "effect"
    reason: str = ""
    starts: Literal["", "timer", "task"] = ""
    """What handling it sets going, which has to happen once as well."""


def headers(ce_type: str, identity: str, *, time: datetime | None = None) -> list[tuple[str, bytes]]:
    """CloudEvents headers as another service's relay writes them."""
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", identity.encode()),
        ("ce_source", b"/deskwire/other"),
        ("ce_type", ce_type.encode()),
        ("ce_time", (time or datetime.now(UTC)).isoformat().encode()),
        ("ce_hops", b"0"),
        ("content-type", b"application/json"),
    ]


def record(event: Event, *, id: UUID | None = None, expected: Expected = "effect", **more: Any) -> Sent:  # noqa: A002
    """A well-formed event."""
    identity = str(id or uuid4())
    seq = getattr(event, "seq", getattr(event, "version", 0))
    return Sent(
        topic=event.TYPE.rpartition(".")[0],
        key=event.key.encode(),
        value=event.to_bytes(),
        headers=headers(event.TYPE, identity, **more),
        id=identity,
        seq=seq,
        expected=expected,
        starts=getattr(event, "kind", "") if getattr(event, "kind", "") in {"timer", "task"} else "",
    )


def asked(thing: str, seq: int, *, expected: Expected = "effect", **fields: Any) -> Sent:
    """A fact."""
    return record(Asked(tenant_id="acme", thing=thing, seq=seq, **fields), expected=expected)


def noted(thing: str, seq: int, *, expected: Expected = "effect", **fields: Any) -> Sent:
    """A fact on the other topic."""
    return record(Noted(tenant_id="acme", thing=thing, seq=seq, **fields), expected=expected)


def state(thing: str, version: int) -> Sent:
    """A snapshot."""
    return record(State(tenant_id="acme", thing=thing, version=version), expected="state")


def rule(name: str, version: int) -> Sent:
    """Reference data."""
    return record(Rule(tenant_id="acme", name=name, version=version), expected="rule")


def traffic(
    randomness: random.Random, things: int, each: int, *, duplicates: float = 0.0, first: int = 0
) -> list[Sent]:
    """Facts on both topics, states, and a share of them sent again a little later."""
    made: list[Sent] = []
    for seq in range(first, first + each):
        for thing in range(things):
            make = asked if randomness.random() < 0.7 else noted
            made.append(make(f"t{thing}", seq))
            if randomness.random() < 0.2:
                made.append(state(f"t{thing}", seq))
    if not duplicates:
        return made
    for one in [one for one in made if one.expected == "effect" and randomness.random() < duplicates]:
        made.insert(min(len(made), made.index(one) + randomness.randint(1, things * 4)), one)
    return made
