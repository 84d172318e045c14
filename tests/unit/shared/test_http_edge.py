"""The edge of every API: ids, headers, limits, one answer for every failure."""

from __future__ import annotations

import logging
import re
from typing import Any

import pytest
import structlog
from typing_extensions import override

from shared.contracts.directory import Role
from tests.support.api import caller, in_memory
from tests.support.sample import FAULTS, sample

AGENT = caller(Role.AGENT)
JSON = {"Content-Type": "application/json"}
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


async def send(method: str, path: str, *, anonymous: bool = False, **options: Any) -> Any:
    headers = {} if anonymous else dict(AGENT.headers)
    async with in_memory(sample(AGENT)) as client:
        return await client.request(method, path, headers=headers | options.pop("headers", {}), **options)


async def test_a_request_id_is_taken_from_the_caller_and_reaches_the_handler() -> None:
    answer = await send("POST", "/v1/notes", json=[], headers={"X-Request-Id": "shop-42.a"})
    assert answer.status_code == 202
    assert answer.headers["x-request-id"] == "shop-42.a" == answer.json()["instance"]


@pytest.mark.parametrize("given", [None, "", "a b", "a" * 129, "a\tb", 'x"y', "ä", "{}"])
async def test_a_request_id_that_could_harm_a_log_is_replaced(given: str | None) -> None:
    headers = {} if given is None else {"X-Request-Id": given.encode()}
    answer = await send("POST", "/v1/notes", json=[], headers=headers)
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])


async def test_an_error_carries_the_request_id_as_its_instance() -> None:
    answer = await send("GET", "/v1/nothing", headers={"X-Request-Id": "find-me"})
    assert answer.json()["instance"] == "find-me"


async def test_a_trace_goes_on_with_a_span_of_ours() -> None:
    given = f"00-{TRACE}-00f067aa0ba902b7-01"
    answer = await send("GET", "/v1/notes", headers={"traceparent": given})
    assert re.fullmatch(f"00-{TRACE}-[0-9a-f]{{16}}-01", answer.headers["traceparent"])
    assert answer.headers["traceparent"] != given


@pytest.mark.parametrize(
    "given",
    [
        None,
        "",
        "00-xyz",
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
    ],
)
async def test_an_unusable_trace_begins_anew(given: str | None) -> None:
    answer = await send("GET", "/v1/notes", headers={} if given is None else {"traceparent": given})
    found = re.fullmatch("00-([0-9a-f]{32})-[0-9a-f]{16}-00", answer.headers["traceparent"])
    assert found is not None
    assert found[1] not in (TRACE, "0" * 32)


@pytest.mark.parametrize("path", ["/v1/notes", "/v1/nothing", "/v1/faults/bug", "/openapi.json"])
async def test_every_answer_has_the_security_headers_once(path: str) -> None:
    answer = await send("GET", path)
    for name, value in {
        "x-content-type-options": "nosniff",
        "x-frame-options": "DENY",
        "referrer-policy": "no-referrer",
        "content-security-policy": "default-src 'none'; frame-ancestors 'none'",
        "cache-control": "no-store",
    }.items():
        assert answer.headers.get_list(name) == [value]
    assert "server" not in answer.headers


async def test_what_has_a_tag_may_be_kept_if_asked_for_each_time() -> None:
    answer = await send("GET", "/v1/notes/3")
    assert answer.headers["etag"] == '"7"'
    assert answer.headers["cache-control"] == "private, no-cache"


async def test_an_unknown_path_and_an_unknown_method_are_problems() -> None:
    missing = await send("GET", "/v1/nothing")
    assert (missing.status_code, missing.headers["content-type"]) == (404, "application/problem+json")
    assert missing.json()["type"] == "https://deskwire.dev/problems/not-found"
    wrong = await send("DELETE", "/v1/notes")
    assert (wrong.status_code, wrong.headers["content-type"]) == (405, "application/problem+json")
    assert set(wrong.headers["allow"].split(", ")) >= {"POST"}


@pytest.mark.parametrize(
    ("name", "status", "slug"),
    [
        ("bug", 500, "internal"),
        ("unique", 500, "internal"),
        ("zero", 500, "internal"),
        ("database", 503, "unavailable"),
        ("connection", 503, "unavailable"),
        ("pool", 503, "unavailable"),
        ("deadlock", 503, "unavailable"),
        ("range", 422, "invalid"),
    ],
)
async def test_every_exception_is_a_problem_without_its_internals(
    name: str, status: int, slug: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        answer = await send("GET", f"/v1/faults/{name}")
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.json()["type"].endswith(slug)
    assert ("retry-after" in answer.headers) is (status == 503)
    for word in ("secret-canary", "Error", "10.0.0.5", "Traceback", "deadlock"):
        assert word not in answer.text
    assert any(record.exc_info and record.exc_info[1] is FAULTS[name] for record in caplog.records), "it is logged"


async def test_log_lines_below_a_request_carry_its_id_and_those_after_it_do_not(
    caplog: pytest.LogCaptureFixture,
) -> None:
    seen: list[dict[str, Any]] = []

    class Seen(logging.Handler):
        @override
        def emit(self, record: logging.LogRecord) -> None:
            del record
            seen.append(dict(structlog.contextvars.get_contextvars()))

    handler = Seen()
    logger = logging.getLogger("shared.http.errors")
    logger.addHandler(handler)
    try:
        await send("GET", "/v1/faults/bug", headers={"X-Request-Id": "one"})
    finally:
        logger.removeHandler(handler)
    assert [values["correlation"] for values in seen] == ["one"]
    assert "correlation" not in structlog.contextvars.get_contextvars()


@pytest.mark.parametrize(
    ("body", "headers", "status", "slug"),
    [
        (b"{", JSON, 400, "malformed-json"),
        (b'[{"subject":"a","subject":"b"}]', JSON, 400, "duplicate-key"),
        (b"[" * 10_000, JSON, 400, "too-deep"),
        (b'[{"subject":"a\\u0000"}]', JSON, 422, "invalid"),
        (b'[{"subject":"a","weight":99999999999999999999}]', JSON, 422, "number-too-large"),
        (b'[{"subject":"a"}]', {"Content-Type": "text/plain"}, 415, "unsupported-media-type"),
        (b'[{"subject":"a"}]', {"Content-Type": "application/x-www-form-urlencoded"}, 415, "unsupported-media-type"),
        (b'[{"subject":"a"}]', {"Content-Type": ""}, 415, "unsupported-media-type"),
        (b"x", JSON | {"Content-Encoding": "gzip"}, 415, "content-encoding"),
        (b"x", JSON | {"Content-Encoding": "br, gzip"}, 415, "content-encoding"),
        (b"[]" + b" " * 1_000_000, JSON, 413, "body-too-large"),
        (b"", JSON, 422, "invalid"),
    ],
)
async def test_a_body_that_cannot_be_taken_is_refused_before_the_handler(
    body: bytes, headers: dict[str, str], status: int, slug: str
) -> None:
    answer = await send("POST", "/v1/notes", content=body, headers=headers)
    assert (answer.status_code, answer.json()["type"].rsplit("/", 1)[1]) == (status, slug)
    assert answer.headers["content-type"] == "application/problem+json"


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "APPLICATION/JSON", "application/merge-patch+json"]
)
async def test_json_by_any_of_its_names_is_taken(kind: str) -> None:
    assert (await send("POST", "/v1/notes", content=b"[]", headers={"Content-Type": kind})).status_code == 202


async def test_a_body_of_exactly_the_limit_is_taken() -> None:
    assert (await send("POST", "/v1/notes", content=b"[]" + b" " * 999_998, headers=JSON)).status_code == 202


async def test_a_path_may_have_a_larger_limit() -> None:
    assert (await send("POST", "/v1/uploads/raw", content=b"x" * 3_000_000)).json() == 3_000_000
    assert (await send("POST", "/v1/uploads/raw", content=b"x" * 3_000_001)).status_code == 413


@pytest.mark.parametrize("target", ["/v1/notes?limit=%00", "/v1/notes/%00", "/v1/notes?x=a%00b"])
async def test_a_nul_in_an_address_is_refused(target: str) -> None:
    assert (await send("GET", target)).status_code == 400


async def test_errors_point_at_each_value_and_do_not_quote_it() -> None:
    body = [{"subject": "ok"}, {"subject": "two\r\nBcc: x@example.org", "weight": -1}, {"text": 5, "extra/field": 1}]
    answer = await send("POST", "/v1/notes", json=body)
    assert answer.status_code == 422
    found = {error["pointer"]: error for error in answer.json()["errors"]}
    assert set(found) == {"/1/subject", "/1/weight", "/2/subject", "/2/text", "/2/extra~1field"}
    assert all(error["in"] == "body" for error in found.values())
    assert "Bcc" not in answer.text
    assert found["/1/subject"]["detail"] == "must be one line without control characters"


@pytest.mark.parametrize(
    ("target", "pointer", "place"),
    [
        ("/v1/notes?limit=0", "/limit", "query"),
        ("/v1/notes?limit=x", "/limit", "query"),
        ("/v1/notes/abc", "/note_id", "path"),
    ],
)
async def test_errors_in_parameters_name_them(target: str, pointer: str, place: str) -> None:
    answer = await send("GET", target)
    assert answer.status_code == 422
    assert [(error["pointer"], error["in"]) for error in answer.json()["errors"]] == [(pointer, place)]


async def test_a_thousand_errors_are_counted_and_fifty_listed() -> None:
    answer = await send("POST", "/v1/notes", json=[{}] * 1000)
    assert len(answer.json()["errors"]) == 50
    assert "1000" in answer.json()["detail"]


async def test_a_slash_at_the_end_is_another_path_and_never_a_redirect() -> None:
    assert (await send("GET", "/v1/notes/")).status_code == 404


async def test_an_anonymous_caller_learns_nothing_but_401() -> None:
    answer = await send("POST", "/v1/notes", json=[{"wrong": 1}], anonymous=True)
    assert answer.status_code == 401
    assert answer.headers["www-authenticate"] == 'Bearer realm="deskwire"'
    assert "errors" not in answer.json()
