"""The edge's own answers, and the edge as a process without Kafka or PostgreSQL."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx2
import pytest
from selectolax.lexbor import LexborHTMLParser
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from services.console import upstreams
from services.console.domain import SERVICES
from shared.contracts.directory import Role
from shared.http import CurrentPrincipal, Router
from tests.integration.console.conftest import Edge
from tests.support.api import ApiSettings, caller, credentials_of, served
from tests.support.openapi import check_api
from tests.support.waiting import eventually

ROOT = Path(__file__).parents[3]
AGENT = caller(Role.AGENT)


def sample_of(prefix: str) -> Any:
    """An API built with `api()` under a prefix of the path table."""
    from shared.auth import Authenticator  # noqa: PLC0415 - kept beside its only use
    from shared.http import api  # noqa: PLC0415 - as above

    app = api(title="x", service="x", settings=ApiSettings(), authenticator=Authenticator(credentials_of(AGENT)))
    router = Router(prefix=prefix)

    @router.get("")
    async def listing(_: CurrentPrincipal, limit: int = 5) -> list[int]:
        return list(range(max(0, min(limit, 10))))

    app.include_router(router)
    return app


@asynccontextmanager
async def service(app: Any, ready: list[Response]) -> AsyncIterator[str]:
    """`app` behind a `/readyz` that answers `ready[0]`."""

    async def readyz(_: Request) -> Response:
        return ready[0]

    probe = Starlette(routes=[Route("/readyz", readyz)])

    async def both(scope: Any, receive: Any, send: Any) -> None:
        await (probe if scope["path"] == "/readyz" else app)(scope, receive, send)

    async with served(both) as url:
        yield url


def up() -> Response:
    return JSONResponse({"status": "ready", "missing": []})


def lacking(*names: str) -> Response:
    missing = [{"name": name, "reason": "10.0.0.5 refused"} for name in names]
    return JSONResponse({"status": "not ready", "missing": missing}, status_code=503)


async def test_the_state_of_each_service_is_told_without_its_reasons(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "STATE_SECONDS", 0)
    ready = [up()]
    async with (
        service(sample_of("/v1/tickets"), ready) as url,
        edge(tickets_url=url, ingest_url="http://127.0.0.1:1") as client,
    ):
        told = (await client.get("/v1/status")).json()
        assert told == {
            "status": "degraded",
            "services": {name: {"state": "absent"} for name in SERVICES}
            | {"ingest": {"state": "away"}, "tickets": {"state": "ready"}},
        }
        ready[0] = lacking("kafka", "postgresql")
        answer = await client.get("/v1/status")
        assert answer.json()["services"]["tickets"] == {"state": "not ready", "missing": ["kafka", "postgresql"]}
        assert "10.0.0.5" not in answer.text
        assert answer.status_code == 200


async def test_a_probe_that_hangs_delays_the_answer_by_its_limit_only(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "ASK_SECONDS", 0.2)

    async def hang(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read()
        writer.close()

    server = await asyncio.start_server(hang, "127.0.0.1", 0)
    url = f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}"
    async with server, edge(**{f"{name}_url": url for name in SERVICES}) as client:
        answer = await asyncio.wait_for(client.get("/v1/status"), 3)
    assert {state["state"] for state in answer.json()["services"].values()} == {"away"}


async def test_a_storm_of_status_requests_asks_each_service_once(edge: Edge) -> None:
    asked = 0

    async def readyz(_: Request) -> Response:
        nonlocal asked
        asked += 1
        return up()

    async with served(Starlette(routes=[Route("/readyz", readyz)])) as url, edge(tickets_url=url) as client:
        await asyncio.gather(*(client.get("/v1/status") for _ in range(50)))
    assert asked == 1


async def test_the_documents_of_all_services_are_one_and_outlive_a_service(
    edge: Edge, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams, "DOCUMENT_SECONDS", 0)
    async with edge_of_two(edge) as (client, stop_ingest):
        whole = (await client.get("/openapi.json")).json()
        assert set(whole["paths"]) == {"/v1/tickets", "/v1/messages"}
        assert whole["paths"]["/v1/messages"]["get"]["tags"] == ["ingest"]
        await stop_ingest()
        assert (await client.get("/v1/messages")).status_code == 503
        assert set((await client.get("/openapi.json")).json()["paths"]) == {"/v1/tickets", "/v1/messages"}


@asynccontextmanager
async def edge_of_two(edge: Edge) -> AsyncIterator[Any]:
    tickets, ingest = service(sample_of("/v1/tickets"), [up()]), service(sample_of("/v1/messages"), [up()])
    tickets_url, ingest_url = await tickets.__aenter__(), await ingest.__aenter__()
    stopped = False

    async def stop_ingest() -> None:
        nonlocal stopped
        stopped = True
        await ingest.__aexit__(None, None, None)

    try:
        async with edge(tickets_url=tickets_url, ingest_url=ingest_url) as client:
            yield client, stop_ingest
    finally:
        if not stopped:
            await stop_ingest()
        await tickets.__aexit__(None, None, None)


@pytest.mark.parametrize(
    "answer",
    [
        Response("<html>", 200),
        Response("[]", 200),
        Response("{}", 200),
        Response("", 500),
        JSONResponse({"paths": {"/v1/tickets": {}}}),
    ],
)
async def test_a_service_with_a_strange_document_spoils_nothing(edge: Edge, answer: Response) -> None:
    async def document(_: Request) -> Response:
        return answer

    async with served(Starlette(routes=[Route("/openapi.json", document)])) as url, edge(tickets_url=url) as client:
        assert (await client.get("/openapi.json")).json()["openapi"] == "3.1.0"
        assert (await client.get("/docs")).status_code == 200


@pytest.mark.parametrize("path", ["/", "/docs"])
async def test_the_pages_are_html_under_a_strict_policy_and_load_nothing(edge: Edge, path: str) -> None:
    async with edge(tickets_url="http://127.0.0.1:1") as client:
        answer = await client.get(path)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert answer.headers.get_list("content-security-policy") == [answer.headers["content-security-policy"]]
    assert "default-src 'none'" in answer.headers["content-security-policy"]
    page = LexborHTMLParser(answer.text)
    assert page.css("script, link, img, iframe, [style]") == []
    assert page.css("h1")
    for link in page.css("a"):
        target = link.attributes["href"]
        assert target is not None
        assert target.startswith("/")


async def test_the_edge_answers_strangers_with_problems(edge: Edge) -> None:
    async with edge() as client:
        for method, path, status in (
            ("GET", "/nothing", 404),
            ("POST", "/", 405),
            ("GET", "/v1", 404),
            ("GET", "/v1/tickets", 503),
        ):
            answer = await client.request(method, path)
            assert (answer.status_code, answer.headers["content-type"]) == (status, "application/problem+json")
            assert answer.json()["instance"] == answer.headers["x-request-id"]


async def test_schemathesis_through_the_edge(edge: Edge) -> None:
    async with service(sample_of("/v1/tickets"), [up()]) as url, edge(tickets_url=url) as client:
        report = await check_api(str(client.base_url).rstrip("/"), headers=AGENT.headers, examples=15)
    assert report.operations == {"GET /v1/tickets"}


async def test_a_process_needs_neither_kafka_nor_postgresql_and_stays_ready_without_services() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.endswith("_URL")}
    environment |= {"CONSOLE_HTTP_PORT": "0", "KAFKA_URL": "127.0.0.1:1", "TICKETS_URL": "http://127.0.0.1:1"}
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "services.console", cwd=ROOT, env=environment, stdout=asyncio.subprocess.PIPE
    )
    assert process.stdout is not None
    lines: list[str] = []
    while not (found := re.search('"port":([0-9]+)', lines[-1] if lines else "")):
        line = await asyncio.wait_for(process.stdout.readline(), 30)
        assert line, "".join(lines)
        lines.append(line.decode())
    async with httpx2.AsyncClient(base_url=f"http://127.0.0.1:{found[1]}") as client:

        async def ready() -> bool:
            return (await client.get("/readyz")).status_code == 200

        await eventually(ready)
        assert (await client.get("/livez")).status_code == 200
        assert "process_" in (await client.get("/metrics")).text or (await client.get("/metrics")).status_code == 200
        assert (await client.get("/v1/status")).json()["status"] == "degraded"
        assert (await client.get("/v1/tickets")).status_code == 503
    process.send_signal(signal.SIGTERM)
    assert await asyncio.wait_for(process.wait(), 30) == 0


async def test_settings_refuse_an_address_that_is_none() -> None:
    environment = os.environ | {"CONSOLE_TICKETS_URL": "tickets:8000"}
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-m",
        "services.console",
        "--print-config",
        cwd=ROOT,
        env=environment,
        stderr=asyncio.subprocess.PIPE,
    )
    _, said = await process.communicate()
    assert process.returncode == 2
    assert b"TICKETS_URL" in said.upper()
    assert b"must start with http://" in said


@pytest.mark.parametrize(
    ("variables", "expected"),
    [
        ({"TICKETS_URL": "http://a:1/"}, "http://a:1"),
        ({"TICKETS_URL": "http://a:1", "CONSOLE_TICKETS_URL": "http://b:2"}, "http://b:2"),
        ({}, ""),
    ],
)
def test_an_address_for_the_edge_alone_wins(
    monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], expected: str
) -> None:
    from services.console.settings import Settings  # noqa: PLC0415 - read with the environment set

    for name in ("TICKETS_URL", "CONSOLE_TICKETS_URL"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    assert Settings().upstreams()["tickets"] == expected
