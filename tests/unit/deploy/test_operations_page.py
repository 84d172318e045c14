"""The operator's page names settings, commands and files that there are."""

from __future__ import annotations

import importlib
import re
from pathlib import Path

import pytest

from cli.__main__ import COMMANDS
from deploy.local.services import discover
from shared.settings import ServiceSettings

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs/operations.md").read_text()
OTHERS = {"DATABASE_URL", "OPENSEARCH_URL"}
"""Read by the command line and by search, beside the settings of every service."""


def variables() -> set[str]:
    """Every variable that a service reads."""
    found = {name.upper() for name in ServiceSettings.model_fields}
    for service in discover():
        settings = importlib.import_module(f"services.{service}.settings").Settings
        found |= {f"{settings.model_config['env_prefix']}{name}".upper() for name in settings.model_fields}
    return found


def section(title: str) -> str:
    """What stands under a heading."""
    return PAGE.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


def test_every_setting_of_the_table_is_one() -> None:
    rows = [line for line in section("Configure").splitlines() if line.startswith("|")]
    named = {name for row in rows for name in re.findall(r"`([A-Z][A-Z_]+[A-Z])`", row)}
    assert len(named) > 30
    assert named - variables() - OTHERS == set()


def test_every_command_is_one() -> None:
    named = set(re.findall(r"(?:\./deskwire|-m cli|`deskwire) ([a-z-]+)", PAGE))
    assert {"access", "provision", "rewind", "seed", "dlq", "parked"} <= named
    assert named <= COMMANDS.keys()


def test_every_make_target_is_one() -> None:
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    assert set(re.findall(r"(?:^|`)make ([a-z-]+)", PAGE, re.MULTILINE)) <= targets


@pytest.mark.parametrize("target", sorted(set(re.findall(r"\]\(([^)]+)\)", PAGE))))
def test_every_link_leads_somewhere(target: str) -> None:
    if target.startswith("#"):
        headings = re.findall(r"^##+ (.+)$", PAGE, re.MULTILINE)
        assert target[1:] in {heading.lower().replace(" ", "-") for heading in headings}
    else:
        assert (ROOT / "docs" / target).resolve().exists()
