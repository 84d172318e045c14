"""Versions as entity tags."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.requests import Request

from shared.contracts.directory import Role
from shared.http import etag, if_match, if_none_match, not_modified
from shared.problem import Problem
from tests.support.api import caller, in_memory
from tests.support.sample import sample

AGENT = caller(Role.AGENT)


def request(**headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode("latin-1")) for name, value in headers.items()]
    return Request({"type": "http", "method": "GET", "path": "/", "query_string": b"", "headers": raw})


@pytest.mark.parametrize("version", [0, 1, 2**40 + 5, 2**63 - 1])
def test_a_tag_names_its_version(version: int) -> None:
    assert if_match(request(if_match=etag(version))) == version


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 428),
        ({"if_match": "*"}, 428),
        ({"if_match": 'W/"7"'}, 412),
        ({"if_match": "7"}, 412),
        ({"if_match": '"7", "8"'}, 412),
        ({"if_match": '"abc"'}, 412),
        ({"if_match": '""'}, 412),
        ({"if_match": f'"{2**63}"'}, 412),
        ({"if_match": '"-1"'}, 412),
        ({"if_match": '"\u00b2"'}, 412),
    ],
)
def test_a_change_names_one_version_exactly(headers: dict[str, str], status: int) -> None:
    with pytest.raises(Problem) as refused:
        if_match(request(**headers))
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("header", "same"),
    [('"7"', True), ('W/"7"', True), ('"6", "7"', True), ("*", True), ('"6"', False), ("7", False), ('"77"', False)],
)
def test_a_reader_who_has_the_version_is_spared_it(header: str, same: bool) -> None:
    assert if_none_match(request(if_none_match=header), 7) is same


def test_without_a_tag_the_reader_gets_all() -> None:
    assert not if_none_match(request(), 7)


def test_unchanged_is_304_with_the_tag_and_no_body() -> None:
    answer = not_modified(7)
    assert (answer.status_code, answer.headers["etag"], answer.body) == (304, '"7"', b"")


@pytest.mark.parametrize(("tag", "status"), [(None, 428), ('"7"', 200), ('"6"', 412), ("junk", 412)])
async def test_a_patch_needs_the_present_version(tag: str | None, status: int) -> None:
    headers: dict[str, str] = AGENT.headers | ({"If-Match": tag} if tag else {})
    async with in_memory(sample(AGENT), headers=headers) as client:
        answer: Any = await client.patch("/v1/notes/3", json={"subject": "x"})
    assert answer.status_code == status
