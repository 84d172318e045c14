"""The alert rules: they can be read, what they ask about is measured, and the operator's page says what to do."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import promql_parser
import pytest
import yaml

ROOT = Path(__file__).parents[3]
RULES: dict[str, Any] = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yaml").read_text())
ALERTS: list[dict[str, Any]] = [rule for group in RULES["groups"] for rule in group["rules"]]
PAGE = (ROOT / "docs/operations.md").read_text()
SCRAPED = {"instance", "job"}
"""Labels that Prometheus itself adds."""
MADE = {"Counter": ("_total",), "Gauge": ("",), "Histogram": ("_bucket", "_sum", "_count")}


def measured() -> dict[str, set[str] | None]:
    """Every series of ours as Prometheus names it, and its labels where they are written beside it."""
    found: dict[str, set[str] | None] = {}
    for folder in ("shared", "services"):
        for path in (ROOT / folder).rglob("*.py"):
            for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in MADE:
                    _note(node, found)
    return found


def _note(call: ast.Call, found: dict[str, set[str] | None]) -> None:
    name = call.args[0] if call.args else None
    if not isinstance(name, ast.Constant) or not isinstance(name.value, str) or not name.value.startswith("deskwire_"):
        return
    labels = call.args[2] if len(call.args) > 2 else None
    known = (
        {str(one.value) for one in labels.elts if isinstance(one, ast.Constant)}
        if isinstance(labels, ast.List)
        else None
    )
    assert isinstance(call.func, ast.Name)
    for suffix in MADE[call.func.id]:
        more = {"le"} if suffix == "_bucket" else set()
        found[f"{name.value}{suffix}"] = None if known is None else known | more


MEASURED = measured()


def test_something_is_measured() -> None:
    assert len(MEASURED) > 50


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_a_rule_can_be_read_and_says_how_bad_it_is_and_what(rule: dict[str, Any]) -> None:
    assert rule.keys() <= {"alert", "expr", "for", "labels", "annotations"}
    promql_parser.parse(rule["expr"])
    assert re.fullmatch(r"Deskwire([A-Z][a-z]+)+", rule["alert"])
    assert rule["labels"] in ({"severity": "page"}, {"severity": "ticket"})
    assert rule["annotations"].keys() == {"summary"}
    assert re.fullmatch(r"\d+[ms]", rule.get("for", "0s"))


@pytest.mark.parametrize("rule", ALERTS, ids=lambda rule: str(rule["alert"]))
def test_a_rule_asks_about_series_and_labels_that_there_are(rule: dict[str, Any]) -> None:
    text = rule["expr"]
    names = set(re.findall(r"\bdeskwire_\w+", text))
    assert names
    assert names - MEASURED.keys() == set()
    for name, inside in re.findall(r"\b(deskwire_\w+)\{([^}]*)\}", text):
        labels = set(re.findall(r"(\w+)\s*[=!]", inside))
        known = MEASURED[name]
        assert known is None or labels <= known | SCRAPED
    known_here = [MEASURED[name] for name in names]
    for inside in re.findall(r"by \(([^)]*)\)", text):
        for label in inside.replace(" ", "").split(","):
            assert any(known is None or label in known | SCRAPED for known in known_here)


def test_a_rule_about_nothing_would_be_seen() -> None:
    assert "deskwire_bus_lag" not in MEASURED
    with pytest.raises(ValueError):
        promql_parser.parse("max by (service (deskwire_ready)")


def test_the_page_says_of_every_alert_what_to_do_and_of_no_other() -> None:
    table = PAGE.partition("## Alerts")[2].partition("\n## ")[0]
    rows = {
        name: (bad, text)
        for name, bad, text in re.findall(r"^\| `(Deskwire\w+)` \| (\w+) \| (.+) \|$", table, re.MULTILINE)
    }
    assert rows.keys() == {rule["alert"] for rule in ALERTS}
    assert len(ALERTS) == len(rows)
    for rule in ALERTS:
        assert rows[rule["alert"]][0] == rule["labels"]["severity"]
