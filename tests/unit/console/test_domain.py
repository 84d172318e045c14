"""Pure rules of the edge."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from services.console.domain import PATHS, SERVICES, Rule, is_plain, merge, pass_back, pass_on, route

RULES = (Rule("/v1/a", "one", ""), Rule("/v1/a/b", "two", ""), Rule("/v1/ab", "three", ""))


@pytest.mark.parametrize(
    ("path", "service"),
    [
        ("/v1/a", "one"),
        ("/v1/a/", "one"),
        ("/v1/a/x", "one"),
        ("/v1/a/b", "two"),
        ("/v1/a/b/c", "two"),
        ("/v1/a/bc", "one"),
        ("/v1/ab", "three"),
        ("/v1/abc", None),
        ("/v1", None),
        ("/v1/A", None),
        ("v1/a", None),
        ("//v1/a", None),
        ("", None),
    ],
)
def test_the_longest_prefix_that_ends_at_a_segment_wins(path: str, service: str | None) -> None:
    rule = route(path, RULES)
    assert (rule.service if rule else None) == service


def test_the_table_has_no_prefix_twice_and_none_of_the_edges_own() -> None:
    prefixes = [rule.prefix for rule in PATHS]
    assert len(prefixes) == len(set(prefixes))
    for own in ("/", "/docs", "/openapi.json", "/v1/status", "/livez", "/readyz", "/metrics", "/asyncapi.json"):
        assert route(own) is None
    assert "console" not in SERVICES


@pytest.mark.parametrize(
    "path",
    ["/metrics", "/readyz", "/livez", "/openapi.json", "/asyncapi.json", "/v1/tickets/../../metrics", "/v1/tickets/.."],
)
def test_what_services_serve_to_operators_cannot_be_reached_through_the_edge(path: str) -> None:
    assert route(path) is None or not is_plain(path)


@pytest.mark.parametrize("path", ["/a/..", "/../a", "/a/./b", "/.", "/a/../../b", "/a\\..\\b", "/a\0"])
def test_a_path_that_could_mean_something_else_to_a_service_is_not_plain(path: str) -> None:
    assert not is_plain(path)


@pytest.mark.parametrize("path", ["/", "/a/b", "/a/...", "/a..b/c", "/.well-known/jwks.json", "/a//b", "/ä"])
def test_an_ordinary_path_is_plain(path: str) -> None:
    assert is_plain(path)


NAMES = st.sampled_from(
    [
        b"accept",
        b"authorization",
        b"connection",
        b"content-type",
        b"host",
        b"if-match",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"x-custom",
        b"x-forwarded-for",
        b"x-forwarded-host",
        b"forwarded",
        b"x-deskwire-client",
        b"x-real-ip",
        b"proxy-authorization",
    ]
)
VALUES = st.sampled_from([b"x", b"close", b"x-custom", b"x-custom, If-Match", b"keep-alive", b""])


@given(st.lists(st.tuples(NAMES, VALUES), max_size=8))
def test_only_what_may_go_further_goes_further_in_its_order(headers: list[tuple[bytes, bytes]]) -> None:
    passed = pass_on(headers)
    named = {token.strip().lower() for name, value in headers if name == b"connection" for token in value.split(b",")}
    ends_here = {
        b"connection",
        b"keep-alive",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
        b"proxy-authorization",
    }
    claims = {b"x-forwarded-for", b"x-forwarded-host", b"forwarded", b"x-deskwire-client", b"x-real-ip"}
    assert passed == [(name, value) for name, value in headers if name not in ends_here | claims | named]


def test_an_answer_keeps_everything_but_the_services_date_and_name() -> None:
    headers = [
        (b"date", b"d"),
        (b"server", b"s"),
        (b"etag", b'"7"'),
        (b"set-cookie", b"a"),
        (b"set-cookie", b"b"),
        (b"location", b"/x"),
    ]
    assert pass_back(headers) == headers[2:]


def document(service: str, path: str, schemas: dict[str, Any], **extra: Any) -> dict[str, Any]:
    reference = {"$ref": f"#/components/schemas/{next(iter(schemas))}"}
    operation = {"operationId": "get", "responses": {"200": {"content": {"application/json": {"schema": reference}}}}}
    return {
        "openapi": "3.1.0",
        "info": {"title": service, "description": f"{service}'s"},
        "paths": {path: {"get": operation}, **extra.pop("paths", {})},
        "components": {"schemas": schemas, **extra},
    }


def resolved(whole: dict[str, Any], node: Any) -> Any:
    """A node with every reference replaced by what it leads to."""
    if isinstance(node, dict):
        if "$ref" in node:
            target: Any = whole
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
            return resolved(whole, target)
        return {key: resolved(whole, value) for key, value in node.items()}
    return [resolved(whole, item) for item in node] if isinstance(node, list) else node


ONE = document(
    "one",
    "/v1/a",
    {
        "Page": {"properties": {"n": {"$ref": "#/components/schemas/Item"}}},
        "Item": {"type": "string"},
        "Same": {"type": "null"},
    },
)
TWO = document(
    "two",
    "/v1/a/b",
    {
        "Page": {"properties": {"n": {"$ref": "#/components/schemas/Item"}}},
        "Item": {"type": "integer"},
        "Same": {"type": "null"},
    },
)


def test_every_operation_means_the_same_in_the_whole_as_alone() -> None:
    whole = merge({"one": ONE, "two": TWO}, RULES)
    for path, alone in (("/v1/a", ONE), ("/v1/a/b", TWO)):
        assert resolved(whole, whole["paths"][path]["get"]["responses"]) == resolved(
            alone, alone["paths"][path]["get"]["responses"]
        )


def test_equal_components_are_shared_and_different_ones_are_told_apart() -> None:
    whole = merge({"one": ONE, "two": TWO}, RULES)
    assert set(whole["components"]["schemas"]) == {"Page", "Item", "Same", "TwoPage", "TwoItem"}


def test_a_discriminators_mapping_is_renamed_with_its_components() -> None:
    two = document("two", "/v1/a/b", {"Page": {"discriminator": {"mapping": {"x": "#/components/schemas/Page"}}}})
    whole = merge({"one": ONE, "two": two}, RULES)
    assert whole["components"]["schemas"]["TwoPage"]["discriminator"]["mapping"]["x"] == "#/components/schemas/TwoPage"


def test_a_service_cannot_claim_a_path_that_is_not_its_own() -> None:
    greedy = document(
        "two", "/v1/a/b", {"X": {}}, paths={"/v1/a": {"get": {"operationId": "stolen"}}, "/elsewhere": {"get": {}}}
    )
    whole = merge({"one": ONE, "two": greedy}, RULES)
    assert set(whole["paths"]) == {"/v1/a", "/v1/a/b"}
    assert whole["paths"]["/v1/a"]["get"]["tags"] == ["one"]


def test_operation_ids_are_unique_in_the_whole() -> None:
    whole = merge({"one": ONE, "two": TWO}, RULES)
    ids = [operation["operationId"] for item in whole["paths"].values() for operation in item.values()]
    assert ids == ["one_get", "two_get"]


def test_merging_changes_no_service_s_document() -> None:
    before = repr(TWO)
    merge({"one": ONE, "two": TWO}, RULES)
    assert repr(TWO) == before


def test_nothing_merges_into_a_valid_empty_document() -> None:
    assert merge({}) == {
        "openapi": "3.1.0",
        "info": {"title": "Deskwire", "version": "1.0.0", "description": "Every API behind one origin."},
        "tags": [],
        "paths": {},
        "components": {},
    }


def test_headers_that_connection_names_go_no_further() -> None:
    given = [(b"connection", b"close, X-Private"), (b"x-private", b"1"), (b"accept", b"*/*"), (b"x-real-ip", b"::1")]
    assert pass_on(given) == [(b"accept", b"*/*")]


def test_references_within_lists_are_renamed_and_what_is_no_operation_stays() -> None:
    def document(kind: str) -> dict[str, Any]:
        schemas = {"Page": {"anyOf": [{"$ref": "#/components/schemas/Item"}, {"type": "null"}]}, "Item": {"type": kind}}
        operation = {"operationId": "list", "responses": {"200": {"$ref": "#/components/schemas/Page"}}}
        return {"paths": {}, "components": {"schemas": schemas}, "operation": operation}

    tickets, ingest = document("object"), document("string")
    tickets["paths"] = {"/v1/tickets": {"summary": "Tickets", "get": tickets.pop("operation")}}
    ingest["paths"] = {"/v1/messages": {"get": ingest.pop("operation")}}
    merged = merge({"tickets": tickets, "ingest": ingest})
    assert merged["paths"]["/v1/tickets"]["summary"] == "Tickets"
    reference = merged["paths"]["/v1/tickets"]["get"]["responses"]["200"]["$ref"]
    assert reference != "#/components/schemas/Page"
    page = merged["components"]["schemas"][reference.rpartition("/")[2]]
    item = merged["components"]["schemas"][page["anyOf"][0]["$ref"].rpartition("/")[2]]
    assert item == {"type": "object"}
