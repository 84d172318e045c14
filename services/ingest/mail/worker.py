"""A process that parses mails handed to it by file name, so that a hostile one costs a child and not the service.

Protocol on standard input and output: one JSON line asks (`path`, `folder`, options), one JSON line answers. Decoded
attachments and HTML are left as files in `folder`; the asker reads and removes them. The asker kills a child that is
late; CPU time and memory are also limited by the system.
"""

from __future__ import annotations

import json
import resource
import sys
from dataclasses import asdict
from pathlib import Path
from typing import Any

from services.ingest.mail.addresses import Mailbox
from services.ingest.mail.body import File
from services.ingest.mail.limits import Limits
from services.ingest.mail.parse import Options, ParsedMail, parse
from services.ingest.mail.report import Kind, Report

MEMORY = 1_500_000_000
"""Bytes of address space of a child: 25 MB of mail take a tenth of it."""


def ask(path: Path, folder: Path, options: Options) -> bytes:
    """The line that asks for one mail."""
    limits = options.limits
    return (
        json.dumps(
            {
                "path": str(path),
                "folder": str(folder),
                "limits": {name: getattr(limits, name) for name in Limits.__dataclass_fields__},
                "return_path": options.return_path,
                "authserv_ids": sorted(options.authserv_ids),
                "loop_token": options.loop_token,
            }
        ).encode()
        + b"\n"
    )


def answer(line: bytes) -> bytes:
    """Parse what `line` asks for; the line that answers."""
    asked = json.loads(line)
    options = Options(
        limits=Limits(**asked["limits"]),
        return_path=asked["return_path"],
        authserv_ids=frozenset(asked["authserv_ids"]),
        loop_token=asked["loop_token"],
    )
    mail = parse(Path(asked["path"]).read_bytes(), options)
    folder = Path(asked["folder"])
    files = []
    for number, file in enumerate(mail.files):
        (folder / str(number)).write_bytes(file.data)
        files.append({"name": file.name, "type": file.media_type, "inline": file.inline, "cid": file.content_id})
    if mail.html is not None:
        (folder / "html").write_text(mail.html, encoding="utf-8")
    plain = {
        "sender": [mail.sender.address, mail.sender.name],
        "recipients": [[one.address, one.name] for one in mail.recipients],
        "files": files,
        "html": mail.html is not None,
        "fingerprint": mail.fingerprint.hex(),
        "report": None if mail.report is None else asdict(mail.report),
    } | {name: getattr(mail, name) for name in _SIMPLE}
    return json.dumps(plain).encode() + b"\n"


_SIMPLE = (
    "subject",
    "text",
    "message_id",
    "ancestors",
    "delivered_to",
    "ticket_number",
    "automatic",
    "own_loop",
    "spoofed",
    "dated",
    "quarantine",
)


def result(line: bytes, folder: Path) -> ParsedMail:
    """The mail that `answer` read; its files stay in `folder`. Raises ValueError, KeyError or OSError."""
    told: dict[str, Any] = json.loads(line)
    files = tuple(
        File(
            name=file["name"],
            media_type=file["type"],
            data=b"",
            path=folder / str(number),
            inline=file["inline"],
            content_id=file["cid"],
        )
        for number, file in enumerate(told["files"])
    )
    simple = {name: told[name] for name in _SIMPLE}
    simple["ancestors"] = tuple(simple["ancestors"])
    simple["delivered_to"] = tuple(simple["delivered_to"])
    return ParsedMail(
        sender=Mailbox(*told["sender"]),
        recipients=tuple(Mailbox(*one) for one in told["recipients"]),
        html=(folder / "html").read_text(encoding="utf-8") if told["html"] else None,
        files=files,
        fingerprint=bytes.fromhex(told["fingerprint"]),
        report=_report(told["report"]),
        **simple,
    )


def _report(told: dict[str, Any] | None) -> Report | None:
    if told is None:
        return None
    return Report(
        kind=Kind(told["kind"]),
        status=told["status"],
        addresses=tuple(told["addresses"]),
        message_ids=tuple(told["message_ids"]),
    )


def main() -> None:
    """Answer until standard input ends."""
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    out = sys.stdout.buffer
    for line in sys.stdin.buffer:
        out.write(answer(line))
        out.flush()


if __name__ == "__main__":
    main()
