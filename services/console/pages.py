"""The few pages of the edge, as plain HTML: no script, nothing loaded from anywhere."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

from services.console.domain import Rule

_STYLE = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem}"
    "body{color:#1c2330;background:#fff}"
    "h1,h2{line-height:1.2}h2{margin-top:2.5rem}table{border-collapse:collapse;width:100%}"
    "td,th{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid #d5dae3;vertical-align:top}"
    "code{font:14px ui-monospace,monospace}a{color:#0b57a4}summary{cursor:pointer;padding:.25rem 0}"
    ".m{display:inline-block;min-width:4.5rem;font-weight:600}.off{color:#a4420b}"
    "@media(prefers-color-scheme:dark){body{background:#14181f;color:#dfe5ee}a{color:#7db8f5}"
    "td,th{border-color:#333b47}.off{color:#f0a06c}}"
)
_HASH = base64.b64encode(hashlib.sha256(_STYLE.encode()).digest()).decode()
CONTENT_SECURITY_POLICY = f"default-src 'none'; style-src 'sha256-{_HASH}'; frame-ancestors 'none'; base-uri 'none'"
_METHODS = ("get", "post", "put", "patch", "delete")


def _page(title: str, body: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body><main>{body}</main></body></html>"
    )


def home(rules: Sequence[Rule], states: Mapping[str, str]) -> str:
    """What is here: every path with its service and whether that service is up."""
    rows = "".join(
        f'<tr><th scope="row"><code>{escape(rule.prefix)}</code></th><td>{escape(rule.service)}</td>'
        f"<td>{escape(rule.summary)}</td><td{_mark(states[rule.service])}>{escape(states[rule.service])}</td></tr>"
        for rule in rules
    )
    return _page(
        "Deskwire",
        "<h1>Deskwire</h1><p>Customer support as a stream of events. Every API is behind this one address.</p>"
        '<ul><li><a href="/docs">API reference</a></li><li><a href="/openapi.json">OpenAPI 3.1 document</a></li>'
        '<li><a href="/v1/status">State of each service</a></li></ul>'
        "<h2>Paths</h2><table><thead><tr><th>Path</th><th>Service</th><th>What</th><th>State</th></tr></thead>"
        f"<tbody>{rows}</tbody></table>"
        "<p>Send an API key or a token as <code>Authorization: Bearer …</code>. Errors are "
        "<code>application/problem+json</code> and carry the request's id.</p>",
    )


def reference(document: Mapping[str, Any], away: Sequence[str]) -> str:
    """Every operation of the merged document, by service."""
    sections: dict[str, list[str]] = {}
    for path, item in document["paths"].items():
        for method in _METHODS:
            operation = item.get(method)
            if operation is not None:
                sections.setdefault(operation["tags"][0], []).append(_operation(method, path, operation))
    missing = "".join(f'<p class="off">{escape(name)} is away; its operations are not listed.</p>' for name in away)
    body = "".join(f"<h2>{escape(name)}</h2>{''.join(entries)}" for name, entries in sorted(sections.items()))
    return _page(
        "Deskwire API",
        '<h1>API reference</h1><p><a href="/">Deskwire</a> · <a href="/openapi.json">OpenAPI 3.1 document</a></p>'
        f"{missing}{body}",
    )


def _operation(method: str, path: str, operation: Mapping[str, Any]) -> str:
    summary = escape(str(operation.get("summary", "")))
    description = escape(str(operation.get("description", "")))
    parameters = "".join(_parameter(parameter) for parameter in operation.get("parameters", ()))
    statuses = ", ".join(escape(str(status)) for status in operation.get("responses", {}))
    body = _body(operation)
    table = f"<table><tbody>{parameters}{body}</tbody></table>" if parameters or body else ""
    return (
        f'<details><summary><span class="m">{method.upper()}</span><code>{escape(path)}</code> {summary}</summary>'
        f"<p>{description}</p>{table}<p>Answers: {statuses}</p></details>"
    )


def _parameter(parameter: Mapping[str, Any]) -> str:
    needed = "required" if parameter.get("required") else "optional"
    return (
        f'<tr><th scope="row"><code>{escape(str(parameter.get("name", "")))}</code></th>'
        f"<td>{escape(str(parameter.get('in', '')))}, {needed}</td>"
        f"<td>{escape(str(parameter.get('description', '')))}</td></tr>"
    )


def _body(operation: Mapping[str, Any]) -> str:
    content = operation.get("requestBody", {}).get("content", {})
    return "".join(
        f'<tr><th scope="row">body</th><td>{escape(kind)}</td>'
        f"<td><code>{escape(_named(media.get('schema', {})))}</code></td></tr>"
        for kind, media in content.items()
    )


def _named(schema: Mapping[str, Any]) -> str:
    if "$ref" in schema:
        return str(schema["$ref"]).rsplit("/", 1)[1]
    if schema.get("type") == "array":
        return f"[{_named(schema.get('items', {}))}]"
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " | ".join(_named(option) for option in options)
    return str(schema.get("title") or schema.get("type") or "any")


def _mark(state: str) -> str:
    return "" if state == "ready" else ' class="off"'
