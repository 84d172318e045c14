"""`/v1/chat/socket`: a chat over one WebSocket, resumable at any line.

The token comes in the first frame, or as the subprotocol `token.<token>`; never in the address, which logs keep. What
a visitor writes is acknowledged after the commit; what they are sent is numbered, and what they do not acknowledge is
told them another way once they have left.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from dataclasses import dataclass

from starlette.websockets import WebSocket, WebSocketDisconnect, WebSocketState

from services.ingest.channels.chat import Chats, RefusedError
from services.ingest.channels.chat_hub import Listener
from services.ingest.chat import frames
from services.ingest.chat.token import Visitor
from services.ingest.domain import Status
from shared.db import is_connection_failure
from shared.http.limits import Buckets

PROTOCOL = "deskwire.chat.v1"
"""The subprotocol that we answer with when it is offered."""
_TOKEN = "token."  # noqa: S105 - a prefix
HELLO_SECONDS = 10.0
"""How long a connection may take to say who it is."""

# Codes of our own (RFC 6455 §7.4.2).
BAD_TOKEN, TOO_LATE, TOO_MANY = 4401, 4408, 4429
GOING_AWAY, TRY_AGAIN = 1001, 1013

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Sockets:
    """What every connection needs."""

    chats: Chats
    idle_seconds: float
    """How long a visitor may say nothing at all, not even an acknowledgement."""

    async def serve(self, socket: WebSocket) -> None:
        """One connection from handshake to end."""
        offered = socket.scope.get("subprotocols", [])
        given = next((one[len(_TOKEN) :] for one in offered if one.startswith(_TOKEN)), "")
        await socket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        try:
            hello = await self._hello(socket, given)
            if hello is not None:
                visitor, after = hello
                await self._converse(socket, visitor, after)
        except (WebSocketDisconnect, RuntimeError) as error:
            # Starlette answers a send to somebody who has left with a RuntimeError.
            if isinstance(error, RuntimeError) and socket.application_state is WebSocketState.CONNECTED:
                logger.debug("chat connection ended", exc_info=error)

    async def _hello(self, socket: WebSocket, given: str) -> tuple[Visitor, int] | None:
        """Who it is, and what they have; None when the connection was closed."""
        try:
            async with asyncio.timeout(HELLO_SECONDS):
                while True:
                    frame = frames.parse(await _frame(socket))
                    if isinstance(frame, frames.Hello):
                        break
                    bad = frame if isinstance(frame, frames.Bad) else frames.Bad("/type", "say hello first")
                    await socket.send_text(bad.frame())
        except TimeoutError:
            await socket.close(TOO_LATE, "no hello came")
            return None
        visitor = self.chats.visitor(frame.token or given)
        if visitor is None:
            await socket.send_text(frames.error("unauthenticated", "no token of ours, or too old", pointer="/token"))
            await socket.close(BAD_TOKEN, "bad token")
            return None
        return visitor, frame.after

    async def _converse(self, socket: WebSocket, visitor: Visitor, after: int) -> None:
        with self.chats.hub.listening(visitor, after) as listener:
            if listener is None:
                await socket.close(TRY_AGAIN, "too many connections")
                return
            await socket.send_text(frames.welcome(visitor.session_id, after))
            parts = {
                asyncio.create_task(self._tell(socket, listener), name="chat tell"),
                asyncio.create_task(self._listen(socket, listener), name="chat listen"),
            }
            try:
                done, _ = await asyncio.wait(parts, return_when=asyncio.FIRST_COMPLETED)
            finally:
                for part in parts:
                    part.cancel()
                await asyncio.wait(parts)
                await self.chats.hub.left(listener)
            for part in done:
                part.result()

    async def _tell(self, socket: WebSocket, listener: Listener) -> None:
        """Send every line in its order, as soon as it is there."""
        while True:
            await listener.news.wait()
            listener.news.clear()
            while True:
                try:
                    lines = await self.chats.hub.lines(listener.visitor, listener.sent)
                except Exception as error:
                    if not is_connection_failure(error):
                        raise
                    await asyncio.sleep(1.0)
                    continue
                if not lines:
                    break
                for line in lines:
                    await socket.send_text(line.frame())
                    listener.sent = line.seq

    async def _listen(self, socket: WebSocket, listener: Listener) -> None:
        """Take frames until the visitor leaves, says nothing for too long, or floods."""
        flood = Buckets(20.0, 100)
        while True:
            try:
                async with asyncio.timeout(self.idle_seconds):
                    text = await _frame(socket)
            except TimeoutError:
                await socket.close(TOO_LATE, "idle")
                return
            if not flood.take("").allowed:
                await socket.close(TOO_MANY, "too many frames")
                return
            answer = await self._take(frames.parse(text), listener)
            if answer is not None:
                await socket.send_text(answer)

    async def _take(self, frame: frames.Frame | frames.Bad, listener: Listener) -> str | None:
        match frame:
            case frames.Bad():
                return frame.frame()
            case frames.Hello():
                return frames.error("invalid", "said already", pointer="/type")
            case frames.Ping():
                return frames.pong()
            case frames.Ack():
                listener.acked = max(listener.acked, min(frame.seq, listener.sent))
                return None
            case frames.Message():
                return await self._write(frame, listener.visitor)

    async def _write(self, frame: frames.Message, visitor: Visitor) -> str:
        try:
            outcome = await self.chats.write(visitor, frame.client_id, frame.text, correlation=uuid.uuid4().hex)
        except RefusedError as error:
            return frames.error(
                error.code, error.detail, pointer=error.pointer, client_id=frame.client_id, wait=error.wait
            )
        except Exception as error:
            if is_connection_failure(error):
                logger.warning("chat message not taken: an engine is away", extra={"reason": type(error).__name__})
            else:
                logger.error("chat message not taken", exc_info=error)
            return frames.error("unavailable", "not stored, send it again", client_id=frame.client_id, wait=1.0)
        return frames.stored(frame.client_id, outcome.message_id, duplicate=outcome.status is Status.DUPLICATE)


async def _frame(socket: WebSocket) -> str | bytes:
    """The next frame. Raises WebSocketDisconnect."""
    message = await socket.receive()
    if message["type"] == "websocket.disconnect":
        raise WebSocketDisconnect(message.get("code", 1005))
    text: str | None = message.get("text")
    if text is not None:
        return text
    data: bytes = message["bytes"]
    return data
