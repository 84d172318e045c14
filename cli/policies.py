"""`deskwire validate|diff|apply|rollback`: policy packs from the command line.

`validate` needs nothing running. The others ask the API at DESKWIRE_URL with the key in DESKWIRE_API_KEY; the key's
tenant is what is changed, and `--tenant` says which one you believe that to be.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from cli.refuse import refuse

if TYPE_CHECKING:
    from httpx2 import Client, Response

ORIGIN = "http://127.0.0.1:8400"
TIMEOUT = 30.0
"""Seconds for one call."""

PackFile = Annotated[Path, typer.Argument(help="A policy pack, YAML or JSON.", exists=True, dir_okay=False)]
Tenant = Annotated[str, typer.Option(help="The tenant you mean; refused when the key is another's.")]
Url = Annotated[str, typer.Option(envvar="DESKWIRE_URL", help="Where Deskwire answers.")]


def register(app: typer.Typer) -> None:
    """Add these commands to the `deskwire` command."""
    for command in (validate, diff, apply, rollback):
        app.command()(command)


def validate(file: PackFile) -> None:
    """Say what is wrong with a pack, and in which line; needs nothing running."""
    from services.directory.domain.pack_check import PackRefusedError, check

    try:
        pack = check(_text(file))
    except PackRefusedError as error:
        for problem in error.problems:
            print(f"{file}:{problem.mark.line}:{problem.mark.column}: {_said(problem.pointer, problem.message)}")
        raise typer.Exit(1) from error
    for warning in pack.warnings:
        said = _said(warning.pointer, warning.message)
        print(f"{file}:{warning.mark.line}:{warning.mark.column}: warning: {said}")
    print(f"{file}: pack {pack.name} is fine ({', '.join(pack.sections)})")


def diff(file: PackFile, tenant: Tenant, url: Url = ORIGIN) -> None:
    """Show what would change if the pack were put in force."""
    with _client(url) as client:
        _belongs(client, tenant)
        print(_told(file, _send(client, "POST", "/v1/policies/diff", file))["text"])


def apply(file: PackFile, tenant: Tenant, url: Url = ORIGIN) -> None:
    """Put a pack in force, if nobody else has changed it meanwhile, and show what changed."""
    with _client(url) as client:
        _belongs(client, tenant)
        current = _told(file, _send(client, "POST", "/v1/policies/diff", file))["current_version"]
        answer = _send(client, "PUT", "/v1/policies", file, {"If-Match": f'"{current}"'})
        _show(tenant, _told(file, answer))


def rollback(
    tenant: Tenant,
    to: Annotated[int | None, typer.Option(help="Version to go back to; without it, the one before.")] = None,
    url: Url = ORIGIN,
) -> None:
    """Put an earlier version of the pack in force again."""
    with _client(url) as client:
        _belongs(client, tenant)
        answer = _ask(client, "POST", "/v1/policies/rollback", json={} if to is None else {"to": to})
        _show(tenant, _told(None, answer))


def _show(tenant: str, applied: dict[str, Any]) -> None:
    print(applied["text"])
    for warning in applied["warnings"]:
        print(f"warning: line {warning['line']}: {warning['detail']}")
    again = f" (version {applied['rolled_back_to']} again)" if applied["rolled_back_to"] else ""
    print(f"{tenant}: version {applied['version']} of pack {applied['pack']} is in force{again}")


def _client(url: str) -> Client:
    import httpx2

    key = os.environ.get("DESKWIRE_API_KEY", "")
    if not key:
        refuse("DESKWIRE_API_KEY is not set; `deskwire seed` prints the first administrator's")
    return httpx2.Client(base_url=url, timeout=TIMEOUT, headers={"Authorization": f"Bearer {key}"})


def _belongs(client: Client, tenant: str) -> None:
    """The key must be of the tenant that is meant: applying a pack to another one is no small mistake."""
    me = _told(None, _ask(client, "GET", "/v1/people/me"))
    if me["tenant_id"] != tenant:
        refuse(f"this key belongs to the tenant {me['tenant_id']}, not to {tenant}")


def _send(client: Client, method: str, path: str, file: Path, headers: dict[str, str] | None = None) -> Response:
    kind = {"Content-Type": "application/yaml", **(headers or {})}
    return _ask(client, method, path, content=_text(file).encode(), headers=kind)


def _ask(client: Client, method: str, path: str, **given: Any) -> Response:
    import httpx2

    try:
        return client.request(method, path, **given)
    except (httpx2.HTTPError, httpx2.InvalidURL) as error:
        refuse(f"{client.base_url} does not answer: {error}")


def _told(file: Path | None, answer: Response) -> dict[str, Any]:
    """The answer's content; a problem is printed, with the lines of a pack, and ends the command with status 1."""
    try:
        content: dict[str, Any] = answer.json()
    except ValueError:
        refuse(f"{answer.url} answered {answer.status_code} with something that is not Deskwire's")
    if answer.is_success:
        return content
    _explain(file, content)
    raise typer.Exit(1)


def _explain(file: Path | None, content: dict[str, Any]) -> None:
    for error in content.get("errors", []):
        if "line" in error:
            place = f"{file}:{error['line']}:{error['column']}"
            print(f"{place}: {_said(error['pointer'], error['detail'])}", file=sys.stderr)
    print(f"deskwire: {content.get('detail') or content.get('title')}", file=sys.stderr)


def _text(file: Path) -> str:
    try:
        return file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        refuse(f"{file}: not UTF-8: {error.reason} at byte {error.start}")


def _said(pointer: str, message: str) -> str:
    return f"{pointer}: {message}" if pointer else message
