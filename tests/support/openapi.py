"""schemathesis over every operation of an API: seeded, bounded, on a real port.

    await check_api(app, headers=caller.headers)

Fails when an operation answers 5xx, a status or content type its OpenAPI does not name, or a body that is not what
the OpenAPI says; the message has a curl command for each.
"""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlsplit

import httpx2
from starlette.types import ASGIApp

from tests.support.api import served

CHECKS = (
    "not_a_server_error",
    "status_code_conformance",
    "content_type_conformance",
    "response_schema_conformance",
    "response_headers_conformance",
    "unsupported_method",
    "ignored_auth",
)


@dataclass(kw_only=True)
class Report:
    """What was tried."""

    answers: Counter[tuple[str, int]] = field(default_factory=Counter)
    """How often each operation answered each status."""
    failures: dict[str, str] = field(default_factory=dict)
    """By operation and kind: what went wrong, with a command that shows it."""

    @property
    def operations(self) -> set[str]:
        """Every operation that was called."""
        return {label for label, _ in self.answers}

    def statuses(self, label: str) -> set[int]:
        """The statuses of one operation, `"POST /v1/messages"`."""
        return {status for name, status in self.answers if name == label}


async def check_api(
    api: ASGIApp | str,
    *,
    headers: Mapping[str, str],
    examples: int = 25,
    seed: int = 1,
    without: Collection[str] = (),
    only: Collection[str] = (),
) -> Report:
    """Try every operation of an app, or of the API at an address, with valid and invalid requests.

    `headers` authenticate; `without` names checks to leave out; `only` limits the paths. Raises AssertionError with
    every failure found.
    """
    checks = [name for name in CHECKS if name not in without]
    if isinstance(api, str):
        report = await _check(api, headers, _settings(examples, seed, checks), only)
    else:
        async with served(api) as address:
            report = await _check(address, headers, _settings(examples, seed, checks), only)
    assert not report.failures, f"{len(report.failures)} kinds of failure\n\n" + "\n\n".join(report.failures.values())
    return report


def _settings(examples: int, seed: int, checks: Collection[str]) -> dict[str, Any]:
    return {
        "seed": seed,
        "request-timeout": 30.0,
        "workers": 1,
        "cache": {"enabled": False},
        "generation": {
            "max-examples": examples,
            "deterministic": True,
            "no-shrink": True,
            "database": "none",
            "mode": "all",
        },
        "checks": {"enabled": False, **{name: {"enabled": True} for name in checks}},
        "phases": {"stateful": {"enabled": False}, "coverage": {"enabled": True}},
        "warnings": False,
    }


def is_endless(operation: Mapping[str, Any]) -> bool:
    """Whether an operation answers with a stream that does not end, and so has no body to judge."""
    return "text/event-stream" in operation["responses"].get("200", {}).get("content", {})


async def _check(address: str, headers: Mapping[str, str], settings: dict[str, Any], only: Collection[str]) -> Report:
    async with httpx2.AsyncClient() as client:
        answer = await client.get(f"{address}/openapi.json")
        assert answer.status_code == 200, answer.text
    document = answer.json()
    if only:
        document["paths"] = {path: item for path, item in document["paths"].items() if path in only}
    for item in document["paths"].values():
        for method in [name for name, operation in item.items() if is_endless(operation)]:
            del item[method]
    document["paths"] = {path: item for path, item in document["paths"].items() if item}
    assert document["paths"], "no operation to try"
    settings.update(_credentials(document, dict(headers)))
    # In a thread: schemathesis blocks, and the app answers in this event loop.
    return await asyncio.to_thread(_run, document, address, settings)


def _run(document: dict[str, Any], address: str, settings: dict[str, Any]) -> Report:
    import schemathesis  # noqa: PLC0415 - takes a second that only these tests should pay
    from schemathesis import engine  # noqa: PLC0415 - as above
    from schemathesis.engine import events  # noqa: PLC0415 - as above

    schema = schemathesis.openapi.from_dict(document, config=schemathesis.Config.from_dict(settings))
    schema.config.update(base_url=address)
    report = Report()
    for event in engine.from_schema(schema).execute():
        if isinstance(event, events.ScenarioFinished):
            _record(report, event.recorder, document)
        elif isinstance(event, events.NonFatalError):
            report.failures[f"error {event.label}"] = f"{event.label}: {event.info.format()}"
        elif isinstance(event, events.FatalError):
            raise event.exception
    return report


def _credentials(document: dict[str, Any], headers: dict[str, str]) -> dict[str, Any]:
    """The bearer as the documented scheme, so that the check of ignored authentication can leave it out."""
    others = {name: value for name, value in headers.items() if name.lower() != "authorization"}
    authorization = next((value for name, value in headers.items() if name.lower() == "authorization"), "")
    scheme, _, secret = authorization.partition(" ")
    schemes = document.get("components", {}).get("securitySchemes", {})
    bearers = [name for name, known in schemes.items() if known.get("scheme") == "bearer"]
    if scheme.lower() != "bearer" or not bearers:
        return {"headers": headers}
    return {"headers": others, "auth": {"openapi": {name: {"bearer": secret} for name in bearers}}}


def _record(report: Report, recorder: Any, document: dict[str, Any]) -> None:
    for case_id, interaction in recorder.interactions.items():
        if interaction.response is not None:
            report.answers[recorder.label, interaction.response.status_code] += 1
        for check in recorder.checks.get(case_id, ()):
            if check.failure_info is None:
                continue
            if check.name == "unsupported_method" and _declared(document, interaction.request):
                continue
            failure = check.failure_info.failure
            kind = f"{recorder.label} {check.name} {failure.title}"
            if kind not in report.failures:
                response = interaction.response
                status = f"{response.status_code} {response.content[:400]!r}" if response is not None else "no answer"
                report.failures[kind] = (
                    f"{recorder.label}: {failure.title} ({check.name})\n{failure.message}\n"
                    f"  answered {status}\n  {check.failure_info.code_sample}"
                )


def _declared(document: dict[str, Any], request: Any) -> bool:
    """Whether the method belongs to another path that matches too: PATCH /people/me is PATCH /people/{person_id}."""
    path = urlsplit(request.uri).path
    return any(
        request.method.lower() in item and re.fullmatch(re.sub(r"\\{[^}]*\\}", "[^/]+", re.escape(template)), path)
        for template, item in document["paths"].items()
    )
