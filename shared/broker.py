"""Users and rights on a broker, over its own protocol: what the client library has no calls for.

Passwords leave this process salted and hashed (SCRAM-SHA-512, RFC 5802), so that neither broker nor log sees one.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from aiokafka.admin import AIOKafkaAdminClient
from aiokafka.errors import for_code
from aiokafka.protocol.admin import (
    CreateAclsRequest_v1,
    DeleteAclsRequest_v1,
    DescribeAclsRequest_v1,
)
from aiokafka.protocol.api import Request, RequestStruct, Response
from aiokafka.protocol.types import (
    CompactArray,
    CompactBytes,
    CompactString,
    Int8,
    Int16,
    Int32,
    Schema,
    TaggedFields,
)

from shared.access import Grant, Operation, Resource

ITERATIONS = 4096
"""Kafka's own default; the passwords are random, so that guessing is no danger."""

_ANY = 1
_LITERAL = 3
_ALLOW = 3
_SHA_512 = 2
_HOST = "*"
_NOT_ALLOWED = 31


class RefusedError(Exception):
    """The broker does not take a user or a right; says which and why."""


class _AlterScramResponse(Response):  # type: ignore[misc]  # the library has no types
    API_KEY = 51
    API_VERSION = 0
    SCHEMA = Schema(
        ("throttle_time_ms", Int32),
        (
            "results",
            CompactArray(
                ("user", CompactString()),
                ("error_code", Int16),
                ("error_message", CompactString()),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


class _AlterScram(RequestStruct):  # type: ignore[misc]  # as above
    """`AlterUserScramCredentials`, which aiokafka 0.14 lacks."""

    FLEXIBLE_VERSION = True
    API_KEY = 51
    API_VERSION = 0
    RESPONSE_TYPE = _AlterScramResponse
    SCHEMA = Schema(
        ("deletions", CompactArray(("name", CompactString()), ("mechanism", Int8), ("tags", TaggedFields))),
        (
            "upsertions",
            CompactArray(
                ("name", CompactString()),
                ("mechanism", Int8),
                ("iterations", Int32),
                ("salt", CompactBytes),
                ("salted_password", CompactBytes),
                ("tags", TaggedFields),
            ),
        ),
        ("tags", TaggedFields),
    )


def _request(struct: type[RequestStruct], *values: object) -> Request[Any]:
    """A request of exactly this version, with many entries at once, which the library's own builders do not make."""

    class Exact(Request[struct]):  # type: ignore[misc]  # as above; it reads the version off its parent
        API_KEY = struct.API_KEY

        def build(self, request_struct_class: type[RequestStruct]) -> RequestStruct:
            return request_struct_class(*values)

    return Exact()


async def put_users(admin: AIOKafkaAdminClient, passwords: Mapping[str, str]) -> None:
    """Give each user its password, making those that are not there. Raises RefusedError, ValueError."""
    rows: list[tuple[object, ...]] = []
    for user, password in passwords.items():
        salt = secrets.token_bytes(24)
        rows.append((user, _SHA_512, ITERATIONS, salt, salted(password, salt), {}))
    answer = await _ask(admin, _request(_AlterScram, [], rows, {}))
    for user, code, message, _ in answer.results:
        _raise(code, message, f"user {user}")


def salted(password: str, salt: bytes) -> bytes:
    """What Kafka stores of a password. Raises ValueError outside printable ASCII, which every client reads alike."""
    if not password.isascii() or not password.isprintable():
        raise ValueError("a Kafka password has printable ASCII characters only")
    return hashlib.pbkdf2_hmac("sha512", password.encode(), salt, ITERATIONS)


async def granted(admin: AIOKafkaAdminClient, users: Iterable[str]) -> dict[tuple[object, ...], Grant | None]:
    """What those users may do now: the broker's own entry, and the right it is; None for one of no kind of ours."""
    found: dict[tuple[object, ...], Grant | None] = {}
    for user in users:
        request = _request(DescribeAclsRequest_v1, _ANY, None, _ANY, f"User:{user}", None, _ANY, _ANY)
        answer = await _ask(admin, request)
        _raise(answer.error_code, answer.error_message, "listing rights")
        for kind, name, pattern, entries in answer.resources:
            for principal, host, operation, permission in entries:
                entry = (kind, name, pattern, principal, host, operation, permission)
                found[entry] = _read(user, entry)
    return found


def _read(user: str, entry: tuple[Any, ...]) -> Grant | None:
    kind, name, pattern, _, host, operation, permission = entry
    if (pattern, host, permission) != (_LITERAL, _HOST, _ALLOW):
        return None
    try:
        return Grant(user=user, resource=Resource(kind), name=name, operation=Operation(operation))
    except ValueError:
        return None


async def grant(admin: AIOKafkaAdminClient, wanted: Sequence[Grant]) -> None:
    """Add rights. Raises RefusedError with the first that was refused."""
    if not wanted:
        return
    rows = [(one.resource, one.name, _LITERAL, f"User:{one.user}", _HOST, one.operation, _ALLOW) for one in wanted]
    answer = await _ask(admin, _request(CreateAclsRequest_v1, rows))
    for one, (code, message) in zip(wanted, answer.creation_responses, strict=True):
        _raise(code, message, f"{one.operation.name} of {one.user} on {one.resource.name} {one.name}")


async def revoke(admin: AIOKafkaAdminClient, entries: Sequence[tuple[object, ...]]) -> None:
    """Take away exactly these entries of `granted`. Raises RefusedError."""
    if not entries:
        return
    answer = await _ask(admin, _request(DeleteAclsRequest_v1, list(entries)))
    for code, message, _ in answer.filter_responses:
        _raise(code, message, "taking a right away")


async def _ask(admin: AIOKafkaAdminClient, request: Request[Any]) -> Any:
    return await admin._send_to_controller(request)  # noqa: SLF001 - there is no public way to send one of these


def _raise(code: int, message: str | None, what: str) -> None:
    if code == _NOT_ALLOWED:
        # What the broker says quotes its own request object.
        raise RefusedError(f"{what}: KAFKA_USERNAME may not alter the cluster; an administrator of the broker may")
    if code:
        raise RefusedError(f"{what}: {message or for_code(code).__name__}")
