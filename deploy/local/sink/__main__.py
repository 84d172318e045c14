"""`python -m deploy.local.sink FOLDER SMTP_PORT HTTP_PORT`: the listeners, on SINK_HOST (127.0.0.1 when it is not set).

A container of its own has nobody on its loopback.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict
from html import escape
from pathlib import Path

import uvicorn
from aiosmtpd.smtp import SMTP, Envelope, Session
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

from deploy.local.sink.arrived import KEPT, Arrived, Call, Mail

LARGEST_MAIL = 64 << 20
_PAGE = """<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="3"><title>Local sink</title>
<style>body{{font:15px/1.5 system-ui,sans-serif;margin:2rem;max-width:72rem}}td,th{{text-align:left;padding:.15rem
.8rem .15rem 0;vertical-align:top}}th{{color:#666;font-weight:normal}}pre{{white-space:pre-wrap}}</style>
<h1>What this installation sent out</h1><p>Nothing leaves the machine. JSON: <a href="/mails">/mails</a>,
<a href="/hooks">/hooks</a></p><h2>Mail ({mails})</h2><table><tr><th>#<th>to<th>subject</tr>{mail_rows}</table>
<h2>Webhooks ({calls})</h2><table><tr><th>#<th>endpoint<th>type<th>answered</tr>{call_rows}</table>"""
_SHOWN = 100


class _Smtp:
    """Takes every mail."""

    def __init__(self, arrived: Arrived) -> None:
        self._arrived = arrived

    async def handle_DATA(self, server: SMTP, session: Session, envelope: Envelope) -> str:  # noqa: N802 - aiosmtpd's name
        del server, session
        content = envelope.content if isinstance(envelope.content, bytes) else b""
        mail = self._arrived.add_mail(envelope.mail_from or "", tuple(envelope.rcpt_tos), content)
        return f"250 2.0.0 kept as {mail.n}"


def application(arrived: Arrived) -> Starlette:
    """The HTTP side: takes webhooks, shows everything."""

    async def page(_: Request) -> Response:
        mails, calls = list(arrived.mails)[-_SHOWN:], list(arrived.calls)[-_SHOWN:]
        return HTMLResponse(
            _PAGE.format(
                mails=len(arrived.mails),
                calls=len(arrived.calls),
                mail_rows="".join(_mail_row(mail) for mail in reversed(mails)),
                call_rows="".join(_call_row(call) for call in reversed(calls)),
            )
        )

    async def mails(request: Request) -> Response:
        to, after = request.query_params.get("to"), int(request.query_params.get("after", "0"))
        return _json([asdict(one) for one in arrived.mails if one.n > after and (not to or to in one.recipients)])

    async def mail(request: Request) -> Response:
        raw = arrived.raw_mail(int(request.path_params["n"]))
        return PlainTextResponse(raw) if raw is not None else PlainTextResponse("no such mail", 404)

    async def hooks(request: Request) -> Response:
        name, after = request.query_params.get("name"), int(request.query_params.get("after", "0"))
        return _json([asdict(one) for one in arrived.calls if one.n > after and (not name or one.name == name)])

    async def hook(request: Request) -> Response:
        status = int(request.query_params.get("status", "204"))
        arrived.add_call(request.path_params["name"], request.headers, await request.body(), status)
        return Response(status_code=status)

    async def health(_: Request) -> Response:
        return PlainTextResponse("ok")

    return Starlette(
        routes=[
            Route("/", page),
            Route("/mails", mails),
            Route("/mails/{n:int}", mail),
            Route("/hooks", hooks),
            Route("/hooks/{name}", hook, methods=["POST"]),
            Route("/healthz", health),
        ]
    )


def _json(items: list[dict[str, object]]) -> Response:
    return Response(json.dumps({"items": items}), media_type="application/json")


def _mail_row(mail: Mail) -> str:
    link = f'<a href="/mails/{mail.n}">{mail.n}</a>'
    return f"<tr><td>{link}<td>{escape(', '.join(mail.recipients))}<td>{escape(mail.subject)}</tr>"


def _call_row(call: Call) -> str:
    try:
        kind = str(json.loads(call.body).get("type", ""))
    except (ValueError, AttributeError):
        kind = "?"
    return f"<tr><td>{call.n}<td>{escape(call.name)}<td>{escape(kind)}<td>{call.status}</tr>"


async def listen(folder: Path, smtp_port: int, http_port: int) -> None:
    """Both listeners, until told to end."""
    host = os.environ.get("SINK_HOST") or "127.0.0.1"
    arrived = Arrived(folder, int(os.environ.get("SINK_KEPT") or KEPT))
    mailbox = _Smtp(arrived)
    loop = asyncio.get_running_loop()
    smtp = await loop.create_server(
        lambda: SMTP(mailbox, data_size_limit=LARGEST_MAIL, enable_SMTPUTF8=True, ident="local sink"),
        host=host,
        port=smtp_port,
    )
    async with smtp:
        config = uvicorn.Config(application(arrived), host=host, port=http_port, log_level="warning", lifespan="off")
        await uvicorn.Server(config).serve()


if __name__ == "__main__":
    asyncio.run(listen(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3])))
