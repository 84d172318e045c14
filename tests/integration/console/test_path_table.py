"""The path table against what services really serve: nothing unreachable, nothing stolen, nothing stale."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr

from services.console.domain import PATHS, SERVICES, merge, route
from services.console.settings import Settings
from shared.service import Service
from tests.support.api import MASTER_KEY
from tests.support.databases import ScratchDatabases
from tests.support.engines import Engines

ROOT = Path(__file__).parents[3]
BEHIND = sorted(path.parent.name for path in (ROOT / "services").glob("*/app.py") if path.parent.name != "console")

pytestmark = pytest.mark.engines


async def openapi_of(name: str, engines: Engines, databases: ScratchDatabases, folder: Path) -> Mapping[str, Any]:
    """The document of a service, built as its process builds it but not started."""
    settings = importlib.import_module(f"services.{name}.settings").Settings(
        kafka_url=engines.kafka_url,
        database_url=SecretStr(await databases.create(name)),
        blobs_url=folder.as_uri(),
        master_key=SecretStr(MASTER_KEY),
    )
    made = importlib.import_module(f"services.{name}.app").build(settings)
    service: Service = await made if inspect.isawaitable(made) else made
    try:
        assert service.openapi is not None, f"{name} tells no OpenAPI"
        return service.openapi()
    finally:
        for stop in service.stop:
            await stop()


def test_every_service_with_an_api_is_in_the_table_and_in_the_settings() -> None:
    assert sorted(SERVICES) == BEHIND
    assert set(Settings().upstreams()) == set(BEHIND)


async def test_every_operation_of_every_service_is_reachable_and_keeps_its_place(
    engines: Engines, databases: ScratchDatabases, tmp_path: Path
) -> None:
    documents = {name: await openapi_of(name, engines, databases, tmp_path) for name in BEHIND}
    for name, document in documents.items():
        for path in document["paths"]:
            rule = route(path)
            assert rule is not None, f"{name} serves {path}, which the edge does not pass on"
            assert rule.service == name, f"{name} serves {path}, which the edge gives to {rule.service}"
    served = [path for document in documents.values() for path in document["paths"]]
    for rule in PATHS:
        assert any(route(path) == rule for path in served), f"nothing is served below {rule.prefix}"
    merged = merge(documents)
    assert set(merged["paths"]) == set(served)
    ids = [
        operation["operationId"]
        for item in merged["paths"].values()
        for operation in item.values()
        if isinstance(operation, dict)
    ]
    assert len(ids) == len(set(ids))
    _references_lead_somewhere(merged, merged)


def _references_lead_somewhere(whole: Mapping[str, Any], node: Any) -> None:
    if isinstance(node, dict):
        if isinstance(node.get("$ref"), str):
            target: Any = whole
            for part in node["$ref"].removeprefix("#/").split("/"):
                target = target[part]
        for value in node.values():
            _references_lead_somewhere(whole, value)
    elif isinstance(node, list):
        for value in node:
            _references_lead_somewhere(whole, value)
