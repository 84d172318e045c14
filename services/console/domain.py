"""Pure rules of the edge: which service answers a path, which headers pass, how API documents become one."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Rule:
    """Every path at or below `prefix` belongs to `service`; `*` in it stands for one segment, whatever it is."""

    prefix: str
    service: str
    summary: str


PATHS: tuple[Rule, ...] = (
    Rule("/v1/messages", "ingest", "Submit messages from any channel."),
    Rule("/v1/attachments", "ingest", "Files that messages refer to."),
    Rule("/v1/quarantine", "ingest", "Messages that could not be read."),
    Rule("/v1/tickets", "tickets", "Tickets, their conversation, state and audit."),
    Rule("/v1/tenants", "directory", "Tenants."),
    Rule("/v1/organisations", "directory", "Organisations of requesters."),
    Rule("/v1/people", "directory", "Requesters and agents, their skills and availability."),
    Rule("/v1/teams", "directory", "Teams and the queues they serve."),
    Rule("/v1/policies", "directory", "Policy packs: validate, diff, publish, roll back."),
    Rule("/v1/api-keys", "directory", "API keys."),
    Rule("/v1/tokens", "directory", "Short-lived tokens."),
    Rule("/v1/signing-keys", "directory", "Keys that sign tokens."),
    Rule("/.well-known/jwks.json", "directory", "Their public halves."),
    Rule("/v1/chat", "ingest", "Chat with visitors."),
    Rule("/v1/alerts", "ingest", "Alerts of monitoring systems."),
    Rule("/v1/mailboxes", "ingest", "Mailboxes polled over IMAP."),
    Rule("/v1/suppressions", "ingest", "Addresses not to be written to."),
    Rule("/v1/surveys", "tickets", "Answers to satisfaction surveys."),
    Rule("/v1/transfers", "tickets", "Handovers between agents."),
    Rule("/v1/triage", "triage", "What triage would decide, and why."),
    Rule("/v1/tickets/*/clocks", "sla", "SLA clocks of a ticket, and why they stand where they stand."),
    Rule("/v1/sla", "sla", "What SLA clocks would be; calendars."),
    Rule("/v1/escalations", "escalation", "Running escalations."),
    Rule("/v1/schedules", "escalation", "On-call schedules."),
    Rule("/v1/on-call", "escalation", "Who is on call."),
    Rule("/v1/pages", "notify", "Answers to pages."),
    Rule("/v1/notifications", "notify", "Deliveries and what became of them."),
    Rule("/v1/webhooks", "notify", "Webhook endpoints and their deliveries."),
    Rule("/v1/events", "notify", "What happens, as a stream."),
    Rule("/v1/search", "search", "Tickets by text, with filters and facets."),
    Rule("/v1/similar", "search", "Tickets like another one."),
)
"""The one path table. A new service adds its lines here and its address to the settings."""

SERVICES: tuple[str, ...] = tuple(sorted({rule.service for rule in PATHS}))


SOCKETS: frozenset[str] = frozenset({"/v1/chat/socket"})
"""Paths that are WebSockets; no other is passed on as one."""

STREAMS: frozenset[str] = frozenset({"/v1/events"})
"""Paths whose answers do not end: they have connections of their own, so that listeners take none from requests."""


def route(path: str, rules: Sequence[Rule] = PATHS) -> Rule | None:
    """The rule with the longest prefix that ends at a segment of `path`, or None."""
    found = [rule for rule in rules if below(path, rule.prefix)]
    return max(found, key=lambda rule: (rule.prefix.count("/"), "*" not in rule.prefix), default=None)


def below(path: str, prefix: str) -> bool:
    """Whether a path is at or below a prefix, segment by segment."""
    if "*" not in prefix:
        return path == prefix or path.startswith(prefix + "/")
    given, wanted = path.split("/"), prefix.split("/")
    return len(given) >= len(wanted) and all(w in ("*", g) and g for g, w in zip(given[1:], wanted[1:], strict=False))


def is_plain(path: str) -> bool:
    """Whether a path means the same to us and to the service: no `.` or `..` segments, no backslash, no NUL."""
    if "\\" in path or "\0" in path:
        return False
    return not any(segment in {".", ".."} for segment in path.split("/"))


_HOP_BY_HOP = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
_CLAIMS = (b"x-forwarded-", b"x-deskwire-")
_CLAIM_NAMES = frozenset({b"forwarded", b"x-real-ip", b"x-original-url", b"x-rewrite-url", b"x-http-method-override"})


def pass_on(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers that may go one hop further, in either direction (RFC 9110 §7.6.1).

    Names listed in Connection go with it; what a client claims about itself on behalf of a proxy goes too.
    """
    given = list(headers)
    dropped = set(_HOP_BY_HOP)
    for name, value in given:
        if name == b"connection":
            dropped.update(token.strip().lower() for token in value.split(b","))
    return [
        (name, value)
        for name, value in given
        if name not in dropped and name not in _CLAIM_NAMES and not name.startswith(_CLAIMS)
    ]


def pass_back(headers: Iterable[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Headers of a service's answer that go on to the caller; our own server states its date and no name."""
    return [(name, value) for name, value in pass_on(headers) if name not in {b"date", b"server"}]


def merge(documents: Mapping[str, Mapping[str, Any]], rules: Sequence[Rule] = PATHS) -> dict[str, Any]:
    """One OpenAPI document out of each service's own.

    Only paths that the table gives to that service are taken. A component that two services define differently gets
    its service's name in front in every document but the first; equal ones are shared.
    """
    merged: dict[str, Any] = {
        "openapi": "3.1.0",
        "info": {"title": "Deskwire", "version": "1.0.0", "description": "Every API behind one origin."},
        "tags": [],
        "paths": {},
        "components": {},
    }
    for service in sorted(documents):
        document = _renamed(service, documents[service], merged["components"])
        paths = {
            path: _tagged(service, item)
            for path, item in document.get("paths", {}).items()
            if (rule := route(path, rules)) is not None and rule.service == service
        }
        merged["tags"].append({"name": service, "description": document.get("info", {}).get("description", "")})
        merged["paths"].update(paths)
        for kind, components in document.get("components", {}).items():
            merged["components"].setdefault(kind, {}).update(components)
    merged["paths"] = dict(sorted(merged["paths"].items()))
    return merged


def _renamed(service: str, document: Mapping[str, Any], taken: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """The document with every component renamed that another service has defined differently.

    Renaming changes what refers to the renamed, which may make those differ too: repeated until nothing does.
    """
    copy: dict[str, Any] = json.loads(json.dumps(document))
    while True:
        clashes = {
            f"#/components/{kind}/{name}": f"#/components/{kind}/{service.capitalize()}{name}"
            for kind, components in copy.get("components", {}).items()
            for name, component in components.items()
            if kind != "securitySchemes" and name in taken.get(kind, {}) and taken[kind][name] != component
        }
        if not clashes:
            return copy
        copy = _rewrite(copy, clashes)
        for reference, renamed in clashes.items():
            _, _, kind, name = reference.split("/")
            copy["components"][kind][renamed.rsplit("/", 1)[1]] = copy["components"][kind].pop(name)


def _rewrite(node: Any, references: Mapping[str, str]) -> Any:
    if isinstance(node, dict):
        return {
            key: references.get(value, value)
            if isinstance(value, str) and (key == "$ref" or value in references)
            else _rewrite(value, references)
            for key, value in node.items()
        }
    if isinstance(node, list):
        return [_rewrite(item, references) for item in node]
    return node


def _tagged(service: str, item: Mapping[str, Any]) -> dict[str, Any]:
    """A path item whose operations belong to the service's section and have ids of their own in the whole."""
    done: dict[str, Any] = {}
    for method, operation in item.items():
        if isinstance(operation, dict):
            name = operation.get("operationId", method)
            done[method] = {**operation, "tags": [service], "operationId": f"{service}_{name}"}
        else:
            done[method] = operation
    return done
