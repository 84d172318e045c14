"""`deskwire access`: the broker's users and their rights, as the manifest has them.

Done by an administrator of the broker, before `provision`, at every upgrade that brings topics or readers.
"""

from __future__ import annotations

import asyncio
from collections import defaultdict
from typing import Annotated

import typer

from cli.installation import CliSettings
from cli.refuse import explained, refuse
from shared import access, broker, kafka
from shared.access import Grant
from shared.settings import SettingsError, variable

app = typer.Typer(help="Users and rights on the broker, from the manifest.", no_args_is_help=True)


@app.command()
def show(
    user: Annotated[str, typer.Argument(help="One user; without it, all.")] = "",
    commands: Annotated[
        bool, typer.Option("--commands", help="As commands of Kafka's own kafka-acls.sh, to be run by somebody else.")
    ] = False,
) -> None:
    """Show who is to have which right; the broker is not asked."""
    with explained():
        settings = CliSettings.load()
        names = access.users(prefix=settings.topic_prefix)
        if user and user not in names:
            refuse(f"there is no user {user!r}; there are {', '.join(names)}", status=2)
        wanted = sorted(one for one in access.grants(prefix=settings.topic_prefix) if user in {"", one.user})
    for line in _commands(wanted) if commands else _table(wanted):
        print(line)


@app.command()
def apply(
    rights_only: Annotated[
        bool, typer.Option("--rights", help="Only the rights, where users are made by the provider.")
    ] = False,
) -> None:
    """Make the users, give them their rights and take away what is no right of theirs any more.

    KAFKA_USERNAME is an administrator of the broker; each user's password is in <USER>_KAFKA_PASSWORD or the secret's
    file of that name. Safe to run again: it is how a changed password gets to the broker.
    """
    with explained():
        settings = CliSettings.load()
        passwords = {} if rights_only else _passwords(settings.topic_prefix)
        try:
            made, gone = asyncio.run(_apply(settings, passwords))
        except ValueError as error:
            refuse(str(error), status=2)
        except broker.RefusedError as error:
            refuse(f"Kafka refuses: {error}")
    print(f"users       {len(passwords)} with their passwords")
    print(f"rights      {made} given, {gone} taken away")


async def _apply(settings: CliSettings, passwords: dict[str, str]) -> tuple[int, int]:
    users = access.users(prefix=settings.topic_prefix)
    wanted = access.grants(prefix=settings.topic_prefix)
    admin = kafka.admin(settings, "access")
    try:
        await kafka.start(admin)
        if passwords:
            await broker.put_users(admin, passwords)
        there = await broker.granted(admin, users)
        missing = sorted(wanted - set(there.values()))
        foreign = [entry for entry, one in there.items() if one not in wanted]
        # First what is missing, so that nobody who runs is without a right meanwhile.
        await broker.grant(admin, missing)
        await broker.revoke(admin, foreign)
    finally:
        await admin.close()
    return len(missing), len(foreign)


def _passwords(prefix: str) -> dict[str, str]:
    """Each user's password. Raises SettingsError naming those that are not set."""
    found, missing = {}, []
    for user in access.users():
        name = f"{user.upper().replace('-', '_')}_KAFKA_PASSWORD"
        value = variable(name)
        if value:
            found[prefix + user] = value
        else:
            missing.append(f"{name} is not set")
    if missing:
        raise SettingsError("\n".join(missing))
    return found


def _table(wanted: list[Grant]) -> list[str]:
    operations: dict[tuple[str, str, str], list[str]] = defaultdict(list)
    for one in wanted:
        operations[one.user, one.resource.name.lower(), one.name].append(one.operation.name.lower())
    return [f"{user:12} {kind:6} {name:44} {', '.join(done)}" for (user, kind, name), done in operations.items()]


def _commands(wanted: list[Grant]) -> list[str]:
    return [
        f"kafka-acls.sh --bootstrap-server $KAFKA_URL --command-config admin.properties --add"
        f" --allow-principal 'User:{one.user}' --operation {one.operation.name.title()}"
        f" --{one.resource.name.lower()} '{one.name}'"
        for one in wanted
    ]
