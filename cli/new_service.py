"""`deskwire new-service`: a service that runs and is tested from its first minute, to be turned into yours."""

from __future__ import annotations

import keyword
import re
from pathlib import Path
from typing import Annotated

import typer

from cli.installation import ROOT
from cli.refuse import refuse

TEMPLATE = Path(__file__).parent / "template"
WORD = "sample"
"""The template's name for itself, in any case."""
CONSUMED = ("TICKET_CREATED", "CREDENTIAL_CHANGED")
"""Constants of the manifest whose consumers the new service joins."""


def register(app: typer.Typer) -> None:
    """Add the command."""
    app.command("new-service")(new_service)


def new_service(
    name: Annotated[str, typer.Argument(help="Lower case, letters and digits: csat, knowledge.")],
) -> None:
    """Make services/NAME with its tests, and enter it in the manifest and at the one origin."""
    try:
        made = make(ROOT, name)
    except ValueError as error:
        refuse(str(error), status=2)
    for path in made:
        print(f"made     {path.relative_to(ROOT)}")
    _document()
    print(
        f"""
services/{name} counts tickets per tenant until you change it. It is found by `make up`, `make test` and the checks.
  make test ARGS="tests/unit/{name} tests/integration/{name}"
  make up                      its role, database and topics are made; make status shows its port
  make run S="{name}"
Then: the topics it consumes in services/{name}/app.py and shared/contracts/manifest.py, tables in
services/{name}/migrations (./deskwire schema writes schema.sql), dependencies in its pyproject.toml (make lock),
further paths at the one origin in services/console/domain.py."""
    )


def make(root: Path, name: str) -> list[Path]:
    """Copy the template as `name` into the checkout at `root`; the files made or changed.

    Raises ValueError when the name cannot be a service's or is taken.
    """
    if not re.fullmatch(r"[a-z][a-z0-9]{1,30}", name) or keyword.iskeyword(name):
        raise ValueError(f"{name!r}: a service is named with 2 to 31 lower case letters and digits, like csat")
    taken = [folder for folder in ("services", "tests/unit", "tests/integration") if (root / folder / name).exists()]
    if taken or name in {WORD, "shared", "deskwire"}:
        raise ValueError(f"{name!r} is taken" + (f": there is {taken[0]}/{name}" if taken else ""))
    targets = {
        TEMPLATE / "service": root / "services" / name,
        TEMPLATE / "tests" / "unit": root / "tests" / "unit" / name,
        TEMPLATE / "tests" / "integration": root / "tests" / "integration" / name,
    }
    made = []
    for source, target in targets.items():
        for path in sorted(source.rglob("*")):
            if path.is_file() and "__pycache__" not in path.parts:
                # Python files carry `.txt` there: no check should take `services.sample` for something that exists.
                made.append(target / _renamed(str(path.relative_to(source)).removesuffix(".txt"), name))
                made[-1].parent.mkdir(parents=True, exist_ok=True)
                made[-1].write_text(_renamed(path.read_text(), name))
    made.append(_require(root, name))
    made.append(_subscribe(root, name))
    made += _open(root, name)
    return made


def _renamed(text: str, name: str) -> str:
    return text.replace(WORD, name).replace(WORD.upper(), name.upper()).replace(WORD.capitalize(), name.capitalize())


def _require(root: Path, name: str) -> Path:
    """Its hashed requirements: those of a service that needs nothing but shared; `make lock` makes them anew."""
    path = root / "requirements" / f"{name}.txt"
    path.write_text((root / "requirements" / "console.txt").read_text())
    return path


def _subscribe(root: Path, name: str) -> Path:
    """Enter the service among the consumers, in alphabetical order, of what it consumes."""
    path = root / "shared" / "contracts" / "manifest.py"
    text = path.read_text()
    for constant in CONSUMED:
        pattern = re.compile(rf"(^{constant} = Topic\(.*?consumers=)\(([^)]*)\)", re.MULTILINE | re.DOTALL)
        match = pattern.search(text)
        if match is None:
            raise ValueError(f"{path}: there is no {constant} with consumers")
        consumers = sorted({*re.findall(r'"([^"]+)"', match[2]), name})
        listed = ", ".join(f'"{consumer}"' for consumer in consumers)
        text = f"{text[: match.start()]}{match[1]}({listed}{',' if len(consumers) == 1 else ''}){text[match.end() :]}"
    path.write_text(text)
    return path


def _open(root: Path, name: str) -> list[Path]:
    """Give its API a line in the path table of the one origin, and the edge the setting with its address."""
    console = root / "services" / "console"
    lines = {
        console / "domain.py": (
            ')\n"""The one path table.',
            f'    Rule("/v1/{name}", "{name}", "{name.capitalize()}."),\n',
        ),
        console / "settings.py": (
            "    connect_seconds: ",
            f'    {name}_url: str = Field("", description="Base address of {name}.")\n',
        ),
    }
    for path, (before, line) in lines.items():
        text = path.read_text()
        if text.count(before) != 1:
            raise ValueError(f"{path}: there is no place for the line of {name}")
        path.write_text(text.replace(before, line + before))
    return list(lines)


def _document() -> None:
    """Write the event reference anew, in a process of its own: this one has read the manifest as it was."""
    import subprocess
    import sys

    subprocess.run([sys.executable, "-m", "cli", "contracts", "generate"], cwd=ROOT, check=True)
