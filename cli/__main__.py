"""`deskwire`: everything an operator does that is not HTTP.

A module of commands has an `app` (a group named after the module), a `register(app)`, or a function of the module's
name (one command). To add one, write the module and name its commands in `COMMANDS`; only the module of the command
that is called is loaded, so that `deskwire run` carries nothing of the others.
"""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence

import typer

COMMANDS = {
    "run": "run",
    "access": "access",
    "provision": "provision",
    "schema": "schema",
    "seed": "seed",
    "validate": "policies",
    "diff": "policies",
    "apply": "policies",
    "rollback": "policies",
    "demo": "demo",
    "events": "events",
    "dlq": "dlq",
    "parked": "parked",
    "rewind": "rewind",
    "clock": "clock",
    "contracts": "contracts",
    "new-service": "new_service",
}
"""Every command or group and the module it is in."""


def build(arguments: Sequence[str]) -> typer.Typer:
    """The application with the module of the command named first in `arguments`, or with all of them."""
    app = typer.Typer(name="deskwire", help=__doc__.splitlines()[0], no_args_is_help=True, add_completion=False)
    # Without this a single command would take the place of the application.
    app.callback()(lambda: None)
    named = COMMANDS.get(arguments[0]) if arguments else None
    for module in [named] if named else dict.fromkeys(COMMANDS.values()):
        _add(app, module)
    return app


def _add(app: typer.Typer, name: str) -> None:
    try:
        module = importlib.import_module(f"cli.{name}")
    except ModuleNotFoundError as error:
        if error.name != f"cli.{name}":
            raise
        return
    if hasattr(module, "register"):
        module.register(app)
    elif hasattr(module, "app"):
        app.add_typer(module.app, name=name.replace("_", "-"))
    else:
        app.command(name.replace("_", "-"))(getattr(module, name))


def main() -> None:
    """Run the command; what an operator can put right is one line on standard error."""
    # Options may stand before the command.
    arguments = [argument for argument in sys.argv[1:] if not argument.startswith("-")]
    build(arguments)(prog_name="deskwire")


if __name__ == "__main__":
    main()
