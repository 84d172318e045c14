"""Rates and failed attempts (bad input B16)."""

from __future__ import annotations

from typing import Any

import pytest

from shared.contracts.directory import Role
from shared.http.forwarded import CLIENT_HEADER, address_in, key_of, signed
from shared.http.limits import REMEMBERED, Buckets, address_key
from tests.support.api import Caller, caller, in_memory
from tests.support.sample import edge_key, sample

AGENT, OTHER = caller(Role.AGENT), caller(Role.AGENT, tenant_id="other")


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


def test_a_bucket_gives_its_burst_at_once_and_its_rate_afterwards() -> None:
    clock = Clock()
    buckets = Buckets(2.0, 3, now=clock)
    assert [buckets.take("a").allowed for _ in range(5)] == [True, True, True, False, False]
    clock.now += 0.4
    assert not buckets.take("a").allowed
    clock.now += 0.1
    assert buckets.take("a").allowed
    clock.now += 100
    assert [buckets.take("a").allowed for _ in range(4)] == [True, True, True, False]


def test_an_empty_bucket_says_how_long_to_wait_and_waiting_that_long_is_enough() -> None:
    clock = Clock()
    buckets = Buckets(0.5, 1, now=clock)
    assert buckets.take("a").wait_seconds == pytest.approx(2.0)
    refused = buckets.take("a")
    assert (refused.allowed, refused.remaining) == (False, 0)
    clock.now += refused.wait_seconds
    assert buckets.wait("a") == 0
    assert buckets.take("a").allowed


def test_callers_do_not_share_a_bucket() -> None:
    buckets = Buckets(1.0, 1, now=Clock())
    assert buckets.take("a").allowed
    assert buckets.take("b").allowed
    assert not buckets.take("a").allowed


def test_a_flood_of_names_does_not_fill_the_memory() -> None:
    buckets = Buckets(1.0, 1, now=Clock())
    for number in range(REMEMBERED + 500):
        buckets.take(str(number))
    assert len(buckets._levels) == REMEMBERED


def test_one_ipv6_host_is_one_address_whatever_it_calls_itself() -> None:
    assert address_key("2001:db8:1:2::1") == address_key("2001:db8:1:2:ffff::9")
    assert address_key("2001:db8:1:2::1") != address_key("2001:db8:1:3::1")
    assert address_key("::ffff:192.0.2.7") == address_key("192.0.2.7") == "192.0.2.7"
    assert address_key("192.0.2.7") != address_key("192.0.2.8")
    assert len(address_key("x" * 1000)) == 64


async def ask(app: Any, who: Caller | str | None, *, headers: dict[str, str] | None = None) -> Any:
    given = who.headers if isinstance(who, Caller) else {"Authorization": f"Bearer {who}"} if who else {}
    async with in_memory(app) as client:
        return await client.get("/v1/notes", headers=given | (headers or {}))


async def test_a_caller_past_the_rate_is_told_when_to_come_back_and_others_are_not_affected() -> None:
    app = sample(AGENT, OTHER, rate_per_second=0.2, rate_burst=2)
    answers = [await ask(app, AGENT) for _ in range(3)]
    assert [answer.status_code for answer in answers] == [200, 200, 429]
    assert [answer.headers["ratelimit"] for answer in answers] == [
        '"caller";r=1;t=0',
        '"caller";r=0;t=5',
        '"caller";r=0;t=5',
    ]
    assert answers[0].headers["ratelimit-policy"] == '"caller";q=2;w=10'
    assert answers[2].headers["retry-after"] == "5"
    assert answers[2].headers["content-type"] == "application/problem+json"
    assert (await ask(app, OTHER)).status_code == 200


async def test_too_many_failures_from_one_address_are_refused_unseen() -> None:
    app = sample(AGENT, OTHER, failures_per_minute=1, failures_burst=5)
    assert (await ask(app, AGENT)).status_code == 200
    statuses = [(await ask(app, f"dwk_{number:043}")).status_code for number in range(8)]
    assert statuses == [401] * 5 + [429] * 3
    # A right guess looks like a wrong one now, except to who was here before.
    assert (await ask(app, OTHER)).status_code == 429
    assert (await ask(app, AGENT)).status_code == 200


async def test_sending_nothing_is_no_attempt() -> None:
    app = sample(AGENT, failures_per_minute=1, failures_burst=2)
    assert [(await ask(app, None)).status_code for _ in range(5)] == [401] * 5
    assert (await ask(app, AGENT)).status_code == 200


async def test_a_wrong_credential_is_told_apart_from_none_by_its_challenge_only() -> None:
    app = sample(AGENT)
    wrong, none = await ask(app, "dwk_" + "x" * 43), await ask(app, None)
    assert wrong.headers["www-authenticate"] == 'Bearer realm="deskwire", error="invalid_token"'
    assert none.headers["www-authenticate"] == 'Bearer realm="deskwire"'
    differing = {"instance"}
    assert {k: v for k, v in wrong.json().items() if k not in differing} == {
        k: v for k, v in none.json().items() if k not in differing
    }


async def test_the_edge_tells_clients_apart_by_a_signed_header() -> None:
    app = sample(AGENT, failures_per_minute=1, failures_burst=1)

    def by(address: str, key: bytes = edge_key()) -> dict[str, str]:
        return {CLIENT_HEADER.decode(): signed(key, address).decode()}

    assert (await ask(app, "wrong", headers=by("192.0.2.1"))).status_code == 401
    assert (await ask(app, "wrong", headers=by("192.0.2.1"))).status_code == 429
    assert (await ask(app, "wrong", headers=by("192.0.2.2"))).status_code == 401
    # Not our edge's word: it counts for the peer, whatever it says.
    forged = b"f" * 32
    assert (await ask(app, "wrong", headers=by("192.0.2.3", forged))).status_code == 401
    assert (await ask(app, "wrong", headers=by("192.0.2.4", forged))).status_code == 429
    assert (await ask(app, "wrong", headers={"X-Forwarded-For": "192.0.2.5"})).status_code == 429


@pytest.mark.parametrize(
    "value", [b"", b" ", b"192.0.2.1", b"192.0.2.1 ", b"192.0.2.1 00", b"\xff\xfe \xff", b"192.0.2.1 " + "ä".encode()]
)
def test_a_client_header_without_a_true_signature_says_nothing(value: bytes) -> None:
    assert address_in(key_of(b"m" * 32), value) is None


def test_a_signature_is_good_for_its_address_alone() -> None:
    key = key_of(b"m" * 32)
    value = signed(key, "192.0.2.1")
    assert address_in(key, value) == "192.0.2.1"
    assert address_in(key, value.replace(b"192.0.2.1", b"192.0.2.9")) is None


async def test_a_403_names_the_permission_and_is_not_an_attempt() -> None:
    app = sample(AGENT)
    async with in_memory(app, headers=AGENT.headers) as client:
        answer = await client.get("/v1/audit")
    assert answer.status_code == 403
    assert "audit.read" in answer.json()["detail"]
