"""The ways in, as anybody outside has them: SMTP, and HTTP through the one origin."""

from __future__ import annotations

import asyncio
import smtplib
from email.message import EmailMessage
from pathlib import Path

import httpx2

from cli.demo.stage import Addresses

SAMPLES = Path(__file__).parents[2] / "tests/samples/demo"


def api(addresses: Addresses) -> httpx2.AsyncClient:
    """HTTP through the origin with the administrator's key."""
    return httpx2.AsyncClient(
        base_url=addresses.origin,
        headers={"Authorization": f"Bearer {addresses.key}"},
        timeout=10,
        trust_env=False,
    )


async def sample(addresses: Addresses, name: str, **values: str) -> str:
    """Send a sample by SMTP, its placeholders filled in; the server's answer."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    for placeholder, value in {"support": addresses.support, **values}.items():
        text = text.replace("{" + placeholder + "}", value)
    sender = text.split("From:", 1)[1].split("<", 1)[1].split(">", 1)[0]
    return await raw_mail(addresses, sender, text.replace("\n", "\r\n").encode())


async def mail(
    addresses: Addresses, sender: str, subject: str, text: str, message_id: str, *, to: str = "", answers: str = ""
) -> str:
    """Write and send a mail; `answers` is the Message-ID it replies to. The server's answer."""
    message = EmailMessage()
    message["From"], message["To"], message["Subject"] = sender, to or addresses.support, subject
    message["Message-ID"] = f"<{message_id}>"
    if answers:
        message["In-Reply-To"] = message["References"] = f"<{answers}>"
    message.set_content(text)
    return await raw_mail(addresses, sender, message.as_bytes(), to)


async def raw_mail(addresses: Addresses, sender: str, raw: bytes, to: str = "") -> str:
    """Send any mail's bytes by SMTP; the server's answer."""
    return await asyncio.to_thread(_send, addresses, sender, raw, to or addresses.support)


def _send(addresses: Addresses, sender: str, raw: bytes, to: str) -> str:
    with smtplib.SMTP(addresses.smtp_host, addresses.smtp_port, timeout=15) as server:
        server.ehlo("demo.example")
        server.mail(sender)
        code, answer = server.rcpt(to)
        if code == 250:
            code, answer = server.data(raw)
    return f"{code} {answer.decode(errors='replace')}"


def message_id(name: str, run: str) -> str:
    """The Message-ID of a sample in this play."""
    text = (SAMPLES / name).read_text(encoding="utf-8")
    return text.split("Message-ID: <", 1)[1].split(">", 1)[0].replace("{run}", run)
