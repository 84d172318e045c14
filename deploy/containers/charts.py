"""Lint and render the chart for every file of values, and hold the result against rules and Kubernetes' schemas.

`make helm-check`; HELM names the program. Kubernetes' schemas are checked where the package `kubernetes-validate` is
installed; what was left out is said.
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
VERSION: Final = "1.31"
"""Of Kubernetes, whose schemas are asked."""
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
    command = [program, "template", RELEASE, str(CHART), "--kube-version", f"{VERSION}.0"]
    command += ["--values", str(values)] if values else []
    for one in sets:
        command += ["--set", one]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    if done.returncode != 0:
        raise Refusal("The chart cannot be rendered.", "What helm says is above.", detail=done.stderr)
    return [one for one in yaml.safe_load_all(done.stdout) if one]


def complaints(objects: list[dict[str, Any]]) -> list[str]:
    """What is wrong with pods of ours: each line names the object and the rule."""
    found: list[str] = []
    for one in objects:
        name = f"{one['kind']}/{one['metadata']['name']}"
        if one["kind"] in {"Deployment", "Job"}:
            found += [f"{name}: {text}" for text in _pod(one["kind"], one["spec"]["template"]["spec"])]
    names = [(one["kind"], one["metadata"]["name"]) for one in objects]
    found += [f"{kind}/{name}: there twice" for kind, name in dict.fromkeys(names) if names.count((kind, name)) > 1]
    return found


def _pod(kind: str, pod: dict[str, Any]) -> list[str]:
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
        if kind == "Deployment" and not {"startupProbe", "livenessProbe", "readinessProbe"} <= container.keys():
            found.append("lacks a probe")
        if any("PASSWORD" in variable["name"] or "DATABASE_URL" in variable["name"] for variable in container["env"]):
            found.append("has a secret in its environment")
    return found


def against_schemas(objects: list[dict[str, Any]]) -> list[str] | None:
    """What Kubernetes' schemas refuse, strictly; None where their package is not installed."""
    try:
        schemas = importlib.import_module("kubernetes_validate")
    except ModuleNotFoundError:
        return None
    found = []
    for one in objects:
        if one["apiVersion"] in FOREIGN:
            continue
        try:
            schemas.validate(one, VERSION, strict=True)
        except schemas.ValidationError as error:
            found.append(f"{one['kind']}/{one['metadata']['name']}: {error.message}")
    return found


def main() -> int:
    """Say per file of values what was rendered and what is wrong; 1 when anything is."""
    program = helm()
    if program is None:
        raise Refusal("helm is not installed.", "Install it or name it with HELM; `make unit` checks the rest.")
    status = 0
    for values in values_files():
        lint = subprocess.run(
            [program, "lint", "--strict", "--quiet", str(CHART), "--values", str(values)],
            check=False,
            capture_output=True,
            text=True,
        )
        objects = render(values)
        schemas = against_schemas(objects)
        wrong = complaints(objects) + (schemas or []) + ([lint.stdout + lint.stderr] if lint.returncode else [])
        told = "schemas not asked (kubernetes-validate is not installed)" if schemas is None else f"schemas {VERSION}"
        print(f"  {values.name:<18} {len(objects):>3} objects, {told}, {len(wrong) or 'nothing'} wrong")
        for line in wrong:
            print(f"    {line}")
        status |= bool(wrong)
    return status
