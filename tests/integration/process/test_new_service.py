"""The template keeps what a new service is promised beside running tests: types, and a schema that is true."""

from __future__ import annotations

import shutil
import subprocess
import sys
from pathlib import Path

import asyncpg
import pytest

from cli import catalog, new_service, schema
from tests.support.databases import ScratchDatabases

ROOT = Path(__file__).parents[3]
PARTS = ("services", "shared", "cli", "deploy", "tests", "requirements")


@pytest.mark.slow
def test_a_new_service_passes_the_type_checker(tmp_path: Path) -> None:
    for part in PARTS:
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    new_service.make(tmp_path, "csat")
    checked = subprocess.run(
        [sys.executable, "-m", "mypy", "services/csat", "tests/unit/csat", "tests/integration/csat"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert checked.returncode == 0, checked.stdout


@pytest.mark.engines
async def test_the_schema_of_the_template_is_what_its_migration_makes(
    databases: ScratchDatabases, database_url: str
) -> None:
    connection = await asyncpg.connect(databases.admin(database_url))
    try:
        before = await catalog.read(connection)
        for migration in sorted((new_service.TEMPLATE / "service" / "migrations").glob("*.sql")):
            await connection.execute(migration.read_text())
        own = {key: sql for key, sql in (await catalog.read(connection)).items() if before.get(key) != sql}
    finally:
        await connection.close()
    assert (new_service.TEMPLATE / "service" / "schema.sql").read_text() == catalog.text(own, schema.HEADING)
