"""A process listens first, says what it lacks, heals by itself, drains when asked, and dies rather than limps."""

from __future__ import annotations

import asyncio
import json
import signal
import time

import httpx2
import pytest

from tests.integration.process.conftest import Link, Start, free_port
from tests.integration.process.program import CANARY


@pytest.mark.engines
async def test_a_database_away_at_start_is_waited_for_and_named(start: Start, link: Link, linked_url: str) -> None:
    process = await start(DEMO_DATABASE_URL=linked_url)
    await process.becomes("/livez", 200)
    await process.becomes("/readyz", 503)

    assert await process.missing() == ["postgresql"]
    assert (await process.get("/anything")).status_code == 503
    await link.mend()
    await process.becomes("/readyz", 200)
    await process.becomes("/anything", 200)


@pytest.mark.engines
async def test_a_database_that_goes_away_is_named_within_ten_seconds_and_its_return_is_seen(
    start: Start, link: Link, linked_url: str
) -> None:
    await link.mend()
    process = await start(DEMO_DATABASE_URL=linked_url)
    await process.becomes("/readyz", 200)
    for _ in range(2):
        await link.cut()
        await process.becomes("/readyz", 503, within=10)
        assert await process.missing() == ["postgresql"]
        assert await process.status("/livez") == 200
        await link.mend()
        await process.becomes("/readyz", 200, within=10)


async def test_a_signal_drains_what_is_in_hand_and_ends_with_zero(start: Start) -> None:
    process = await start(DEMO_MODE="drains")
    await process.becomes("/readyz", 200)
    slow = asyncio.create_task(process.get("/slow"))
    await asyncio.sleep(0.3)
    process.signal(signal.SIGTERM)
    assert (await slow).text == "done"
    assert await process.ended() == 0
    assert "drained" in process.output
    assert '"event":"stopped"' in process.output


async def test_a_stopping_process_takes_no_new_connection_and_is_not_ready(start: Start) -> None:
    process = await start(DEMO_MODE="drains")
    await process.becomes("/readyz", 200)
    async with httpx2.AsyncClient() as client:
        await client.get(f"http://127.0.0.1:{process.port}/readyz")
        process.signal(signal.SIGINT)
        await process.becomes("/readyz", 0)
    assert await process.ended() == 0


async def test_a_loop_that_does_not_drain_is_cut_off_and_told(start: Start) -> None:
    process = await start(DEMO_MODE="hangs", DEMO_DRAIN_SECONDS="1")
    await process.becomes("/readyz", 200)
    began = time.monotonic()
    process.signal()
    assert await process.ended(within=12) == 1
    assert time.monotonic() - began < 8
    assert "drain cut short" in process.output


async def test_a_second_signal_ends_the_process_at_once(start: Start) -> None:
    process = await start(DEMO_MODE="hangs", DEMO_DRAIN_SECONDS="20")
    await process.becomes("/readyz", 200)
    process.signal()
    await process.becomes("/readyz", 0)
    process.signal()
    assert await process.ended(within=3) == 1


@pytest.mark.parametrize(("mode", "why"), [("dies", "no more, says"), ("returns", "loop work ended")])
async def test_a_loop_that_ends_ends_the_process(start: Start, mode: str, why: str) -> None:
    process = await start(DEMO_MODE=mode)
    assert await process.ended() == 1
    lines = [json.loads(line) for line in process.output.splitlines()]
    (told,) = [line for line in lines if line["event"] == "service failed"]
    assert told["level"] == "critical"
    assert why in told["reason"]
    assert CANARY not in process.output


async def test_the_api_answers_503_until_reference_data_is_complete(start: Start) -> None:
    process = await start(DEMO_MODE="replica")
    await process.becomes("/readyz", 503)
    answer = await process.get("/v1/things")
    assert answer.status_code == 503
    assert answer.headers["content-type"] == "application/problem+json"
    assert answer.headers["retry-after"] == "1"
    assert answer.json()["detail"] == "waiting for replica tenant.changed"
    await process.becomes("/v1/things", 200)


async def test_several_services_share_a_process_and_each_answers_for_itself(start: Start) -> None:
    port = free_port()
    process = await start("other", OTHER_HTTP_PORT=str(port), OTHER_MODE="replica")
    await process.becomes("/readyz", 200)
    assert await process.status("/readyz", port) == 503
    await process.becomes("/readyz", 200, port=port)
    assert (await process.get("/livez", port)).json()["service"] == "other"
    process.signal()
    assert await process.ended() == 0


async def test_no_address_leaves_by_the_log_whoever_says_it(start: Start) -> None:
    process = await start(DEMO_MODE="leaks")
    await process.becomes("/readyz", 200)
    process.signal()
    assert await process.ended() == 0
    lines = process.output.splitlines()
    assert len(lines) > 2000
    assert CANARY not in process.output
    assert "canary" not in process.output.replace("CANARY", "")
    assert "1234567" not in process.output
    for line in lines:
        assert {"timestamp", "level", "event", "service"} <= set(json.loads(line)), line


async def test_metrics_and_asyncapi_are_served_and_nothing_that_publishes(start: Start) -> None:
    process = await start()
    await process.becomes("/readyz", 200)
    assert "process_resident_memory_bytes" in (await process.get("/metrics")).text
    assert (await process.get("/asyncapi.json")).json()["asyncapi"].startswith("3.")
    for path in ("/asyncapi/try", "/asyncapi"):
        assert (await process.get(path)).text == "done"


async def test_probes_leave_no_line_in_the_log(start: Start) -> None:
    process = await start()
    await process.becomes("/readyz", 200)
    await asyncio.sleep(0.3)
    before = process.output
    for _ in range(20):
        await process.get("/livez")
        await process.get("/readyz")
    assert process.output == before


async def test_a_taken_port_is_one_line_that_names_the_variable(start: Start) -> None:
    first = await start()
    await first.becomes("/readyz", 200)
    second = await start(DEMO_HTTP_PORT=str(first.port))
    assert await second.ended() == 2
    assert f"DEMO_HTTP_PORT: cannot listen on 127.0.0.1:{first.port}: Address already in use" in second.output
    assert "Traceback" not in second.output


async def test_a_wrong_variable_and_an_unknown_service_are_refused_in_a_line(start: Start) -> None:
    wrong = await start(module="services.directory", DIRECTORY_HTTP_PORT="seventy")
    assert await wrong.ended() == 2
    assert "DIRECTORY_HTTP_PORT" in wrong.output
    unknown = await start("run", "nosuch", module="cli")
    assert await unknown.ended() == 2
    assert "no service is named 'nosuch'" in unknown.output
    for process in (wrong, unknown):
        assert "Traceback" not in process.output


async def test_the_settings_in_effect_are_printed_with_secrets_hidden(start: Start) -> None:
    process = await start(
        "--print-config",
        module="services.directory",
        DIRECTORY_DATABASE_URL="postgresql://directory:hunter2@127.0.0.1:5432/directory",
        KAFKA_PASSWORD="hunter3",
    )
    assert await process.ended() == 0
    assert json.loads(process.output)["kafka_url"] == "127.0.0.1:9092"
    assert "hunter" not in process.output
