"""A bill of materials (CycloneDX 1.5, JSON) from hashed requirements: `python sbom.py NAME VERSION FILE`.

Standard library only: it runs inside the build of an image, in the environment it describes. The same requirements
give the same bytes, so that an unchanged image stays unchanged.
"""

from __future__ import annotations

import importlib.metadata
import json
import re
import sys
import uuid
from pathlib import Path

_PIN = re.compile(r"^(?P<name>[A-Za-z0-9._-]+)(\[[^\]]*\])?==(?P<version>[^\s;\\]+)")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


def components(requirements: str, *, installed_only: bool = False) -> list[dict[str, object]]:
    """One component per pinned package with the hashes it may have. Raises ValueError for a line without a pin.

    `installed_only` leaves out what a marker kept from being installed here (packages of other systems).
    """
    found: list[dict[str, object]] = []
    for line in requirements.replace("\\\n", " ").splitlines():
        if not line.strip() or line.lstrip().startswith("#"):
            continue
        pin = _PIN.match(line)
        hashes = _HASH.findall(line)
        if pin is None or not hashes:
            raise ValueError(f"not a hashed pin: {line[:80]}")
        name = re.sub(r"[-_.]+", "-", pin["name"]).lower()
        licence = _licence(name, pin["version"])
        if licence is None and installed_only:
            continue
        reference = f"pkg:pypi/{name}@{pin['version']}"
        component: dict[str, object] = {
            "type": "library",
            "bom-ref": reference,
            "name": name,
            "version": pin["version"],
            "purl": reference,
            "hashes": [{"alg": "SHA-256", "content": digest} for digest in sorted(hashes)],
        }
        if licence:
            component["licenses"] = [licence]
        found.append(component)
    return sorted(found, key=lambda one: str(one["bom-ref"]))


def bill(name: str, version: str, requirements: str, *, installed_only: bool = False) -> dict[str, object]:
    """The whole document, with an identity that follows from its content."""
    parts = components(requirements, installed_only=installed_only)
    own = f"pkg:generic/{name}@{version}"
    return {
        "bomFormat": "CycloneDX",
        "specVersion": "1.5",
        "serialNumber": f"urn:uuid:{uuid.uuid5(uuid.NAMESPACE_URL, own + json.dumps(parts))}",
        "version": 1,
        "metadata": {
            "component": {
                "type": "container",
                "bom-ref": own,
                "name": name,
                "version": version,
                "licenses": [{"license": {"id": "Apache-2.0"}}],
            }
        },
        "components": parts,
        "dependencies": [{"ref": own, "dependsOn": [str(part["bom-ref"]) for part in parts]}],
    }


def _licence(name: str, version: str) -> dict[str, object] | None:
    """What the installed package says of its licence, empty when nothing; None where this version is not installed."""
    try:
        installed = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return None
    if installed.version != version:
        return None
    said = installed.metadata
    if "License-Expression" in said:
        return {"expression": said["License-Expression"]}
    classifiers = [
        line.rpartition("::")[2].strip() for line in said.get_all("Classifier") or [] if line.startswith("License ::")
    ]
    text = said["License"].strip() if "License" in said else ""
    stated = classifiers[0] if classifiers else text.splitlines()[0][:80] if text else ""
    return {"license": {"name": stated}} if stated else {}


if __name__ == "__main__":
    document = bill(sys.argv[1], sys.argv[2], Path(sys.argv[3]).read_text(encoding="utf-8"), installed_only=True)
    json.dump(document, sys.stdout, indent=1, sort_keys=True)
