"""`make new-service`: what it makes runs, is tested, keeps to the house's rules and is found by everything."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.engines import Engines

ROOT = Path(__file__).parents[2]
PARTS = ("services", "shared", "cli", "deploy", "tests", "requirements", "docs")
OWN = ("tests/unit/csat", "tests/integration/csat")
HOUSE = ("tests/contracts/test_manifest.py", "tests/contracts/test_reference.py", "tests/unit/console")
EDGE = "tests/integration/console/test_path_table.py"

pytestmark = [pytest.mark.engines, pytest.mark.slow]


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A copy of the checkout to write in."""
    copy = tmp_path_factory.mktemp("tree")
    for part in PARTS:
        shutil.copytree(ROOT / part, copy / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", copy)
    return copy


def run(tree: Path, *command: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", *command],
        cwd=tree,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_a_new_service_passes_its_own_tests_and_everybodys(tree: Path, engines: Engines) -> None:
    made = run(tree, "cli", "new-service", "csat")
    assert made.returncode == 0, made.stderr
    addresses = {
        "KAFKA_URL": engines.kafka_url,
        "DATABASE_URL": engines.database_url,
        "OPENSEARCH_URL": engines.opensearch_url,
    }
    passed = run(tree, "pytest", *OWN, *HOUSE, EDGE, **addresses)
    assert passed.returncode == 0, passed.stdout[-4000:]
    files = ("services/csat", "services/console", "shared/contracts/manifest.py", *OWN)
    assert run(tree, "ruff", "check", "--no-cache", *files).stdout.strip() == "All checks passed!"
    formatted = run(tree, "ruff", "format", "--no-cache", "--check", *files)
    assert formatted.returncode == 0, formatted.stdout


@pytest.mark.parametrize(
    "name", ["Csat", "c", "my-service", "my_service", "class", "sample", "shared", "tickets", "1st"]
)
def test_a_name_that_cannot_be_a_services_is_refused_and_nothing_is_made(tree: Path, name: str) -> None:
    before = sorted(tree.rglob("*"))
    refused = run(tree, "cli", "new-service", name)
    assert refused.returncode == 2
    assert repr(name) in refused.stderr
    assert [path for path in sorted(tree.rglob("*")) if "__pycache__" not in path.parts] == before
