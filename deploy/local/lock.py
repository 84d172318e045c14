"""Resolve every member together and write `requirements/*.txt`: hashed, and free of any index's address.

The committed pins are kept where they still fit; `make lock UPGRADE=1` takes the newest of everything.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import tomllib
from pathlib import Path
from typing import Final

from deploy.local.bootstrap import installer_environment
from deploy.local.folders import CHECKOUT, cache_folder
from deploy.local.refusal import Refusal, guarded

HEADER: Final = "# Made by `make lock` from the pyproject.toml files; do not edit.\n"
GROUPS: Final = ("dev", "engines")
EXPORT: Final = ("export", "--quiet", "--frozen", "--no-emit-workspace", "--no-header", "--no-annotate")


def members(root: Path = CHECKOUT) -> list[Path]:
    """The workspace's members: `shared`, `cli` and every service."""
    return [
        path.parent
        for path in (
            root / "shared/pyproject.toml",
            root / "cli/pyproject.toml",
            *sorted(root.glob("services/*/pyproject.toml")),
        )
        if path.exists()
    ]


def pins(folder: Path) -> list[str]:
    """The versions that the committed requirements hold, markers included."""
    found = {
        re.sub(r"\s*\\$", "", line).strip()
        for path in folder.glob("*.txt")
        for line in path.read_text().splitlines()
        if re.match(r"[A-Za-z0-9]", line)
    }
    return sorted(found)


def main() -> int:
    """Write the requirements anew."""
    return guarded(lambda: _lock(upgrade="--upgrade" in sys.argv[1:]))


def _lock(*, upgrade: bool) -> int:
    cache = cache_folder()
    target = CHECKOUT / "requirements"
    with tempfile.TemporaryDirectory(prefix="lock-", dir=cache) as scratch:
        copy = Path(scratch)
        text = (CHECKOUT / "pyproject.toml").read_text()
        if not upgrade:
            kept = [pin for pin in pins(target) if not pin.startswith("uv==")]
            listed = "".join(f"    {_quoted(pin)},\n" for pin in kept)
            text = text.replace("[tool.uv]\n", f"[tool.uv]\nconstraint-dependencies = [\n{listed}]\n", 1)
        (copy / "pyproject.toml").write_text(text)
        for folder in members():
            (copy / folder.relative_to(CHECKOUT)).mkdir(parents=True)
            shutil.copy(folder / "pyproject.toml", copy / folder.relative_to(CHECKOUT))
        _uv(copy, cache, "lock", "--quiet")
        written = {
            folder.name: _uv(copy, cache, *EXPORT, "--no-dev", "--package", _name(folder)) for folder in members()
        }
        for group in GROUPS:
            written[group] = _uv(copy, cache, *EXPORT, "--only-group", group)
        (copy / "uv.in").write_text(
            "uv" if upgrade else next((pin for pin in pins(target) if pin.startswith("uv==")), "uv")
        )
        written["bootstrap"] = _uv(
            copy, cache, "pip", "compile", "--quiet", "--generate-hashes", "--no-header", "--no-annotate", "uv.in"
        )
    for name, content in written.items():
        if "://" in content:
            raise Refusal(
                f"requirements/{name}.txt would name an address.",
                "Replace the dependency that is given by URL with a released one.",
            )
        path = target / f"{name}.txt"
        part = path.with_suffix(".new")
        part.write_text(HEADER + content)
        part.replace(path)
    for path in target.glob("*.txt"):
        if path.stem not in written:
            path.unlink()
    print(f"deskwire: {len(written)} files written to requirements/")
    return 0


def _name(folder: Path) -> str:
    """The distribution name that a member gives itself."""
    return str(tomllib.loads((folder / "pyproject.toml").read_text())["project"]["name"])


def _quoted(pin: str) -> str:
    """As a TOML string."""
    return '"' + pin.replace("\\", "\\\\").replace('"', '\\"') + '"'


def _uv(folder: Path, cache: Path, *arguments: str) -> str:
    """Run the uv of the environment's own bootstrap in a copy of the workspace and return what it wrote."""
    program = next(
        (str(path) for path in cache.glob("bootstrap-*/bin/uv") if os.access(path, os.X_OK)), shutil.which("uv")
    )
    if program is None:
        raise Refusal(
            "The installer (uv) is not in the cache.", "Run `make up` or any other target once, then `make lock`."
        )
    run = subprocess.run(
        [program, *arguments, "--python", sys.executable],
        check=False,
        cwd=folder,
        env=installer_environment(cache),
        capture_output=True,
        text=True,
    )
    if run.returncode != 0:
        raise Refusal(
            "The requirements could not be resolved.",
            "The lines above say why; when a committed pin stands in the way, run `make lock UPGRADE=1`.",
            detail=run.stderr,
        )
    return run.stdout


if __name__ == "__main__":
    raise SystemExit(main())
