"""What holds for images and Compose without a daemon."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from deploy.containers import images, sbom, secret_files, secured_files
from deploy.local import docker
from deploy.local.services import discover
from shared import access

ROOT = Path(__file__).parents[3]
DOCKERFILES = [ROOT / "deploy/Dockerfile", *sorted((ROOT / "deploy/engines").glob("*Dockerfile"))]
SERVICES = discover()
WITH_DATABASE = [service for service in SERVICES if service != "console"]
OWN = {"shared", "services", "cli", "deploy"}


def _compose(name: str = "compose.yaml") -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / name).read_text())
    return found


@pytest.mark.parametrize("path", DOCKERFILES, ids=lambda path: str(path.relative_to(ROOT)))
def test_images_run_as_somebody_from_a_fixed_version(path: Path) -> None:
    text = path.read_text()
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    bases = [line.split()[1] for line in lines if line.startswith("FROM")]
    stages = {line.split()[3] for line in lines if line.startswith("FROM") and " AS " in line}
    assert all(base == "${BASE}" or base in stages for base in bases)
    default = re.search(r"^ARG BASE=(\S+)$", text, re.MULTILINE)
    assert default is not None
    assert re.fullmatch(r"[a-z/]+:[0-9a-z.-]*[a-z0-9]", default[1])
    assert not default[1].endswith(":latest")
    last = text.rpartition("\nFROM ")[2]
    user = re.findall(r"^USER (\S+)$", last, re.MULTILINE)
    assert user
    assert user[-1].split(":")[0] not in {"root", "0"}
    # A secret in a layer stays there for ever; ADD fetches and unpacks what nobody has looked at.
    assert not re.search(r"^(ARG|ENV) .*(PASSWORD|SECRET|TOKEN|KEY)", text, re.MULTILINE)
    assert not re.search(r"^ADD ", text, re.MULTILINE)


def test_an_image_of_a_service_has_a_health_check_labels_and_no_builder() -> None:
    last = (ROOT / "deploy/Dockerfile").read_text().rpartition("\nFROM ")[2]
    assert "HEALTHCHECK" in last
    assert "ENTRYPOINT [" in last
    for label in ("image.version", "image.revision", "image.licenses"):
        assert f"org.opencontainers.{label}" in last
    assert not re.search(r"\bpip\b|apt-get|gcc|curl", last)
    assert "--require-hashes" in (ROOT / "deploy/Dockerfile").read_text()


@pytest.mark.parametrize("service", SERVICES)
def test_an_image_has_every_package_its_service_imports(service: str) -> None:
    providers = importlib.metadata.packages_distributions()
    pinned = {
        re.sub(r"[-_.]+", "-", line.partition("==")[0]).lower()
        for line in (ROOT / f"requirements/{service}.txt").read_text().splitlines()
        if re.match(r"[A-Za-z]", line)
    }
    missing = {
        module
        for path in (ROOT / "services" / service).rglob("*.py")
        for module in _imported(path)
        if module not in sys.stdlib_module_names | OWN
        and not {re.sub(r"[-_.]+", "-", name).lower() for name in providers.get(module, [])} & pinned
    }
    assert not missing


def _imported(path: Path) -> set[str]:
    found = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            found |= {alias.name.partition(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            found.add(node.module.partition(".")[0])
    return found


@pytest.mark.parametrize("service", ["tickets", "cli"])
def test_an_image_holds_its_services_code_and_nobody_elses(service: str, tmp_path: Path) -> None:
    script = ROOT / "deploy/containers/select.sh"
    subprocess.run(["sh", str(script), service, str(ROOT), str(tmp_path)], check=True)
    there = {path.name for path in (tmp_path / "services").iterdir() if (path / "__main__.py").is_file()}
    assert there == (set(SERVICES) if service == "cli" else {"tickets"})
    assert (tmp_path / "cli").exists() == (service == "cli")
    subprocess.run(["sh", str(script), "sink", str(ROOT), str(tmp_path / "sink")], check=True)
    assert sorted(path.name for path in (tmp_path / "sink").iterdir()) == ["deploy", "livez.py", "services", "start.sh"]
    refused = subprocess.run(["sh", str(script), "nobody", str(ROOT), str(tmp_path)], capture_output=True, check=False)
    assert refused.returncode == 1


def test_the_bill_of_materials_names_every_package_with_its_hashes_and_never_changes_by_itself() -> None:
    text = (ROOT / "requirements/tickets.txt").read_text()
    bill = sbom.bill("deskwire-tickets", "1.0.0", text)
    parts = bill["components"]
    assert isinstance(parts, list)
    assert len(parts) == len(re.findall(r"^[a-z].*==", text, re.MULTILINE))
    assert all(part["hashes"] and part["purl"].startswith("pkg:pypi/") for part in parts)
    assert json.dumps(bill) == json.dumps(sbom.bill("deskwire-tickets", "1.0.0", text))
    installed = sbom.bill("deskwire-tickets", "1.0.0", text, installed_only=True)["components"]
    assert isinstance(installed, list)
    assert {part["name"] for part in parts} - {part["name"] for part in installed} == {"httpx2-jsfetch"}
    with pytest.raises(ValueError, match="not a hashed pin"):
        sbom.components("fastapi>=0.1")


def test_compose_has_every_service_hardened_limited_and_without_more_secrets_than_its_own() -> None:
    compose = _compose()
    assert set(SERVICES) <= compose["services"].keys()
    for name, service in compose["services"].items():
        assert service["read_only"], name
        assert service["cap_drop"] == ["ALL"], name
        assert "mem_limit" in service, name
        assert not str(service["image"]).endswith(":latest"), name
        assert not any("PASSWORD" in key and not key.endswith("_FILE") for key in service.get("environment", {})), name
    for service in WITH_DATABASE:
        assert set(compose["services"][service]["secrets"]) == {"master_key", f"{service}_database_url"}
        assert compose["services"][service]["depends_on"] == {
            "provision": {"condition": "service_completed_successfully"}
        }
    published = [name for name, service in compose["services"].items() if service.get("ports")]
    assert published == ["console"]
    assert int(compose["services"]["tickets"]["stop_grace_period"].removesuffix("s")) >= 45


def test_compose_names_the_files_that_make_secrets_writes(tmp_path: Path) -> None:
    target = tmp_path / "secrets"
    made = secret_files.make(target)
    named, more = (
        {one["file"].rpartition("}/")[2] for one in _compose(name)["secrets"].values()}
        for name in ("compose.yaml", "compose.prod.yaml")
    )
    assert named < set(made)
    foreign = {"kafka_ca.pem", "database_ca.pem", "opensearch_ca.pem", "search_opensearch_password"}
    # Kubernetes alone has a reader of lag.
    assert named | more | {"lag_kafka_username"} == set(made) | foreign
    assert stat.S_IMODE(target.stat().st_mode) == 0o700
    before = {path.name: path.read_text() for path in target.iterdir()}
    assert secret_files.make(target) == []
    assert {path.name: path.read_text() for path in target.iterdir()} == before
    password = before["tickets_database_password"].strip()
    assert before["tickets_database_url"] == f"postgresql://tickets:{password}@postgres:5432/tickets\n"


def test_a_trial_opens_ports_on_this_machine_alone_and_adds_nothing_but_the_sink() -> None:
    compose, trial = _compose()["services"], _compose("compose.trial.yaml")["services"]
    assert trial.keys() - compose.keys() == {"sink"}
    ports = [port for service in trial.values() for port in service.get("ports", ())]
    assert len(ports) == 5
    assert all(port.startswith("127.0.0.1:") for port in ports)
    sink = trial["sink"]
    assert sink["read_only"]
    assert sink["cap_drop"] == ["ALL"]
    assert "mem_limit" in sink


def test_secrets_for_a_server_elsewhere_keep_its_options(tmp_path: Path) -> None:
    secret_files.make(tmp_path, "db.example:5432?sslmode=require")
    assert (tmp_path / "sla_database_url").read_text().endswith("@db.example:5432/sla?sslmode=require\n")


def test_production_gives_every_service_the_engines_outside_and_a_user_of_its_own() -> None:
    overlay = _compose("compose.prod.yaml")["services"]
    assert set(WITH_DATABASE) | {"access", "provision", "deskwire"} <= overlay.keys()
    for service in WITH_DATABASE:
        told = overlay[service]["environment"]
        assert told["KAFKA_USERNAME"] == f"${{TOPIC_PREFIX:-}}{service}"
        for variable in ("KAFKA_CA_FILE", "DATABASE_CA_FILE"):
            assert told[variable].removeprefix("/run/secrets/") in overlay[service]["secrets"]
        passwords = [name for name in overlay[service]["secrets"] if name.endswith("_kafka_password")]
        assert passwords == [f"{service}_kafka_password"]
    asked = {name for name in overlay["access"]["secrets"] if isinstance(name, str) and name.endswith("kafka_password")}
    assert asked == {f"{user}_kafka_password" for user in access.users()}
    assert overlay["provision"]["depends_on"]["access"] == {"condition": "service_completed_successfully"}


@pytest.mark.parametrize("role", ["kafka", "postgres", "opensearch"])
def test_an_engine_is_the_image_that_is_named_else_our_own_else_the_official_one(
    role: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    variable = f"DESKWIRE_{role.upper()}_IMAGE"
    monkeypatch.delenv(variable, raising=False)
    ours = docker.image(role, port=1, password="p", built=True).reference
    assert ours == f"deskwire-engine-{role}:local"
    assert docker.image(role, port=1, password="p", built=False).reference.split(":")[0] in {
        "apache/kafka",
        "pgvector/pgvector",
        "opensearchproject/opensearch",
    }
    monkeypatch.setenv(variable, "mirror.example/engine:1")
    assert docker.image(role, port=1, password="p", built=True).reference == "mirror.example/engine:1"


def test_the_secured_engines_get_every_secret_that_their_file_names(tmp_path: Path) -> None:
    secured_files.make(tmp_path)
    for name in ("compose.yaml", "compose.prod.yaml", "compose.secure.yaml"):
        assert {one["file"].rpartition("}/")[2] for one in _compose(name)["secrets"].values()} <= {
            path.name for path in tmp_path.iterdir()
        }
    settings = (tmp_path / "kafka_settings").read_text()
    assert "allow.everyone.if.no.acl.found=false" in settings
    assert (tmp_path / "kafka_admin_password").read_text().strip() in (tmp_path / "kafka_users").read_text()
    kafka = _compose("compose.secure.yaml")["services"]["kafka"]["environment"]
    assert "PLAINTEXT://" not in kafka["KAFKA_LISTENERS"].replace("SASL_PLAINTEXT", "")


def test_what_make_images_builds_is_what_there_is() -> None:
    assert images.known() == [*SERVICES, "cli", "sink"]
    wanted = [images.BORROWED.get(name, name) for name in images.known()]
    assert all((ROOT / f"requirements/{name}.txt").is_file() for name in wanted)
