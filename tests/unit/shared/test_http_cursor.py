"""Cursors are opaque, and good for one listing of one tenant."""

from __future__ import annotations

import base64
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.contracts.directory import Role
from shared.http import Cursor
from shared.problem import Problem
from tests.support.api import caller, in_memory
from tests.support.sample import sample

AGENT, OTHER = caller(Role.AGENT), caller(Role.AGENT, tenant_id="other")
CURSOR = Cursor(b"m" * 32)
POSITIONS = st.lists(
    st.none() | st.integers(-(2**63), 2**63 - 1) | st.text(st.characters(exclude_categories=["Cs"])), max_size=3
)


@given(POSITIONS, st.text(max_size=20), st.text(max_size=20))
def test_a_cursor_gives_back_its_position(position: list[Any], tenant: str, query: str) -> None:
    assert CURSOR.decode(CURSOR.encode("t" + tenant, query, position), "t" + tenant, query) == position


def refused(cursor: str, tenant: str = "acme", query: str = "/v1/notes?", by: Cursor = CURSOR) -> bool:
    try:
        by.decode(cursor, tenant, query)
    except Problem as problem:
        return problem.status == 422 and problem.errors[0].pointer == "/cursor"
    return False


def test_a_cursor_is_refused_for_anything_but_what_it_was_made_for() -> None:
    cursor = CURSOR.encode("acme", "/v1/notes?", [5])
    assert not refused(cursor)
    assert refused(cursor, tenant="other")
    assert refused(cursor, query="/v1/notes?sort=name")
    assert refused(cursor, by=Cursor(b"x" * 32))
    # The border between tenant and query is part of what is signed.
    assert refused(CURSOR.encode("acme", "x", [5]), tenant="acmex", query="")


def test_a_cursor_changed_in_any_bit_is_refused() -> None:
    raw = base64.urlsafe_b64decode(CURSOR.encode("acme", "/v1/notes?", [5, "abc"]) + "==")
    for position in range(len(raw) * 8):
        harmed = bytearray(raw)
        harmed[position // 8] ^= 1 << position % 8
        assert refused(base64.urlsafe_b64encode(bytes(harmed)).rstrip(b"=").decode())


@pytest.mark.parametrize("cursor", ["", "x", "ä", "=", "A" * 1000, "e30", "../..", " ", "\0"])
def test_what_is_no_cursor_is_refused(cursor: str) -> None:
    assert refused(cursor)


async def test_pages_join_without_a_gap_or_a_repetition_and_the_last_has_no_link() -> None:
    app = sample(AGENT)
    seen: list[int] = []
    async with in_memory(app, headers=AGENT.headers) as client:
        target = "/v1/notes?limit=50&sort=name"
        links: list[str] = []
        while target:
            answer = await client.get(target)
            assert answer.status_code == 200, answer.text
            seen += answer.json()["items"]
            link = answer.headers.get("link", "")
            links.append(link)
            assert bool(link) is (answer.json()["next_cursor"] is not None)
            target = link.split(">")[0][1:] if link else ""
    assert seen == list(range(1, 121))
    assert links[-1] == ""
    assert all(link.endswith('; rel="next"') and "sort=name" in link and "limit=50" in link for link in links[:-1])


async def test_the_limit_may_change_between_pages_but_neither_filter_nor_tenant() -> None:
    app = sample(AGENT, OTHER)
    async with in_memory(app) as client:
        cursor = (await client.get("/v1/notes?limit=10", headers=AGENT.headers)).json()["next_cursor"]

        async def status(query: str, headers: dict[str, str] = AGENT.headers) -> int:
            return (await client.get(f"/v1/notes?{query}&cursor={cursor}", headers=headers)).status_code

        assert await status("limit=20") == 200
        assert await status("limit=10&sort=name") == 422
        assert await status("limit=10", OTHER.headers) == 422
