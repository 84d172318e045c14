"""B11: bodies meant to harm are answered 4xx, and nothing of them is stored."""

from __future__ import annotations

import pytest

from tests.integration.ingest.conftest import Ingest, message

pytestmark = pytest.mark.engines


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"x" * 10_000_000, 413),
        (b"[" * 10_000 + b"]" * 10_000, 400),
        (b'{"sender":{"address":"a@b.c"},"subject":"a","subject":"b"}', 400),
        (b'{"sender":{"address":"a@b.c"},"subject":"x","hints":{"affected_customers":NaN}}', 400),
        (b'{"sender":{"address":"a@b.c"},"subject":"x","hints":{"affected_customers":' + b"9" * 30 + b"}}", 422),
        (b'{"sender":{"address":"a@b.c"},"subject":"\\u0000"}', 422),
        (b'{"sender":{"address":"a@b.c"},"subject":"\\ud800"}', 400),
        (b'{"sender":{"address":"a@b.c"},"subject":"\xff"}', 400),
        (b'{"sender":', 400),
        (b"", 422),
    ],
    ids=["10 MB", "deep", "twice", "NaN", "huge", "NUL", "surrogate", "not UTF-8", "cut", "empty"],
)
async def test_a_harmful_body_is_refused(ingest: Ingest, body: bytes, status: int) -> None:
    answer = await ingest.call("acme/service", "POST", "/v1/messages", body, Content_Type="application/json")
    assert answer.status_code == status, answer.text
    assert answer.headers["content-type"] == "application/problem+json"
    assert not await ingest.received()


async def test_a_compressed_body_is_refused(ingest: Ingest) -> None:
    answer = await ingest.call(
        "acme/service", "POST", "/v1/messages", b"{}", Content_Type="application/json", Content_Encoding="gzip"
    )
    assert answer.status_code == 415


async def test_another_media_type_is_refused(ingest: Ingest) -> None:
    answer = await ingest.call("acme/service", "POST", "/v1/messages", b"a=b", Content_Type="text/plain")
    assert answer.status_code == 415


async def test_a_text_of_odd_characters_is_stored_as_text(ingest: Ingest) -> None:
    odd = "\u202e\ufeff\U0001f600 \x1b[0m \x7f \u2028 ' OR 1=1 -- {{7*7}} %s $1"
    await ingest.submit(message(text=odd))
    (event,) = await ingest.received()
    assert "' OR 1=1 -- {{7*7}} %s $1" in (event.body.text or "")
    assert "\x1b" not in (event.body.text or "")


async def test_the_openapi_document_describes_both_forms(ingest: Ingest) -> None:
    document = (await ingest.http.get("/openapi.json")).json()
    body = document["paths"]["/v1/messages"]["post"]["requestBody"]["content"]["application/json"]["schema"]
    names = {one["$ref"].rpartition("/")[2] for one in body["oneOf"]}
    assert names == {"MessageIn", "BatchIn"}
    assert names | {"AttachmentIn", "HintsIn", "Sender", "Accepted"} <= set(document["components"]["schemas"])


async def test_the_intake_refuses_when_too_much_waits(ingest: Ingest, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("services.ingest.intake.WAITING", 0)
    answer = await ingest.call("acme/service", "POST", "/v1/messages", message())
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
