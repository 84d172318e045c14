"""Lint and render the chart for every file of values, and hold the result against rules and Kubernetes' schemas.

`make helm-check`; HELM names the program.
"""

from __future__ import annotations

import importlib
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any, Final

import yaml

from deploy.local.folders import CHECKOUT
from deploy.local.refusal import Refusal

CHART: Final = CHECKOUT / "deploy/helm/deskwire"
RELEASE: Final = "desk"
VERSIONS: Final = ("1.27", "1.37")
"""Of Kubernetes, whose schemas are asked: the oldest that the chart names, and the newest."""
FOREIGN: Final = frozenset({"keda.sh/v1alpha1", "monitoring.coreos.com/v1"})
"""Kinds of operators, which Kubernetes' own schemas do not know."""


def values_files() -> list[Path]:
    """Every file of values the chart comes with."""
    return sorted((CHART / "values").glob("*.yaml"))


def helm() -> str | None:
    """Where the program is, if it is there."""
    return shutil.which(os.environ.get("HELM") or "helm")


def render(values: Path | None, *sets: str) -> list[dict[str, Any]]:
    """The chart's objects. Raises Refusal with what helm says."""
    program = helm()
    if program is None:
        raise Refusal("helm is not installed.", "Install it or name it with HELM.")
    command = [program, "template", RELEASE, str(CHART), "--kube-version", f"{VERSIONS[-1]}.0"]
    command += ["--values", str(values)] if values else []
    for one in sets:
        command += ["--set", one]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refusal("The chart cannot be rendered.", "What helm says is above.", detail=done.stderr)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def complaints(objects: list[dict[str, Any]]) -> list[str]:
    """What is wrong with objects of ours: each line names the object and the rule."""
    found: list[str] = []
    for one in objects:
        name = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] in {"Deployment", "Job"}:
            labels = one["metadata"]["labels"]
            pod = one["spec"]["template"]["spec"]
            serves = one["kind"] == "Deployment" and labels["app.kubernetes.io/component"] != "tools"
            found += [f"{name}: {text}" for text in (*_pod(pod, serves=serves), *_secrets(pod))]
        if one["kind"] == "ScaledObject" and not _scales(one["spec"], objects):
            found.append(f"{name}: scales nothing that is there, or beyond its own bounds")
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    found += [f"{kind}/{name}: there twice" for kind, name in dict.fromkeys(names) if names.count((kind, name)) > 1]
    return found


def _scales(spec: dict[str, Any], objects: list[dict[str, Any]]) -> bool:
    """Whether the target is there, leaves its number to the scaler, and the bounds are in order."""
    target = spec["scaleTargetRef"]["name"]
    found = [one for one in objects if one["kind"] == "Deployment" and one["metadata"]["name"] == target]
    bounds = 1 <= spec["minReplicaCount"] <= spec["maxReplicaCount"]
    return bounds and len(found) == 1 and "replicas" not in found[0]["spec"]


def _secrets(pod: dict[str, Any]) -> list[str]:
    """Every file that a variable names is there, and no Secret is mounted as a whole."""
    there: set[str] = set()
    found = []
    for volume in pod["volumes"]:
        if "secret" in volume:
            items = volume["secret"].get("items")
            there |= {item["path"] for item in items or ()}
            found += [] if items else ["sees every key of the Secret"]
    for container in pod["containers"]:
        for variable in container["env"]:
            path = str(variable.get("value", ""))
            if path.startswith("/run/secrets/") and path.removeprefix("/run/secrets/") not in there:
                found.append(f"names {path}, which is not there")
    return found


def _pod(pod: dict[str, Any], *, serves: bool) -> list[str]:
    found = []
    if not pod.get("securityContext", {}).get("runAsNonRoot"):
        found.append("may run as root")
    if pod.get("automountServiceAccountToken") is not False:
        found.append("gets a token of the cluster")
    for container in pod["containers"]:
        security = container.get("securityContext", {})
        if not security.get("readOnlyRootFilesystem") or security.get("allowPrivilegeEscalation") is not False:
            found.append("may write to its root or gain privileges")
        if security.get("capabilities", {}).get("drop") != ["ALL"]:
            found.append("keeps capabilities")
        if "limits" not in container.get("resources", {}) or "requests" not in container["resources"]:
            found.append("has no limits or requests")
        if container["image"].endswith(":latest") or ":" not in container["image"]:
            found.append("has no fixed version")
        if serves and not {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys():
            found.append("lacks a probe")
        if any("PASSWORD" in variable["name"] or "DATABASE_URL" in variable["name"] for variable in container["env"]):
            found.append("has a secret in its environment")
    return found


def against_schemas(objects: list[dict[str, Any]]) -> list[str]:
    """What Kubernetes' schemas refuse, strictly."""
    # Only here: the package is the tests', and the command line of containers does without it.
    schemas = importlib.import_module("kubernetes_validate")
    found = []
    for one in objects:
        if one["apiVersion"] in FOREIGN:
            continue
        for version in VERSIONS:
            try:
                schemas.validate(one, version, strict=True)
            except schemas.ValidationError as error:
                found.append(f"{one['kind']}/{one['metadata']['name']}: {version}: {error.message}")
    return found


def main() -> int:
    """Say per file of values what was rendered and what is wrong; 1 when anything is."""
    program = helm()
    if program is None:
        raise Refusal("helm is not installed.", "Install it or name it with HELM; `make unit` checks the rest.")
    status = 0
    for values in [CHART / "values.yaml", *values_files()]:
        lint = subprocess.run(
            [
                program,
                "lint",
                "--strict",
                "--quiet",
                "--kube-version",
                f"{VERSIONS[-1]}.0",
                str(CHART),
                "-f",
                str(values),
            ],
            check=False,
            capture_output=True,
            text=True,
        )
        objects = render(values)
        wrong = (
            complaints(objects) + against_schemas(objects) + ([lint.stdout + lint.stderr] if lint.returncode else [])
        )
        asked = f"schemas of Kubernetes {' and '.join(VERSIONS)}"
        print(f"  {values.name:<18} {len(objects):>3} objects, {asked}, {len(wrong) or 'nothing'} wrong")
        for line in wrong:
            print(f"    {line}")
        status |= bool(wrong)
    return status
