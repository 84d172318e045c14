"""Each service starts with only its own dependencies installed, as its image will have them."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from deploy.local.folders import cache_folder

ROOT = Path(__file__).parents[2]
SERVICES = sorted(path.parent.name for path in (ROOT / "services").glob("*/__main__.py"))


@pytest.mark.slow
@pytest.mark.parametrize("service", SERVICES)
def test_a_service_starts_with_nothing_installed_but_its_own_requirements(service: str, tmp_path: Path) -> None:
    uv = _uv()
    environment = tmp_path / "venv"
    tree = tmp_path / "tree"
    for part in ("shared", f"services/{service}"):
        shutil.copytree(ROOT / part, tree / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "services/__init__.py", tree / "services/__init__.py")
    quiet = {**os.environ, "UV_PYTHON_DOWNLOADS": "never", "UV_CACHE_DIR": str(cache_folder() / "uv")}
    subprocess.run([uv, "venv", "--quiet", "--python", sys.executable, environment], check=True, env=quiet)
    install = [uv, "pip", "install", "--quiet", "--require-hashes", "--python", str(environment / "bin/python")]
    subprocess.run([*install, "-r", str(ROOT / "requirements" / f"{service}.txt")], check=True, env=quiet)

    shown = subprocess.run(
        [environment / "bin/python", "-m", f"services.{service}", "--print-config"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )
    built = subprocess.run(
        [environment / "bin/python", "-c", f"import services.{service}.app as app; print(app.build.__name__)"],
        cwd=tree,
        capture_output=True,
        text=True,
        check=False,
        env={"PATH": os.environ["PATH"]},
    )

    assert shown.returncode == 0, shown.stderr
    assert '"kafka_url"' in shown.stdout
    assert built.stdout.strip() == "build", built.stderr


def _uv() -> str:
    """The installer that set this environment up, from its cache; or one on the path."""
    for found in sorted(cache_folder().glob("bootstrap-*/bin/uv")):
        return str(found)
    found_on_path = shutil.which("uv")
    if found_on_path is None:
        pytest.fail("no uv found: `make environment` puts one into the cache")
    return found_on_path
