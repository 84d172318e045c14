"""The JSON frames of a chat, both ways. Pure. `docs/chat.md` tells them to those who write clients."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, Literal
from uuid import UUID

import orjson
from pydantic import BaseModel, ConfigDict, Field, StringConstraints, TypeAdapter, ValidationError

from shared.problem import FieldError

FRAME = 16_384
"""Bytes of a frame from a visitor."""
TEXT = 8_000
"""Characters of a visitor's message."""


class _Frame(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


ClientId = Annotated[str, StringConstraints(pattern=r"^[\x21-\x7e]{1,64}$")]
Written = Annotated[str, StringConstraints(min_length=1, max_length=TEXT, strip_whitespace=True)]
Seq = Annotated[int, Field(ge=0, le=2**53)]


class Hello(_Frame):
    """The first frame: who it is, and what they have already."""

    type: Literal["hello"]
    token: Annotated[str, StringConstraints(max_length=2_048)] = ""
    after: Seq = 0


class Message(_Frame):
    """Something written; sending it again with the same `client_id` is harmless."""

    type: Literal["message"]
    client_id: ClientId
    text: Written


class Ack(_Frame):
    """Everything up to this number has been shown."""

    type: Literal["ack"]
    seq: Seq


class Ping(_Frame):
    """Is anybody there? For clients that cannot see the protocol's own pings."""

    type: Literal["ping"]


Frame = Hello | Message | Ack | Ping
_FRAMES: TypeAdapter[Frame] = TypeAdapter(Annotated[Frame, Field(discriminator="type")])


@dataclass(frozen=True, slots=True)
class Bad:
    """A frame that cannot be taken: where it is wrong, and why."""

    pointer: str
    detail: str
    client_id: str | None = None

    def frame(self) -> str:
        """What the visitor is told; the connection goes on."""
        return error("invalid", self.detail, pointer=self.pointer, client_id=self.client_id)


def parse(text: str | bytes) -> Frame | Bad:
    """A visitor's frame."""
    if len(text if isinstance(text, bytes) else text.encode()) > FRAME:
        return Bad("", f"a frame has at most {FRAME} bytes")
    try:
        given: Any = orjson.loads(text)
    except orjson.JSONDecodeError:
        return Bad("", "not JSON")
    if not isinstance(given, dict):
        return Bad("", "a frame is an object")
    try:
        return _FRAMES.validate_python(given)
    except ValidationError as error:
        first = error.errors(include_url=False, include_input=False, include_context=False)[0]
        if first["type"].startswith("union_tag"):
            return Bad("/type", "hello, message, ack or ping is needed")
        # The union's first place is the type that was chosen, which no pointer has.
        found = FieldError.at(first["loc"][1:], first["msg"])
        named = given.get("client_id")
        return Bad(found.pointer, found.detail, named if isinstance(named, str) and len(named) <= 64 else None)


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One line of the transcript as a visitor gets it."""

    seq: int
    message_id: UUID
    side: str
    text: str
    at: datetime
    client_id: str | None = None
    files: tuple[str, ...] = ()

    def value(self) -> dict[str, Any]:
        """As JSON."""
        told: dict[str, Any] = {
            "seq": self.seq,
            "message_id": str(self.message_id),
            "from": self.side,
            "text": self.text,
            "at": self.at.isoformat().replace("+00:00", "Z"),
        }
        if self.client_id is not None:
            told["client_id"] = self.client_id
        if self.files:
            told["files"] = list(self.files)
        return told

    def frame(self) -> str:
        """As it is pushed."""
        return _text({"type": "message", **self.value()})


def welcome(session_id: UUID, after: int) -> str:
    """The answer to `hello`; the lines after `after` follow."""
    return _text({"type": "welcome", "session_id": str(session_id), "after": after})


def stored(client_id: str, message_id: UUID, *, duplicate: bool) -> str:
    """A visitor's message is stored for good."""
    return _text({"type": "ack", "client_id": client_id, "message_id": str(message_id), "duplicate": duplicate})


def pong() -> str:
    """Somebody is there."""
    return _text({"type": "pong"})


def error(
    code: str, detail: str, *, pointer: str | None = None, client_id: str | None = None, wait: float | None = None
) -> str:
    """Something was not taken; `wait` is seconds after which it may be."""
    more = {"pointer": pointer, "client_id": client_id, "retry_after": wait}
    known = {name: value for name, value in more.items() if value is not None}
    return _text({"type": "error", "code": code, "detail": detail, **known})


def _text(value: dict[str, Any]) -> str:
    return orjson.dumps(value).decode()
