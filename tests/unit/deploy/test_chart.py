"""What holds for the chart without a cluster; what needs helm says so where it is not installed."""

from __future__ import annotations

import copy
import json
import re
from pathlib import Path
from typing import Any

import jsonschema  # type: ignore[import-untyped]  # ships no types
import pytest
import yaml

from deploy.containers import charts
from deploy.local.services import discover
from shared import access
from shared.contracts.event import Topic
from shared.contracts.manifest import TOPICS

ROOT = Path(__file__).parents[3]
SERVICES = discover()
needs_helm = pytest.mark.skipif(charts.helm() is None, reason="helm is not installed (HELM names it): not rendered")


def _values(path: Path | None = None) -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((path or charts.CHART / "values.yaml").read_text())
    return found


def test_the_chart_knows_every_service_and_no_more_instances_than_partitions() -> None:
    values = _values()
    assert sorted(values["services"]) == SERVICES
    assert values["kafka"]["partitions"] == max(topic.partitions for topic in TOPICS) == Topic.partitions
    chart = yaml.safe_load((charts.CHART / "Chart.yaml").read_text())
    assert re.fullmatch(r"\d+\.\d+\.\d+", chart["version"])
    assert (
        chart["appVersion"] == re.findall(r'^version = "(.+)"$', (ROOT / "pyproject.toml").read_text(), re.MULTILINE)[0]
    )


@pytest.mark.parametrize("path", [charts.CHART / "values.yaml", *charts.values_files()], ids=lambda path: path.name)
def test_values_follow_their_schema(path: Path) -> None:
    schema = json.loads((charts.CHART / "values.schema.json").read_text())
    jsonschema.Draft7Validator.check_schema(schema)
    jsonschema.Draft7Validator(schema).validate(_merged(_values(), _values(path)))


def _merged(below: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """As helm lays one file of values over another."""
    both = {
        name: _merged(below[name], value) if isinstance(value, dict) and isinstance(below.get(name), dict) else value
        for name, value in over.items()
    }
    return below | both


def test_what_is_no_override_of_anything_is_refused() -> None:
    known = _values()
    for path in charts.values_files():
        assert _values(path).keys() <= known.keys()


@pytest.mark.parametrize(
    "wrong",
    [
        {"services": {"tickts": {}}},
        {"services": {"tickets": {"replicas": 0}}},
        {"services": {"tickets": {"scaling": {"maximum": 3}}}},
        {"image": {"tag": "latest"}},
        {"kafka": {"partitions": "many"}},
        {"kafka": {"username": "everybody"}},
        {"provision": {"access": {"enabled": "yes"}}},
        {"blobs": {"url": "http://blobs"}},
        {"defaults": {"resources": {"limits": {"memory": "lots"}}}},
    ],
    ids=str,
)
def test_the_schema_refuses_mistakes(wrong: dict[str, Any]) -> None:
    schema = json.loads((charts.CHART / "values.schema.json").read_text())
    assert not jsonschema.Draft7Validator(schema).is_valid(_values() | wrong)


@needs_helm
@pytest.mark.parametrize("path", [None, *charts.values_files()], ids=lambda path: path.name if path else "values.yaml")
def test_the_chart_renders_to_hardened_pods(path: Path | None) -> None:
    objects = charts.render(path)
    assert charts.complaints(objects) == []
    assert charts.against_schemas(objects) == []
    scaled = [one["spec"] for one in objects if one["kind"] == "ScaledObject"]
    assert all(spec["maxReplicaCount"] <= Topic.partitions for spec in scaled)


@needs_helm
def test_one_service_alone_brings_nothing_of_the_others() -> None:
    objects = charts.render(charts.CHART / "values/one-service.yaml")
    assert [one["metadata"]["name"] for one in objects if one["kind"] == "Deployment"] == ["desk-triage"]
    assert not [one for one in objects if one["kind"] == "Job"]


@pytest.fixture(scope="module")
def production() -> list[dict[str, Any]]:
    """The objects of a managed installation."""
    return charts.render(charts.CHART / "values/production.yaml")


def _named(objects: list[dict[str, Any]], kind: str, name: str) -> dict[str, Any]:
    (found,) = [one for one in objects if (one["kind"], one["metadata"]["name"]) == (kind, name)]
    return found


def _keys(one: dict[str, Any]) -> set[str]:
    """The keys of the Secret that an object's pods see."""
    return {
        item["key"]
        for volume in one["spec"]["template"]["spec"]["volumes"]
        for item in volume.get("secret", {}).get("items", [])
    }


@needs_helm
def test_every_service_is_a_user_of_its_own_and_sees_nobody_elses_password(production: list[dict[str, Any]]) -> None:
    for service in set(SERVICES) - {"console"}:
        deployment = _named(production, "Deployment", f"desk-{service}")
        (container,) = deployment["spec"]["template"]["spec"]["containers"]
        told = {variable["name"]: variable["value"] for variable in container["env"]}
        assert told["KAFKA_USERNAME"] == service
        assert told["DATABASE_CA_FILE"] == "/run/secrets/database_ca"
        common = {"master_key", "kafka_ca", "database_ca", "opensearch_ca"}
        assert all(key in common or key.startswith(f"{service}_") for key in _keys(deployment))
    assert not {key for key in _keys(_named(production, "Deployment", "desk-console")) if "password" in key}


@needs_helm
def test_jobs_come_in_order_each_with_the_secrets_of_its_work(production: list[dict[str, Any]]) -> None:
    jobs = {one["metadata"]["name"]: one for one in production if one["kind"] == "Job"}
    hooks = {name: one["metadata"]["annotations"] for name, one in jobs.items()}
    assert all(hook["helm.sh/hook"] == "pre-install,pre-upgrade" for hook in hooks.values())
    assert sorted(jobs, key=lambda name: int(hooks[name]["helm.sh/hook-weight"])) == [
        "desk-access",
        "desk-topics",
        "desk-databases",
    ]
    passwords = {f"{user}_kafka_password" for user in access.users()} | {"kafka_admin_password"}
    assert _keys(jobs["desk-access"]) == passwords | {"kafka_ca", "database_ca"}
    assert _keys(jobs["desk-topics"]) == {"provision_kafka_password", "kafka_ca", "database_ca"}
    assert not any("kafka_password" in key for key in _keys(jobs["desk-databases"]))


@needs_helm
def test_lag_alone_scales_and_what_is_parked_is_no_lag(production: list[dict[str, Any]]) -> None:
    scaled = [one for one in production if one["kind"] == "ScaledObject"]
    assert len(scaled) == 4
    for one in scaled:
        (trigger,) = one["spec"]["triggers"]
        assert trigger["type"] == "kafka"
        assert trigger["metadata"]["consumerGroup"] == one["metadata"]["name"].removeprefix("desk-")
        # Not a series of ours: parked keys are counted there, and their events' offsets are committed.
        assert "query" not in trigger["metadata"]
        assert trigger["metadata"]["excludePersistentLag"] == "true"
        assert trigger["metadata"]["allowIdleConsumers"] == "false"


@needs_helm
def test_more_is_asked_for_than_there_are_partitions_and_not_given() -> None:
    wanted = ("services.sla.scaling.enabled=true", "services.sla.scaling.min=40", "services.sla.scaling.max=50")
    found = _named(charts.render(None, *wanted), "ScaledObject", "desk-sla")["spec"]
    assert (found["minReplicaCount"], found["maxReplicaCount"]) == (Topic.partitions, Topic.partitions)


@needs_helm
def test_a_switch_takes_everything_of_a_service_away() -> None:
    objects = charts.render(None, "services.search.enabled=false", "serviceMonitor.enabled=true")
    assert not [one for one in objects if one["metadata"]["name"] == "desk-search"]
    (console,) = _named(objects, "Deployment", "desk-console")["spec"]["template"]["spec"]["containers"]
    assert "SEARCH_URL" not in {variable["name"] for variable in console["env"]}


@needs_helm
def test_an_operators_alerts_are_the_file_that_is_tested(production: list[dict[str, Any]]) -> None:
    rules = yaml.safe_load((ROOT / "deploy/monitoring/alerts.yaml").read_text())
    assert _named(production, "PrometheusRule", "desk-alerts")["spec"] == rules


POD: dict[str, Any] = {
    "apiVersion": "batch/v1",
    "kind": "Job",
    "metadata": {"name": "job", "labels": {"app.kubernetes.io/component": "job"}},
    "spec": {
        "template": {
            "spec": {
                "restartPolicy": "Never",
                "automountServiceAccountToken": False,
                "securityContext": {"runAsNonRoot": True},
                "containers": [
                    {
                        "name": "job",
                        "image": "desk:1",
                        "securityContext": {
                            "readOnlyRootFilesystem": True,
                            "allowPrivilegeEscalation": False,
                            "capabilities": {"drop": ["ALL"]},
                        },
                        "resources": {"requests": {"cpu": "1"}, "limits": {"memory": "1Gi"}},
                        "env": [{"name": "KAFKA_CA_FILE", "value": "/run/secrets/kafka_ca"}],
                    }
                ],
                "volumes": [
                    {"name": "s", "secret": {"secretName": "s", "items": [{"key": "kafka_ca", "path": "kafka_ca"}]}}
                ],
            }
        }
    },
}


def test_a_pod_that_keeps_the_rules_is_not_complained_of() -> None:
    assert charts.complaints([POD]) == []
    assert charts.against_schemas([POD]) == []


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda pod: pod["volumes"][0]["secret"].pop("items"), "sees every key"),
        (lambda pod: pod["volumes"][0]["secret"]["items"].clear(), "sees every key"),
        (lambda pod: pod["containers"][0]["env"][0].update(value="/run/secrets/other"), "is not there"),
        (lambda pod: pod["securityContext"].clear(), "as root"),
        (lambda pod: pod["containers"][0].update(image="desk:latest"), "no fixed version"),
        (lambda pod: pod["containers"][0]["env"].append({"name": "X_PASSWORD", "value": "x"}), "secret in its env"),
    ],
)
def test_a_pod_that_breaks_one_is(change: Any, said: str) -> None:
    broken = copy.deepcopy(POD)
    change(broken["spec"]["template"]["spec"])
    assert said in " ".join(charts.complaints([broken]))


def test_kubernetes_own_schemas_are_asked() -> None:
    broken = copy.deepcopy(POD)
    broken["spec"]["backofLimit"] = 5
    assert "backofLimit" in " ".join(charts.against_schemas([broken]))
