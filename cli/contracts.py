"""`deskwire contracts`: generate the event reference, freeze a release, see what a change breaks."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from shared.contracts import compatibility, reference, release
from shared.contracts.manifest import TOPICS

VERSION = "1.0"
"""The release under way; stands in the AsyncAPI document."""

ROOT = Path(__file__).parents[1]
DOCS = ROOT / "docs" / "events"

app = typer.Typer(help="The contracts: their reference, their releases.", no_args_is_help=True)


@app.command()
def generate(
    check: Annotated[bool, typer.Option("--check", help="Change nothing; fail when something is out of date.")] = False,
) -> None:
    """Write docs/events (reference, JSON Schemas, AsyncAPI) from shared/contracts."""
    stale = outdated()
    if check:
        for name in stale:
            print(f"docs/events/{name} is out of date: python -m cli.contracts generate")
        raise typer.Exit(1 if stale else 0)
    wanted = reference.pages(TOPICS, VERSION)
    for name in stale:
        path = DOCS / name
        if name not in wanted:
            path.unlink()
            continue
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(wanted[name])
    print(f"docs/events: {len(wanted)} files, {len(stale)} changed")


def outdated(docs: Path = DOCS) -> list[str]:
    """Files in docs/events that are not what the contracts say, by their path there."""
    wanted = reference.pages(TOPICS, VERSION)
    found = {path.relative_to(docs).as_posix(): path.read_bytes() for path in docs.rglob("*") if path.is_file()}
    return sorted(name for name in wanted.keys() | found.keys() if wanted.get(name) != found.get(name))


@app.command()
def freeze(
    version: Annotated[str, typer.Argument(help="<major>.<minor>, like 1.0")],
    replace: Annotated[bool, typer.Option("--replace", help="Rewrite a release that exists.")] = False,
) -> None:
    """Freeze today's contracts as a release: from then on they only grow."""
    try:
        folder = release.freeze(version, replace=replace)
    except release.ReleaseError as error:
        typer.echo(str(error), err=True)
        raise typer.Exit(1) from None
    print(f"frozen: {folder.relative_to(ROOT)}")


@app.command()
def check() -> None:
    """Compare today's contracts with every frozen release; name each field and reader a change would break."""
    today = release.current()
    broken = 0
    for version in release.released():
        try:
            promised = release.read(version)
        except release.ReleaseError as error:
            typer.echo(str(error), err=True)
            raise typer.Exit(1) from None
        for found in compatibility.breaks(promised.topics, promised.schemas, today.topics, today.schemas):
            print(f"{version}: {found}")
            broken += 1
    print(f"{broken} broken promises" if broken else "every frozen release still holds")
    raise typer.Exit(1 if broken else 0)


if __name__ == "__main__":
    app()
