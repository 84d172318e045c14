"""`deskwire run ingest tickets …`: several services in one process."""

from __future__ import annotations

from typing import Annotated

import typer


def run(
    services: Annotated[list[str], typer.Argument(help="Services to run, each on its own port.")],
    print_config: Annotated[
        bool, typer.Option("--print-config", help="Print the settings in effect, secrets hidden, and end.")
    ] = False,
) -> None:
    """Run services in one process until a signal; each listens on its own <SERVICE>_HTTP_PORT."""
    from shared import process

    process.main(list(dict.fromkeys(services)), ["--print-config"] if print_config else [])
