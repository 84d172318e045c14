"""The pages: readable without anything loaded, harmless whatever a service says of itself."""

from __future__ import annotations

import base64
import hashlib
import re

from selectolax.lexbor import LexborHTMLParser

from services.console import pages
from services.console.domain import PATHS, SERVICES, merge

HOSTILE = "<script>alert(1)</script><img src=x onerror=alert(1)>\"'&"


def test_the_home_page_lists_every_path_with_its_service_and_state() -> None:
    html = pages.home(PATHS, dict.fromkeys(SERVICES, "ready") | {"tickets": "away", "directory": "not ready"})
    rows = LexborHTMLParser(html).css("tbody tr")
    assert [row.css("code")[0].text() for row in rows] == [rule.prefix for rule in PATHS]
    assert {row.css("td")[2].text() for row in rows} == {"ready", "away", "not ready"}


def test_the_reference_shows_operations_and_names_what_is_missing() -> None:
    operation = {
        "operationId": "x",
        "summary": "List",
        "responses": {"200": {}, "404": {}},
        "parameters": [{"name": "limit", "in": "query"}],
    }
    document = merge({"tickets": {"paths": {"/v1/tickets": {"get": operation}}}})
    text = LexborHTMLParser(pages.reference(document, ["ingest"])).text()
    for part in ("/v1/tickets", "GET", "List", "limit", "200, 404", "ingest is away"):
        assert part in text


def test_what_a_service_says_of_itself_stays_text() -> None:
    operation = {
        "operationId": "x",
        "summary": HOSTILE,
        "description": HOSTILE,
        "responses": {HOSTILE: {}},
        "parameters": [{"name": HOSTILE, "in": HOSTILE, "description": HOSTILE}],
        "requestBody": {"content": {HOSTILE: {"schema": {"title": HOSTILE}}}},
    }
    document = merge({"tickets": {"paths": {"/v1/tickets/" + HOSTILE: {"post": operation}}}})
    html = pages.reference(document, [HOSTILE]) + pages.home(PATHS, dict.fromkeys(SERVICES, HOSTILE))
    page = LexborHTMLParser(html)
    assert page.css("script, img, iframe, object, link, [onerror], [src]") == []


def test_the_policy_allows_the_pages_style_and_nothing_else() -> None:
    html = pages.home(PATHS, dict.fromkeys(SERVICES, "ready"))
    found = re.search("<style>(.*?)</style>", html, re.DOTALL)
    assert found is not None
    digest = base64.b64encode(hashlib.sha256(found[1].encode()).digest()).decode()
    assert (
        f"default-src 'none'; style-src 'sha256-{digest}'; frame-ancestors 'none'; base-uri 'none'"
        == pages.CONTENT_SECURITY_POLICY
    )
    assert "style=" not in html
    assert "http" not in html.replace("</html>", "")
